"""Pairs that the teacher wrote: their checks, the audit after which one kind is asked again, and the whole data set."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from changed_settings import changed
from fakes import Bag
from planner import Planner, items, passage_of, reply
from short_document import GIVEN, HARBOUR, LOOSE, teacher_alone

from valign.core.errors import ValignError
from valign.core.files import read_json, read_jsonl
from valign.core.records import Document, Instruction, Passage, Preference
from valign.documents.read import parse_document
from valign.documents.shipped import shipped_document
from valign.synthesis.build import synthesize
from valign.synthesis.candidates import CONTRADICTIONS, Candidate
from valign.synthesis.contrast_checks import contrast_fault, keep_contradictions
from valign.synthesis.contrasts import REPLACED, count_contrasts, replace_worst_kind, write_contrasts
from valign.synthesis.dataset import read_source, write_source
from valign.synthesis.faithfulness import AnswerJudgement, Faithfulness
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.preferences import check_shares, write_preferences
from valign.synthesis.settings import RejectedShares, SynthesisSettings
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher

TEACHER_ALONE = RejectedShares(teacher=1.0)
SUBJECTS = ("lamps", "geese", "helmets", "boats", "ropes", "oars")


@pytest.fixture
def settings(settings: SynthesisSettings) -> SynthesisSettings:
    """Prompts for a capable teacher, six questions and six situations of a passage, and no fixed sentences."""
    chosen = changed(
        teacher_alone(settings),
        prompts="large",
        instructions={"questions_per_passage": 6},
        preferences={"scenarios_per_passage": 6, "rejected": TEACHER_ALONE},
        coverage={"min_instructions": 1, "min_preferences": 1, "top_up_rounds": 0},
    )
    return replace(chosen, filters=LOOSE)


def parts(settings: SynthesisSettings, folder: Path, teacher: Any, document: Document) -> tuple[Writer, Filters]:
    """Return a writer and filters."""
    cached = CachedTeacher(teacher, folder / "c.sqlite")
    return Writer(document, cached, Bag(), settings, 0), Filters(document.passages, (), Bag(), settings.filters)


@pytest.mark.parametrize(
    ("verdict", "chosen", "rejected", "fault"),
    [
        ("no", "No. It is kept for nine days.", "Yes. It is sold after two days.", ""),
        ("no", "No. It is kept for nine days.", "No. It is sold after two days.", "verdicts do not differ"),
        ("yes", "No. It is kept for nine days.", "Yes. It is sold after two days.", "answer against its verdict"),
        ("no", "No one may.", "Yes, one may.", "answer against its verdict"),
        (None, "It is kept for nine days.", "It is kept for two days.", ""),
        (None, "Yes. It is kept.", "No. It is kept.", "answer against its verdict"),
        (None, "It is kept.", "it is kept.", "no contrast"),
        (None, "It is kept.", " ", "no contrast"),
        (None, "It is kept for one day.", "It is kept for one day or two days.", "lengths differ"),
        (None, "It is kept for one whole day here.", "It is kept for one day here.", ""),
        (None, "By section 2 it is kept.", "By custom it is not kept.", "one answer names the document"),
        (None, "The Code of the Harbour keeps it.", "The people of it sell it.", "one answer names the document"),
        (None, "The Code of the Harbour keeps it.", "The Code of the Harbour sells it.", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_pair(verdict: str | None, chosen: str, rejected: str, fault: str) -> None:
    harbour = replace(HARBOUR, title="The Code of the Harbour")
    assert contrast_fault(verdict, chosen, rejected, harbour) == fault


class Labeller(Faithfulness):
    """A judge that finds every answer entailed but those with "never", and silent on those with "perhaps"."""

    def judge(self, answers: Sequence[tuple[str, Passage]], questions: Sequence[str] = ()) -> list[AnswerJudgement]:
        """Judge by these words; of two question marks it makes nothing."""
        assert len(questions) == len(answers)
        words = {"never": "contradicted", "perhaps": "absent", "??": ""}
        found = [next((label for word, label in words.items() if word in text), "entailed") for text, _ in answers]
        return [AnswerJudgement(1.0, label) for label in found]


def test_a_rejected_answer_has_to_contradict(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Vague is not enough, a chosen answer has to be entailed, and a judge that cannot tell has no say."""
    settings = replace(settings, filters=replace(LOOSE, min_faithfulness=0.1))
    writer, filters = parts(settings, tmp_path, Planner(), HARBOUR)
    clause = HARBOUR.passages[0].clause
    pairs = [
        ("it is so", "never"),
        ("it is so", "perhaps"),
        ("perhaps", "never"),
        ("it is so", "it is so, too"),
        ("??", "??"),
    ]
    asked = Candidate(clause=clause, kind="situation", question="Is it so?", answer="", teacher="t", template="x")
    candidates = [replace(asked, answer=chosen, rejected=rejected) for chosen, rejected in pairs]
    funnel = Funnel()
    assert keep_contradictions(candidates, writer, filters, funnel) == candidates
    filters.answers.faithfulness = Labeller()
    assert keep_contradictions(candidates, writer, filters, funnel) == [candidates[0], candidates[4]]
    assert funnel.dropped == {"unfaithful": 1, "rejected answer contradicts nothing": 2} and funnel.made == 3


