"""The jobs of the study: ``python experiments/teacher_size/jobs.py > jobs.jsonl``, and ``run.py`` runs them.

With ``--development`` those on development questions, by which the settings were chosen. Each job is an object with its
name and the overrides for ``python -m valign.train``; all jobs of a seed come before those of the next seed.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from valign.documents.shipped import shipped_document
from valign.synthesis.languages.choice import language_of
from valign.synthesis.names import Names

Row = dict[str, object]
DATA = Path(__file__).resolve().parents[2] / "valign"
COMMON = ["logger=none", "evaluation.judge=null"]
LARGE = [
    *("teacher=none", "synthesis.filters.waive=[relevance,faithfulness,grounding]"),
    *("synthesis.instructions.chosen_answers=true", "synthesis.preferences.claim_pairs_per_passage=0"),
]
WHOLE = ["dpo.tokens=all", "dpo.beta=0.3", "dpo.sft_weight=0.2"]  # DPO as it was first: whole answers
PIVOTAL = ["dpo.tokens=pivotal", "dpo.beta=3", "dpo.sft_weight=0", "dpo.epochs=1"]  # as udhr has it now
CASES_ALONE = "synthesis.instructions.chosen_answers=false"
DEVELOPMENT: dict[str, tuple[list[str], dict[str, list[str]]]] = {
    "declaration": (
        [
            *("+experiment=udhr_long", f"evaluation.questions={DATA}/documents/data/udhr_dev_questions.jsonl"),
            *("evaluation.tax.measure=false", *WHOLE, "dpo.epochs=2"),
        ],
        {
            "rows": [CASES_ALONE, "dpo.beta=0.1"],
            "rows-3": [CASES_ALONE, "dpo.beta=0.1", "sft.epochs=3"],
            "chosen": ["dpo.beta=0.1"],
            "chosen-3": ["dpo.beta=0.1", "sft.epochs=3"],
            "chosen-beta": [],
            "chosen-weight": ["dpo.beta=0.1", "dpo.sft_weight=1.0"],
            "chosen-once": ["dpo.beta=0.1", "dpo.epochs=1"],
            "chosen-rate": ["dpo.beta=0.1", "dpo.learning_rate=2e-4"],
        },
    ),
    "minutes": (
        [
            *("+experiment=udhr", f"evaluation.questions={DATA}/documents/data/udhr_dev_questions.jsonl"),
            "evaluation.tax.measure=false",
        ],
        {
            "whole": [*WHOLE, "dpo.sft_weight=1"],
            "pivotal-1": ["dpo.beta=1"],
            "pivotal-3": [],
            "pivotal-10": ["dpo.beta=10"],
        },
    ),
    "saltmarsh": (
        [
            *("+experiment=lanternfield", "document=saltmarsh", "synthesis.rows=shipped", *LARGE, "dpo.epochs=2"),
            *("dpo.sft_weight=0.2", "dpo.beta=0.1", "evaluation.tax.measure=false"),
        ],
        {
            "rows-3": [CASES_ALONE, "sft.epochs=3"],
            "chosen-3": ["sft.epochs=3"],
            "chosen-5": ["sft.epochs=5"],
            "chosen-3-beta": ["sft.epochs=3", "dpo.beta=0.3"],
            "chosen-3-once": ["sft.epochs=3", "dpo.epochs=1", "dpo.sft_weight=1.0"],
            "chosen-3-pivotal": [
                "sft.epochs=3",
                "dpo.epochs=1",
                "dpo.tokens=pivotal",
                "dpo.beta=3",
                "dpo.sft_weight=0",
            ],
        },
    ),
}
EMBEDDED_ROWS, EMBEDDED_PAIRS = 594, 193  # D_sft and D_pref of the embedded teacher with seed 0
FRAMES = 279  # rows of D_sft that are fixed sentences: claims, phrases, recitations


def development_jobs() -> Iterator[tuple[str, str, list[str]]]:
    """Yield study, name and overrides of the jobs on development questions."""
    for document, (common, variants) in DEVELOPMENT.items():
        for name, more in variants.items():
            yield f"teacher_size_{document}", name, [*common, *more]


def study_jobs(rows: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield those of the study: who wrote how much, and what DPO's rejected answers are.

    Args:
        rows: Where the files of sampled rows are written.
    """
    shipped = [json.loads(line) for line in (DATA / "synthesis" / "data" / "udhr_rows.jsonl").open(encoding="utf-8")]
    pairs = [row for row in shipped if "rejected" in row]
    rows.mkdir(parents=True, exist_ok=True)
    write(rows / "pairs.jsonl", pairs)
    others = sample([row for row in shipped if "rejected" not in row], EMBEDDED_ROWS - FRAMES - EMBEDDED_PAIRS)
    write(rows / "equal.jsonl", sample(pairs, EMBEDDED_PAIRS) + others)
    waived = LARGE[1]
    cases = [f"synthesis.rows={rows / 'pairs.jsonl'}", *LARGE[1:]]
    yield "teacher_size", "embedded", ["+experiment=udhr_embedded"]
    yield "teacher_size", "embedded-large-cases", ["+experiment=udhr_embedded", *cases, *PIVOTAL]
    steps = ["sft.epochs=2", "sft.learning_rate=1.5e-3", "sft.accumulate=2"]
    yield "teacher_size", "large-equal", ["+experiment=udhr", f"synthesis.rows={rows / 'equal.jsonl'}", waived, *steps]
    yield "teacher_size", "large-minutes", ["+experiment=udhr"]
    write(rows / "edited.jsonl", edit_rejected(shipped))
    edits = [f"synthesis.rows={rows / 'edited.jsonl'}", f"{waived[:-1]},contrast]", *WHOLE, "dpo.sft_weight=1"]
    yield "teacher_size", "large-edits", ["+experiment=udhr", *edits]
    yield "teacher_size", "large", ["+experiment=udhr_long"]
    fictional = ["+experiment=lanternfield", "synthesis.rows=shipped", *LARGE, "sft.epochs=3"]
    yield "teacher_size_fictional", "large", [*fictional, *PIVOTAL]
    yield "teacher_size_fictional", "large-whole", fictional


