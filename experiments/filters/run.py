"""Precision and recall of the filters of questions and answers: ``python experiments/filters/run.py [ROWS]``.

Every judge looks at the items of ``labels.jsonl``. Its limit is chosen on the clauses of one half and reported on those
of the other. With ROWS, a folder with the large teacher's ``udhr.jsonl`` and ``lanternfield.jsonl``, the funnels of all
its rows are measured, too; without, their table stays as it is. The tables go into ``README.md``. What the embedded
model replies is kept in ``runs/filters``; what the large model replies is recorded in ``large_judge.jsonl``.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from valign.core.records import Passage
from valign.core.store import digest
from valign.documents.clauses import labelled
from valign.documents.shipped import shipped_document, shipped_questions
from valign.evaluation.bootstrap import bootstrap_mean
from valign.retrieval.embedder import SentenceEmbedder
from valign.synthesis.answer_checks import UNGROUNDED
from valign.synthesis.faithfulness import ByEmbedding, ByTeacher
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.languages.en.edits import NUMBER_PATTERN, as_digits, find_ungrounded, names_in, numbers_in
from valign.synthesis.relevance import RelevanceJudge
from valign.synthesis.settings import FilterSettings
from valign.teachers.cache import CachedTeacher
from valign.teachers.local import LocalTeacher
from valign.teachers.replay import ReplayTeacher

HERE = Path(__file__).parent
DOCUMENTS = ("udhr", "lanternfield")
TODAY = FilterSettings(
    min_relevance=0.3, max_rank=2, min_faithfulness=0.4, max_duplicate=0.95, max_wording=0.85, max_overlap=0.5,
    min_language=0.5, max_repetition=0.3,
)  # fmt: skip
EMBEDDED = "embedded:smollm2-135m"
KEPT = 0.95  # share of the good items that a limit is to keep
Item = dict[str, Any]


class Judged(NamedTuple):
    """What one judge says of items: whether each is kept (a row an item) under each of its possible limits."""

    name: str
    limits: tuple[str, ...]
    kept: list[tuple[bool, ...]]


class Bench:
    """The items, the documents and the models that judge them."""

    def __init__(self, items: Sequence[Item], cache: Path) -> None:
        self.items = list(items)
        self.passages = {name: shipped_document(name).passages for name in DOCUMENTS}
        self.by_clause = {p.clause: p for passages in self.passages.values() for p in passages}
        self.embedder = SentenceEmbedder()
        cache.mkdir(parents=True, exist_ok=True)
        self.teachers = {
            "judge, embedded SmolLM2-135M": CachedTeacher(
                LocalTeacher("embedded:smollm2-135m", "float32"), cache / "embedded.sqlite"
            ),
            "judge, large model, recorded": CachedTeacher(
                ReplayTeacher(HERE / "large_judge.jsonl"), cache / "large.sqlite"
            ),
        }

    def cosines(self, items: Sequence[Item]) -> list[tuple[float, list[float]]]:
        """Return each question's cosine with its clause, and by how much other clauses are nearer, ascending."""
        found = []
        vectors = {n: self.embedder.embed([labelled(p) for p in ps]) for n, ps in self.passages.items()}
        for item in items:
            near = vectors[item["document"]] @ self.embedder.embed([item["question"]])[0]
            places = [p.clause for p in self.passages[item["document"]]]
            own = float(near[places.index(item["clause"])])
            found.append((own, sorted(float(x) - own for x in near if x > own)))
        return found

    def decided(self, items: Sequence[Item], teacher: CachedTeacher) -> list[float | None]:
        """Return the relevance judge's scores."""
        found: dict[str, float | None] = {}
        for name in DOCUMENTS:
            own = [item for item in items if item["document"] == name]
            judge = RelevanceJudge(self.passages[name], self.embedder, teacher, TODAY.relevance_clauses)
            scores = judge.scores([(item["question"], item["clause"]) for item in own])
            found |= {item["id"]: score for item, score in zip(own, scores, strict=True)}
        return [found[item["id"]] for item in items]

    def pairs(self, items: Sequence[Item]) -> list[tuple[str, Passage]]:
        """Return answers with their clauses."""
        return [(item["answer"], self.by_clause[item["clause"]]) for item in items]


def judge_questions(bench: Bench, items: Sequence[Item]) -> list[Judged]:
    """Return what every judge says of questions beside clauses."""
    cosines = bench.cosines(items)
    today = [(own >= TODAY.min_relevance and len(nearer) < TODAY.max_rank,) for own, nearer in cosines]
    grid = [(low / 100, margin / 100) for low in range(0, 45, 5) for margin in range(0, 45, 5)]
    names = tuple(f"min_relevance {low:g}, max_rank 1, rank_margin {margin:g}" for low, margin in grid)
    new = [
        tuple(own >= low and not any(gap > margin for gap in nearer) for low, margin in grid) for own, nearer in cosines
    ]
    found = [Judged("cosine, limits so far", ("min_relevance 0.3, max_rank 2",), today)]
    found.append(Judged("cosine, limits chosen", names, new))
    for name, teacher in bench.teachers.items():
        scores = bench.decided(items, teacher)
        rows = [
            (score is not None and score > 0, score is not None and score == 1) if score is not None else (kept, kept)
            for score, (kept,) in zip(scores, today, strict=True)
        ]
        found.append(Judged(name, ("named", "named first"), rows))
        unreadable = sum(score is None for score in scores)
        print(f"{name}: {unreadable} of {len(scores)} replies about questions unreadable")
    return found