def test_shares_of_the_situations(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Half of six situations are contrasts, the other half edits; the teacher alone leaves none; nobody is an error."""
    half = changed(settings, preferences={"rejected": RejectedShares(teacher=2.0, edit=2.0)})
    assert count_contrasts(half.preferences) == 3
    assert count_contrasts(settings.preferences) == 6
    assert check_shares(TEACHER_ALONE) == {}
    with pytest.raises(ValignError, match="teacher"):
        check_shares(RejectedShares())
    teacher = Planner(lambda messages: reply(messages) if "plan" in messages[0]["content"] else "Who is it for?")
    writer, filters = parts(half, tmp_path, teacher, HARBOUR)
    write_preferences(writer, writer.teacher, filters, Funnel())
    structured = [request for request in teacher.asked if request.schema]
    told = [request for request in teacher.asked if not request.schema]
    assert sum("carries_value" in request.schema["properties"] for request in structured) == 3
    assert len(structured) == 3 + 9 and {request.sampling.n for request in told} == {3}


def harbour_of(rules: int) -> Document:
    """Return a document of so many rules with different words."""
    numbers = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    lines = [
        f"## Rule {i}. {SUBJECTS[i % 6].capitalize()}\n\nWhoever keeps {SUBJECTS[i % 6]} tells warden "
        f"{numbers[(5 * i + 1) % 12]} at gate {numbers[i % 12]} of row {numbers[i // 12]} about it before noon.\n"
        for i in range(rules)
    ]
    return parse_document("\n".join(lines).encode(), "gates")


def telltale(messages: Sequence[Any]) -> str:
    """Give rejected answers away by a word, unless the plan forbids it."""
    found = items(messages)
    forbidden = "in neither answer the words" in messages[0]["content"]
    for one in found:
        kept = one["faithful"]
        changed_words = kept.replace("warden", "keeper") if forbidden else kept.replace("warden", "usually")
        first = {"yes": "No. ", "no": "Yes. "}.get(one["verdict"], "")
        one["unfaithful"] = first + changed_words.removeprefix("Yes. ").removeprefix("No. ")
        if forbidden:  # another question, and the same words on either side, so that none of them tells
            one["question"] = f"Once more and elsewhere, {one['question']}"
            one["faithful"], one["unfaithful"] = kept + " of gates", one["unfaithful"] + " of gates"
            if len(one["question"]) % 2:
                swap = one["faithful"].replace("warden", "keeper")
                one["faithful"], one["unfaithful"] = swap, one["unfaithful"].replace("keeper", "warden")
    return json.dumps({"items": found})


def test_the_worst_kind_is_asked_again_once(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Every rejected answer says "usually"; of the worst kind there are then new pairs, which do not."""
    document = harbour_of(40)
    few = changed(settings, preferences={"scenarios_per_passage": 5})
    teacher = Planner(telltale)
    few = replace(few, filters=replace(LOOSE, max_duplicate=1.0))
    writer, filters = parts(few, tmp_path, teacher, document)
    funnel = Funnel()
    rows = write_contrasts(writer, filters, funnel, document.passages)
    before, asked = Counter(row.rejected_kind for row in rows), len(teacher.asked)
    assert len(rows) == funnel.kept == 200
    after = replace_worst_kind(writer, filters, funnel, rows)
    again = [r for r in teacher.asked[asked:] if len(r.messages) == 1]
    assert again and all("in neither answer the words" in r.messages[0]["content"] for r in again)
    assert all("usually" in r.messages[0]["content"] for r in again)
    (kind,) = {row.rejected_kind for row in rows} - {row.rejected_kind for row in after if "usually" in row.rejected}
    assert all("usually" in row.rejected for row in after if row.rejected_kind != kind)
    assert funnel.dropped[REPLACED] == before[kind]
    assert funnel.kept == len(after) == sum(funnel.per_clause.values()) == sum(funnel.kinds.values())
    assert funnel.made == funnel.kept + sum(funnel.dropped.values())
    assert len(again) == before[kind]


@pytest.mark.parametrize("pending", [0, 1])
def test_nothing_is_audited_while_a_batch_is_pending(settings: SynthesisSettings, tmp_path: Path, pending: int) -> None:
    """Which kind is worst shows when all pairs are there."""
    document = harbour_of(40)
    few = changed(settings, preferences={"scenarios_per_passage": 5})
    few = replace(few, filters=replace(LOOSE, max_duplicate=1.0))
    teacher = Planner(telltale)
    writer, filters = parts(few, tmp_path, teacher, document)
    writer.teacher.pending = pending
    write_preferences(writer, writer.teacher, filters, Funnel())
    again = [r for r in teacher.asked if "in neither answer the words" in r.messages[0]["content"]]
    assert bool(again) == (not pending)


def test_an_audit_without_cause_asks_nothing(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Eighteen pairs are too few for an audit."""
    teacher = Planner()
    writer, filters = parts(settings, tmp_path, teacher, HARBOUR)
    rows = write_contrasts(writer, filters, Funnel())
    asked = len(teacher.asked)
    assert replace_worst_kind(writer, filters, Funnel(), rows) == rows
    assert len(teacher.asked) == asked


DEFINED = parse_document(
    b"## Rule 1. Words\n\nA guard means whoever wears the yellow helmet on the pier at night.\n\n"
    b"## Rule 2. Geese\n\nNobody may feed the geese at the north gate of the old harbour.\n\n"
    b"## Rule 3. Lamps\n\nA lamp must burn at every door of the harbour from dusk until dawn.\n",
    "harbour",
)


def test_a_data_set_of_a_capable_teacher(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Rows have verdict, kind and prompt; the definition has no pair and is not short; another run asks nothing."""
    built = changed(settings, coverage={"min_preferences": 4, "top_up_rounds": 1})

    def build(folder: Path, teacher: Planner) -> dict[str, Any]:
        cached = CachedTeacher(teacher, tmp_path / "c.sqlite")
        return synthesize(
            folder, DEFINED, GIVEN, teacher=cached, base=cached, embedder=Bag(), settings=built, seed=0
        )  # fmt: skip

    counts = build(tmp_path / "a", Planner())
    words = DEFINED.passages[0].clause
    assert counts["without_value"] == counts["coverage"]["preferences"]["without_value"] == [words]
    assert counts["coverage"]["preferences"]["short"] == {}
    funnel = read_json(tmp_path / "a/funnel.json")
    assert funnel["preference"]["without_value"] == [words]
    rows = read_jsonl(tmp_path / "a/sft.jsonl", Instruction)
    pairs = read_jsonl(tmp_path / "a/preferences.jsonl", Preference)
    assert {row.kind for row in rows if row.clauses == (words,)} == {"factual"}
    assert {pair.clauses[0] for pair in pairs} == {passage.clause for passage in DEFINED.passages[1:]}
    assert {pair.rejected_kind for pair in pairs} == set(CONTRADICTIONS)
    decided = [row for row in rows if row.verdict]
    assert sum(counts["verdicts"].values()) == len(decided) + sum(pair.verdict is not None for pair in pairs)
    assert abs(counts["verdicts"]["yes"] - counts["verdicts"]["no"]) <= 4
    assert decided and all(row.answer.lower().startswith(str(row.verdict)) for row in decided)
    assert all(pair.verdict is None or pair.chosen.lower().startswith(pair.verdict) for pair in pairs)
    assert {row.provenance.template for row in rows} == {"cases"}
    for origin in [row.provenance for row in rows] + [pair.provenance for pair in pairs]:
        assert origin.quote in DEFINED.text and origin.teacher == "planner@1"
    again = Planner()
    build(tmp_path / "b", again)
    assert again.asked == []
    for name in ("sft.jsonl", "preferences.jsonl", "funnel.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_source_keeps_the_clauses_without_a_value(tmp_path: Path) -> None:
    write_source(tmp_path, DEFINED, None, [], ["harbour/rule-1"])
    found = read_source(tmp_path)
    assert found is not None and found.without_value == ("harbour/rule-1",)
    data = read_json(tmp_path / "source.json")
    del data["without_value"]
    (tmp_path / "source.json").write_text(json.dumps(data))
    old = read_source(tmp_path)
    assert old is not None and old.without_value == ()


def test_silent_questions_are_checked_and_framed(settings: SynthesisSettings, tmp_path: Path) -> None:
    """The teacher's own answer to one is not taken; what it finds answered after all is dropped."""

    def write(messages: Sequence[Any]) -> str:
        if "Do these rules answer" in messages[-1]["content"]:
            return "No" if "lamp" in messages[-1]["content"].rsplit("Question:", 1)[-1] else "Yes"
        return reply(messages)

    kinds = replace(settings.instructions.kinds, question=0.0, silent=1.0)
    chosen = changed(settings, instructions={"kinds": kinds}, coverage={"min_instructions": 0, "min_preferences": 0})
    cached = CachedTeacher(Planner(write), tmp_path / "c.sqlite")
    synthesize(tmp_path, HARBOUR, GIVEN, teacher=cached, base=cached, embedder=Bag(), settings=chosen, seed=0)
    rows = read_jsonl(tmp_path / "sft.jsonl", Instruction)
    assert rows and all("lamp" in row.question for row in rows)
    assert all(row.answer.startswith(("The ", "That is not")) and row.provenance.template == "cases" for row in rows)
    assert all(passage_of([{"content": f"Rule: {row.provenance.quote}"}]) for row in rows)


def test_pairs_of_a_large_teacher_pass_and_swapped_ones_do_not() -> None:
    """Of the shipped pairs, written by a large model, at least 99% are fit; none whose answers change places is."""
    text = resources.files("valign.synthesis").joinpath("data", "udhr_rows.jsonl").read_text(encoding="utf-8")
    pairs = [pair for pair in map(json.loads, text.splitlines()) if pair.get("rejected")]
    document = shipped_document("udhr")
    faults = [contrast_fault(p["verdict"], p["answer"], p["rejected"], document) for p in pairs]
    assert len(pairs) > 500 and faults.count("") >= 0.99 * len(faults)
    swapped = [contrast_fault(p["verdict"], p["rejected"], p["answer"], document) for p in pairs if p["verdict"]]
    assert "" not in swapped
