"""Structured calls, given rows and batches together: what rests on a missing completion is not asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import planner
import pytest
from changed_settings import changed
from fakes import Bag
from short_document import GEESE, GIVEN, HARBOUR, LAMPS, LOOSE, teacher_alone

from valign.core.errors import Pending
from valign.core.files import write_jsonl
from valign.core.records import Document
from valign.documents.read import parse_document
from valign.synthesis.build import synthesize
from valign.synthesis.given_rows import read_given_rows
from valign.synthesis.settings import RejectedShares, SynthesisSettings
from valign.teachers.batch import BatchTeacher
from valign.teachers.cache import CachedTeacher

FILES = ("sft.jsonl", "preferences.jsonl", "funnel.json")
MEANS = "## Rule 4. Words\n\nA keeper means whoever holds the brass key of the pier at night.\n"
HARBOUR_AND_WORDS = parse_document(f"{HARBOUR.text}\n\n{MEANS}".encode(), "harbour")


@pytest.fixture
def settings(settings: SynthesisSettings) -> SynthesisSettings:
    """Prompts for a capable teacher, four questions and four situations of a passage, both judges."""
    chosen = changed(
        teacher_alone(settings),
        prompts="large",
        instructions={"questions_per_passage": 4},
        preferences={"scenarios_per_passage": 4, "rejected": RejectedShares(teacher=1.0)},
        coverage={"min_instructions": 1, "min_preferences": 1, "top_up_rounds": 0},
    )
    judged = replace(LOOSE, relevance="judge", faithfulness="judge", min_faithfulness=0.5)
    return replace(chosen, filters=judged)


def reply(messages: Sequence[Any]) -> str:
    """Reply as a planner, as a judge that knows the planner's two answers, and at first without the last item."""
    last = messages[-1]["content"]
    if '"decides"' in last:
        return json.dumps({"decides": list("ABCDEFGH")})
    if '"contradicted"' in last:
        return json.dumps({"verdict": "none", "answer": "contradicted" if "never" in last else "entailed"})
    whole = planner.reply(messages)
    if len(messages) == 1 and "items" in whole:
        return json.dumps({"items": json.loads(whole)["items"][:-1]})
    return whole


class Counting(planner.Planner):
    """A planner that has the batch's model name."""

    id = "m"


def write(folder: Path, teacher: Any, settings: SynthesisSettings, document: Document, given: Sequence[Any]) -> None:
    folder.mkdir(exist_ok=True)
    cached = CachedTeacher(teacher, folder / "c.sqlite")
    synthesize(
        folder, document, GIVEN, teacher=cached, base=cached, embedder=Bag(), seed=0, settings=settings, given=given
    )


def by_batches(
    folder: Path, settings: SynthesisSettings, document: Document, given: Sequence[Any], share: float = 1.0
) -> tuple[Counter[str], list[int]]:
    """Write the data by batches of which only a share comes back; return what was completed, and the rounds' sizes."""
    asked: Counter[str] = Counter()
    sizes: list[int] = []
    while True:
        try:
            write(folder, BatchTeacher("m", folder / "batch"), settings, document, given)
            return asked, sizes
        except Pending:
            (file,) = (folder / "batch").glob("requests-*.jsonl")
        requests = [json.loads(line) for line in file.read_text().splitlines()]
        sizes.append(len(requests))
        assert len(sizes) < 60 and not [name for name in FILES if (folder / name).exists()]
        done = requests[: max(1, round(share * len(requests)))]
        asked.update(json.dumps(request["body"]["messages"]) for request in done)
        rows = [{"custom_id": r["custom_id"], "text": reply(r["body"]["messages"])} for r in done]
        write_jsonl(folder / "batch" / f"results-{len(sizes)}.jsonl", rows)


def by_calls(folder: Path, settings: SynthesisSettings, document: Document, given: Sequence[Any]) -> Counter[str]:
    teacher = Counting(reply)
    write(folder, teacher, settings, document, given)
    return Counter(json.dumps(list(request.messages)) for request in teacher.asked)


def given_rows(folder: Path) -> list[Any]:
    words = "Yes. A lamp must burn at every door, and oil is lent."
    rows = [
        {"clause": GEESE, "question": "Where are geese not to be fed?", "answer": "Not at the north gate of geese."},
        {
            **{"clause": LAMPS, "question": "Must a lamp burn at my own door?", "answer": words, "verdict": "yes"},
            **{"rejected": words.replace("Yes. A", "No. Never a"), "rejected_kind": "verdict"},
        },
    ]
    write_jsonl(folder / "rows.jsonl", rows)
    return read_given_rows(str(folder / "rows.jsonl"), HARBOUR)


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("has_given", [False, True])
def test_a_batch_asks_what_calls_ask(
    settings: SynthesisSettings, tmp_path: Path, share: float, has_given: bool
) -> None:
    """With judges, repairs, a clause without a value and given rows: the same requests, the same bytes."""
    given = given_rows(tmp_path) if has_given else []
    calls = by_calls(tmp_path / "calls", settings, HARBOUR_AND_WORDS, given)
    asked, _ = by_batches(tmp_path / "batch", settings, HARBOUR_AND_WORDS, given, share)
    assert asked == calls
    for name in FILES:
        assert (tmp_path / "batch" / name).read_bytes() == (tmp_path / "calls" / name).read_bytes()