def judge_answers(bench: Bench, items: Sequence[Item]) -> list[Judged]:
    """Return what every judge says of answers beside clauses."""
    pairs, questions = bench.pairs(items), [item["question"] for item in items]
    old = [not ungrounded_before(text, labelled(passage)) for text, passage in pairs]
    grounded = [
        not find_ungrounded(text, labelled(passage), question)
        for (text, passage), question in zip(pairs, questions, strict=True)
    ]
    cosines = ByEmbedding(bench.embedder).scores(pairs)
    so_far = [(score >= 0.4 and good,) for score, good in zip(cosines, old, strict=True)]
    grid = [limit / 100 for limit in range(0, 95, 5)]
    found = [
        Judged("cosine, limit so far", ("min_faithfulness 0.4",), so_far),
        Judged(
            "cosine, limit chosen",
            tuple(f"min_faithfulness {limit:g}" for limit in grid),
            [tuple(s >= limit and g for limit in grid) for s, g in zip(cosines, grounded, strict=True)],
        ),
        Judged("numbers and names alone, so far", ("",), [(g,) for g in old]),
        Judged("numbers and names alone, with the question", ("",), [(g,) for g in grounded]),
    ]
    for name, teacher in bench.teachers.items():
        judged = ByTeacher(teacher).judge(pairs, questions)
        rows = [(j.score >= 0.4 and g, j.score >= 0.2 and g) for j, g in zip(judged, grounded, strict=True)]
        found.append(Judged(name, ("min_faithfulness 0.4", "min_faithfulness 0.2"), rows))
        print(f"{name}, answers: {dict(Counter((i['label'], j.label) for i, j in zip(items, judged, strict=True)))}")
    return found


def ungrounded_before(answer: str, passage: str) -> bool:
    """Tell whether an answer had a number or name that its passage lacks, as the filter saw it before the question."""
    known, words = numbers_in(passage), passage.lower()
    numbers = [m for m in NUMBER_PATTERN.findall(answer) if as_digits(m) not in known and m.lower() != "one"]
    return bool(numbers or [name for name in names_in(answer) if name.lower() not in words])


def half_of(item: Item) -> int:
    """Return 0 for the clauses on which limits are chosen, 1 for those on which they are reported."""
    return int(digest(["half", item["clause"]])[:8], 16) % 2


def choose(judged: Judged, items: Sequence[Item]) -> int:
    """Return the limit that drops the most bad items of those that keep 95% of the good ones, on the first half.

    Where none keeps so many, the one that keeps the most.
    """
    chosen = [i for i, item in enumerate(items) if half_of(item) == 0]

    def value(k: int) -> tuple[float, float]:
        kept = {good: [judged.kept[i][k] for i in chosen if items[i]["good"] is good] for good in (True, False)}
        good, bad = (sum(kept[side]) / len(kept[side]) for side in (True, False))
        return min(good, KEPT), -bad

    return max(range(len(judged.limits)), key=lambda k: (*value(k), -k))


def with_limits(settings: FilterSettings, name: str) -> FilterSettings:
    """Return settings with the limits that a name such as ``min_relevance 0.1, max_rank 1`` says."""
    parts = (part.split(" ") for part in name.split(", "))
    return replace(settings, **{key: type(getattr(settings, key))(float(value)) for key, value in parts})


def share(values: Iterable[tuple[bool, str]]) -> str:
    """Return a share with its 95% interval, which resamples clauses."""
    pairs = list(values)
    if not pairs:
        return ""
    found = bootstrap_mean([float(value) for value, _ in pairs], [clause for _, clause in pairs], is_share=True)
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


