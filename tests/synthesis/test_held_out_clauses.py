"""Clauses held out of training: nothing is written about them, and their questions are scored apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from short_document import GEESE, HARBOUR, HELMETS, LAMPS, Silent, build, teacher_alone
from values import row

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Instruction, Preference
from valign.evaluation.scores import score_arm
from valign.reporting.tax_and_probes import EXTRA_PARTS
from valign.synthesis.held_out_clauses import exposure, without_clauses
from valign.synthesis.settings import SynthesisSettings


@pytest.fixture
def settings(settings: SynthesisSettings) -> SynthesisSettings:
    return teacher_alone(settings)


def test_nothing_is_written_about_them(settings: SynthesisSettings, tmp_path: Path) -> None:
    """No prompt for training shows the held-out clause, no example rests on it, and the others lose nothing."""
    teacher = Silent(0)
    counts = build(tmp_path, replace(settings, hold_out_clauses=(GEESE,)), teacher)
    assert (counts["clauses"], counts["clauses_covered"], counts["clauses_held_out"]) == (2, 2, 1)
    words = next(p.text for p in HARBOUR.passages if p.clause == GEESE)
    assert teacher.asked
    assert not [request for request in teacher.asked if words in request.messages[-1]["content"]]
    rows: list[Any] = [
        *read_jsonl(tmp_path / "sft.jsonl", Instruction),
        *read_jsonl(tmp_path / "preferences.jsonl", Preference),
    ]
    assert {clause for one in rows for clause in one.clauses} == {HELMETS, LAMPS}
    assert not [one for one in rows if one.provenance.quote in words]
    assert set(json.loads((tmp_path / "funnel.json").read_text())["sft"]["per_clause"]) == {HELMETS, LAMPS}


def test_made_questions_ask_about_them_too(settings: SynthesisSettings, tmp_path: Path) -> None:
    build(tmp_path, replace(settings, hold_out_clauses=(GEESE,)), Silent(0), None)
    asked = [json.loads(line)["clause"] for line in (tmp_path / "questions.jsonl").read_text().splitlines()]
    assert set(asked) == {HELMETS, GEESE, LAMPS}


def test_the_text_and_its_offsets_stay() -> None:
    left = without_clauses(HARBOUR, [GEESE])
    assert left.text == HARBOUR.text
    assert [p.clause for p in left.passages] == [HELMETS, LAMPS]
    assert without_clauses(HARBOUR, []) == HARBOUR


def test_an_unknown_clause_and_all_clauses_are_refused() -> None:
    with pytest.raises(ValignError, match=r"hold_out_clauses: \w+ has no clause 'd/9'; python -m valign\.clauses"):
        without_clauses(HARBOUR, ["d/9"])
    with pytest.raises(ValignError, match="names every clause"):
        without_clauses(HARBOUR, [HELMETS, GEESE, LAMPS])


def test_exposure_of_clauses_above_and_below() -> None:
    """Of clause d/1 one part was held out, so it is neither; a part of a held-out clause is unseen."""
    passages = tuple(replace(HARBOUR.passages[0], clause=clause) for clause in ("d/1/a", "d/1/b", "d/2", "d/3"))
    document = replace(HARBOUR, passages=passages)
    found = exposure(document, ["d/1/b", "d/2"], ["d/1", "d/1/a", "d/1/b", "d/2", "d/2/x", "d/3"])
    assert found == {"d/1/a": "seen", "d/1/b": "unseen", "d/2": "unseen", "d/2/x": "unseen", "d/3": "seen"}
    assert exposure(document, [], ["d/1"]) == {}


def test_scores_of_seen_and_unseen_clauses_by_hand() -> None:
    """Seen: 1 and 1 against 0 and 0; unseen: 0.5 against 0.25; the question on d/3 is on neither side."""
    arm = [row("q1", "d/1", fact_recall=1.0), row("q2", "d/1", fact_recall=1.0), row("q3", "d/2", fact_recall=0.5)]
    base = [row("q1", "d/1", fact_recall=0.0), row("q2", "d/1", fact_recall=0.0), row("q3", "d/2", fact_recall=0.25)]
    other = [row("q4", "d/3", fact_recall=0.0)]
    sides = {"d/1": "seen", "d/2": "unseen"}
    found = score_arm("sft", arm + other, base + other, 100, sides)["by_exposure"]["metrics"]
    assert {name: (entry["mean"], entry["n"]) for name, entry in found.items()} == {
        "fact_recall/seen": (1.0, 2), "fact_recall/seen, minus base": (1.0, 2),
        "fact_recall/unseen": (0.5, 1), "fact_recall/unseen, minus base": (0.25, 1),
    }  # fmt: skip
    assert "by_exposure" not in score_arm("sft", arm, base, 100, {})
    assert "by_exposure" in EXTRA_PARTS
