"""Items by clause and the shortcut audit, by hand and on the page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pages import comparison, page

from valign.core.records import Passage
from valign.reporting.clause_names import Clauses
from valign.reporting.coverage import AuditTable, CoverageTable, audit_table, coverage_table, verdict_audit_table
from valign.reporting.training_data import funnels


def cells(shown: CoverageTable) -> dict[str, list[tuple[int, int | None, bool]]]:
    """Return count, colour and shortness by clause."""
    return {clause: [(c.count, c.step, c.short) for c in row] for clause, row in shown.rows}


def test_coverage_by_hand() -> None:
    """The first clause has 6 examples, 6 pairs and 3 questions, the second 3 questions and nothing else.

    Colours: the most of a column is the seventh step (6), nothing has no colour. Two pairs and four questions are asked
    for, so that the second clause lacks pairs and both lack questions.
    """
    config = {"synthesis": {"coverage": {"min_preferences": 2, "min_questions": 4}}}
    whole = comparison(config=config)
    shown = coverage_table(whole, Clauses(whole.passages, []))
    assert shown is not None
    assert [(c.title, c.least, c.most) for c in shown.columns] == [
        ("D_sft", 0, 6),
        ("D_pref", 2, 6),
        ("Questions", 4, 3),
    ]
    assert cells(shown) == {
        "ferry/section-1": [(6, 6, False), (6, 6, False), (3, 6, True)],
        "ferry/section-2": [(0, None, False), (0, None, True), (3, 6, True)],
    }
    assert (shown.covered, shown.short) == (1, 2)
    apart = {"synthesis": {**config["synthesis"], "hold_out_clauses": ["ferry/section-2"]}}
    held_out = coverage_table(comparison(config=apart), Clauses(whole.passages, []))
    assert held_out is not None
    assert [short for _, _, short in cells(held_out)["ferry/section-2"]] == [False, False, True]
    assert whole.funnel is not None
    taught = {"made": 3, "dropped": {"no example": 1}, "kept": 2, "per_clause": {"ferry/section-2": 2}}
    facts = coverage_table(comparison(funnel={**whole.funnel, "facts": taught}), Clauses(whole.passages, []))
    assert facts is not None
    assert [c.title for c in facts.columns] == ["D_sft", "D_pref", "Facts taught", "Questions"]
    assert [row[2][0] for row in cells(facts).values()] == [0, 2]
    assert len(funnels(comparison(funnel={**whole.funnel, "facts": taught}))) == 2
    assert coverage_table(comparison(funnel=None), Clauses([], [])) is None


def test_a_question_on_a_section_counts_for_its_parts() -> None:
    parts = [Passage(f"ferry/section-1/{i}", ("Rules",), "Text.", 0, 5) for i in (1, 2)]
    whole = comparison(passages=parts, funnel={"sft": {"made": 0, "dropped": {}, "kept": 0}})
    shown = coverage_table(whole, Clauses(parts, ["ferry/section-1", "ferry/section-2"]))
    assert shown is not None
    assert {clause: row[-1][0] for clause, row in cells(shown).items()} == {
        "ferry/section-1/1": 3, "ferry/section-1/2": 3, "ferry/section-2": 3,
    }  # fmt: skip


def test_the_page_shows_coverage_and_audit(tmp_path: Path) -> None:
    report = {
        "auc": 0.91, "length_auc": 0.5, "kinds": {"base": 0.97, "edit": None}, "cause": "rejected answers have: hm",
        "words": {"chosen": [], "rejected": ["hm"]},
    }  # fmt: skip
    whole = comparison(config={"synthesis": {"coverage": {"min_preferences": 2}}})
    assert whole.funnel is not None
    funnel = {**whole.funnel, "preference": {**whole.funnel["preference"], "audit": report}}
    text = page(tmp_path, dataclasses.replace(whole, funnel=funnel)).text()
    assert "Warning: rejected answers have: hm" in " ".join(text.split())
    assert "Rejected answers of kind base" in text and "0.97" in text and "0.91" in text
    assert "rejected: hm." in text
    assert "1 of 2 clauses have training data; 1 fall short" in text
    assert "none (short)" in text


def test_the_audit_of_verdicts_and_what_wording_tells_are_shown(tmp_path: Path) -> None:
    """With the questions' words as sides, beside the shortcut audit; a damaged figure is left out."""
    whole = comparison()
    assert whole.funnel is not None and whole.leak is not None
    report = {"auc": 0.78, "questions": 40, "words": {"yes": ["ask"], "no": ["refuse"]}, "cause": "for no: refuse"}
    funnel = {**whole.funnel, "sft": {**whole.funnel["sft"], "audit": report}}
    wording = {"accuracy": 0.571, "accuracy_yes": 0.52, "accuracy_no": 0.61, "questions": 4, "training": 40}
    text = page(tmp_path, dataclasses.replace(whole, funnel=funnel, leak={**whole.leak, "wording": wording})).text()
    said = " ".join(text.split())
    assert "Verdict audit" in said and "yes: ask; no: refuse." in said and "Warning: for no: refuse" in said
    assert "0.78" in said and "0.57 of the verdicts are guessed rightly (yes 0.52, no 0.61)" in said
    bare = page(tmp_path, dataclasses.replace(whole, leak={**whole.leak, "wording": {"accuracy": "?"}})).text()
    assert "guessed rightly" not in bare and "Verdict audit" not in bare


@pytest.mark.parametrize(
    "part",
    [
        None,
        [],
        "audit",
        {"audit": "abc"},
        {"audit": [0.9]},
        {"audit": {"auc": 0.9, "words": None, "kinds": 3, "cause": None}},
        {"audit": {"auc": 0.9, "words": {"yes": 3, "no": [1, 2], "chosen": "abc", "rejected": None}}},
    ],
)
def test_a_damaged_audit_is_left_out(part: Any) -> None:
    whole = comparison(funnel={"sft": part, "preference": part})
    for found in (audit_table(whole), verdict_audit_table(whole)):
        assert found is None or (found.sentence, found.warning) == ("", "") or found.sentence.startswith("Not measured")


def test_an_audit_that_was_not_measured_says_why() -> None:
    funnel = {
        "preference": {"made": 1, "dropped": {}, "kept": 1, "audit": {"auc": None, "reason": "3 pairs are too few"}}
    }
    assert audit_table(comparison(funnel=funnel)) == AuditTable("Not measured: 3 pairs are too few.", "", [])
    assert audit_table(comparison()) is None