def sample(rows: list[Row], count: int) -> list[Row]:
    """Draw rows, of every clause as many as of another."""
    by_clause, draw = defaultdict(list), random.Random(0)
    for row in rows:
        by_clause[row["clause"]].append(row)
    for found in by_clause.values():
        draw.shuffle(found)
    longest = max(map(len, by_clause.values()))
    turns = [found[turn] for turn in range(longest) for found in by_clause.values() if turn < len(found)]
    return turns[:count]


def edit_rejected(rows: list[Row]) -> list[Row]:
    """Return rows whose rejected answer is the chosen one with a fact, or else its polarity, changed by rules.

    A pair whose chosen answer has nothing to change becomes a row for SFT, which learns that answer all the same.
    """
    document = shipped_document("udhr")
    language, draw = language_of(document), random.Random(0)
    names = Names(sorted({name for passage in document.passages for name in language.names_in(passage.text)}))
    changed: list[Row] = []
    for row in rows:
        found = language.make_edits(str(row["answer"]), names, draw) if "rejected" in row else []
        facts = [edit for edit in found if edit.kind != "polarity"] or found
        kept = {key: value for key, value in row.items() if key not in ("rejected", "rejected_kind")}
        pair = {"rejected": draw.choice(facts).text, "rejected_kind": row["rejected_kind"]} if facts else {}
        changed.append(kept | pair)
    return changed


def write(path: Path, rows: list[Row]) -> None:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def list_jobs(found: Iterable[tuple[str, str, list[str]]], seeds: int) -> Iterator[dict[str, object]]:
    """Yield the jobs, with name and overrides; all of a seed before those of the next."""
    jobs = list(found)
    for seed in range(seeds):
        for study, name, overrides in jobs:
            settings = [*overrides, *COMMON, f"experiment_name={study}_{name}", f"seed={seed}"]
            yield {"name": f"{name}-{seed}", "overrides": settings}


def main() -> None:
    """Print the jobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--development", action="store_true", help="those on development questions")
    parser.add_argument("--rows", type=Path, default=Path("runs/rows"), help="folder for the files of sampled rows")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    found = development_jobs() if options.development else study_jobs(options.rows.resolve())
    for job in list_jobs(found, options.seeds):
        print(json.dumps(job))


if __name__ == "__main__":
    main()