def table(every: Sequence[Judged], items: Sequence[Item], sources: Sequence[str]) -> str:
    """Return the Markdown table of one task, measured on the second half."""
    heads = ["judge", "limit", "good kept", "bad dropped", "kept that are good", *(f"{s}: dropped" for s in sources)]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- |" + " ---: |" * (len(heads) - 2)]
    for judged in every:
        k = choose(judged, items)
        told = [(item, judged.kept[i][k]) for i, item in enumerate(items) if half_of(item) == 1]
        cells = [
            share((kept, item["clause"]) for item, kept in told if item["good"]),
            share((not kept, item["clause"]) for item, kept in told if not item["good"]),
            share((item["good"], item["clause"]) for item, kept in told if kept),
        ]
        for source in sources:
            bad = [not kept for item, kept in told if item["source"] == source and not item["good"]]
            cells.append(f"{sum(bad)}/{len(bad)}")
        lines.append(f"| {judged.name} | {judged.limits[k]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sieve(rows: Sequence[Item], filters: Filters) -> dict[str, Funnel]:
    """Put rows through a document's filters and return the counts by kind."""
    by_clause = {p.clause: p for p in shipped_document(rows[0]["document"]).passages}
    funnels: dict[str, Funnel] = {}
    filters.score_relevance([(row["question"], row["clause"]) for row in rows])
    for row in rows:
        funnel = funnels.setdefault(row["kind"], Funnel())
        funnel.made += 1
        reason, _ = filters.check_question(row["question"], row["clause"], row["kind"])
        if not reason and row.get("answer"):
            reason, _ = filters.check_answer(row["answer"], by_clause[row["clause"]], row["question"])
        if reason:
            funnel.drop(reason)
        else:
            funnel.keep(row["clause"], row["kind"])
    return funnels


def sieve_so_far(rows: Sequence[Item], filters: Filters) -> dict[str, Funnel]:
    """The same with the numbers and names of the clause alone, as it was before answers were checked with questions."""
    found = sieve([{**row, "answer": None} for row in rows], filters)
    passed = set(filters.kept)
    by_clause = {p.clause: p for p in shipped_document(rows[0]["document"]).passages}
    for row in rows:
        if (row["clause"], row["question"]) in passed and row.get("answer"):
            passage = by_clause[row["clause"]]
            reason, _ = filters.check_answer(row["answer"], passage, row["question"])
            reason = UNGROUNDED if ungrounded_before(row["answer"], labelled(passage)) else reason
            if reason:
                found[row["kind"]].kept -= 1
                found[row["kind"]].drop(reason)
    return found


def funnel_lines(folder: Path, bench: Bench, limits: FilterSettings) -> str:
    """Return the table of what happens to all rows of the large teacher, and to the sample that was judged."""
    large = bench.teachers["judge, large model, recorded"]
    heads = ["document", "kind", "rows", "kept so far", "kept, cosine, new limits", "kept of the sample, large judge"]
    lines = ["| " + " | ".join(heads) + " |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    sampled = {item["question"] for item in bench.items if item["source"] in ("own", "silent")}
    for name in DOCUMENTS:
        rows = [{**json.loads(line), "document": name} for line in (folder / f"{name}.jsonl").open(encoding="utf-8")]
        held_out = shipped_questions(name)
        passages = bench.passages[name]
        before = sieve_so_far(rows, Filters(passages, held_out, bench.embedder, TODAY))
        after = sieve(rows, Filters(passages, held_out, bench.embedder, limits))
        judged = replace(TODAY, relevance="judge", min_relevance=-1, faithfulness="judge")
        look = RelevanceJudge(passages, bench.embedder, large, TODAY.relevance_clauses)
        strict = Filters(passages, held_out, bench.embedder, judged, ByTeacher(large), look)
        sample = sieve([row for row in rows if row["question"] in sampled], strict)
        for kind in before:
            part = sample.get(kind, Funnel())
            cells = [before[kind].made, before[kind].kept, after[kind].kept, f"{part.kept} of {part.made}"]
            lines.append(f"| {name} | {kind} | " + " | ".join(map(str, cells)) + " |")
        for label, found in (("so far", before), ("cosine, new limits", after), ("large judge, sample", sample)):
            total = sum((f.dropped for f in found.values()), Counter())
            print(f"{name}, {label}: {sum(f.kept for f in found.values())} kept; dropped {dict(total.most_common())}")
    return "\n".join(lines)


def put(text: str, name: str, body: str) -> str:
    """Return a page with a table between the marks of its name."""
    pattern = rf"(<!-- filters {name} -->\n).*?(<!-- /filters -->)"
    return re.sub(pattern, lambda match: f"{match.group(1)}{body}\n\n{match.group(2)}", text, flags=re.DOTALL)


def main(rows: Path | None) -> None:
    """Measure, and put the tables into the page."""
    items = [json.loads(line) for line in (HERE / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    bench = Bench(items, Path("runs") / "filters")
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    tasks: list[tuple[str, Callable[[Bench, Sequence[Item]], list[Judged]], tuple[str, ...]]] = [
        ("relevance", judge_questions, ("near", "far", "silent", "off topic")),
        ("answer", judge_answers, ("unfaithful", "near")),
    ]
    limits = TODAY
    for task, judge, sources in tasks:
        own = [item for item in items if item["task"] == task]
        every = judge(bench, own)
        limits = with_limits(limits, every[1].limits[choose(every[1], own)])
        text = put(text, task, table(every, own, sources))
    if rows is not None:
        text = put(text, "funnel", funnel_lines(rows, bench, limits))
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
