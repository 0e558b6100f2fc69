"""Decisions applied to data that are built again: what goes, changes and comes in, and what is counted."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import Bag, Parrot
from short_document import GEESE, GIVEN, HARBOUR, HELMETS, LAMPS, LOOSE, teacher_alone

from valign.core.errors import ValignError
from valign.core.files import read_jsonl, write_json
from valign.core.records import Instruction, Preference, Question
from valign.core.store import MANIFEST
from valign.documents.clauses import ClauseIndex
from valign.synthesis.build import synthesize
from valign.synthesis.dataset import DataSet, read_data, write_source
from valign.synthesis.decisions import Decision, ReviewFile, row_key, settle
from valign.synthesis.review_rows import ReviewRow, data_rows
from valign.synthesis.review_summary import review_sentence, share_read
from valign.synthesis.reviewed_questions import mend_questions
from valign.synthesis.settings import SynthesisSettings
from valign.teachers.cache import CachedTeacher

Decide = Any


@pytest.fixture
def settings(settings: SynthesisSettings) -> SynthesisSettings:
    return teacher_alone(settings)


def make(
    folder: Path,
    settings: SynthesisSettings,
    decisions: list[Decision] | None = None,
    questions: list[Question] | None = GIVEN,
    document: Any = HARBOUR,
) -> DataSet:
    """Build the harbour's data with some decisions, behind one cache for all folders beside each other."""
    cached = CachedTeacher(Parrot(), folder.parent / "completions.sqlite")
    review = None if decisions is None else ReviewFile("review.jsonl", settle(decisions))
    counts = synthesize(
        folder, document, questions, teacher=cached, base=cached, embedder=Bag(), seed=0,
        settings=replace(settings, filters=LOOSE), review=review,
    )  # fmt: skip
    write_source(folder, document, None, [])
    write_json(folder / MANIFEST, {"counts": counts, "new calls": cached.calls})
    return read_data(folder)


def about(row: ReviewRow, action: str, by: str = "ann", **change: Any) -> Decision:
    """Return a decision about a row; its time follows from how many were made."""
    about.count = getattr(about, "count", 0) + 1  # type: ignore[attr-defined]
    name = f"{about.count:04}"  # type: ignore[attr-defined]
    at = f"2026-11-29T00:00:00.{name}00+00:00"
    return Decision(action, row.key, by, at, name, row.set, row.clauses[0], change)


def added(set: str, clause: str, by: str = "bob", **texts: Any) -> Decision:
    """Return the decision that adds a row."""
    text = ClauseIndex(HARBOUR.passages).text(clause)
    key = row_key(set, text, texts["question"], texts["answer"], texts.get("rejected", ""))
    blank = ReviewRow(set=set, key=key, name="", clauses=(clause,), kind="", question="", answer="")
    return about(blank, "add", by, **texts)


def of_set(data: DataSet, name: str, clause: str = "") -> list[ReviewRow]:
    return [row for row in data_rows(data) if row.set == name and (not clause or row.clauses == (clause,))]


def test_rows_go_change_and_come_in_and_the_teacher_is_asked_nothing(
    settings: SynthesisSettings, tmp_path: Path
) -> None:
    first = make(tmp_path / "a", settings)
    keep, drop, edit = of_set(first, "D_sft", HELMETS)[:3]
    pair = of_set(first, "D_pref", LAMPS)[0]
    decisions = [
        about(keep, "keep"),
        about(drop, "drop"),
        about(edit, "edit", answer="A yellow one, on the pier.", verdict="no"),
        about(edit, "keep", "bob"),
        about(pair, "edit", "bob", rejected="The lamps stay dark."),
        added("D_sft", GEESE, question="Who may feed geese here?", answer="Nobody."),
        added(
            "D_pref", GEESE, question="May a guest feed them?", answer="No.", rejected="Yes.", rejected_kind="holder"
        ),
    ]
    data = make(tmp_path / "b", settings, decisions)
    assert data.manifest["new calls"] == 0
    before, after = ({row.example_id: row for row in one.sft} for one in (first, data))
    assert after[keep.name] == before[keep.name]
    assert drop.name not in after
    assert (after[edit.name].answer, after[edit.name].verdict) == ("A yellow one, on the pier.", "no")
    assert after[edit.name].provenance.teacher == "parrot@1; edited by ann"
    assert set(after[edit.name].filters).isdisjoint({"faithfulness", "repetition"})
    assert after[edit.name].filters["overlap"] == before[edit.name].filters["overlap"]
    new = next(row for row in data.sft if row.kind == "added")
    assert (new.clauses, new.answer, new.provenance.teacher) == ((GEESE,), "Nobody.", "added by bob")
    assert HARBOUR.text[new.provenance.start : new.provenance.end] == new.provenance.quote
    lamp = next(row for row in data.preferences if row.example_id == pair.name)
    assert (lamp.rejected, lamp.provenance.teacher.endswith("; edited by bob")) == ("The lamps stay dark.", True)
    assert data.preferences[-1].rejected_kind == "holder"
    untouched = set(before) - {drop.name, edit.name}
    assert all(after[name] == before[name] for name in untouched)
    funnel = data.funnel["sft"]
    assert funnel["dropped"]["dropped in review"] == 1
    assert funnel["kept"] == len(data.sft) == len(first.sft)
    assert funnel["per_clause"] == {c: sum(row.clauses[0] == c for row in data.sft) for c in (HELMETS, GEESE, LAMPS)}


def test_what_was_read_and_changed_is_counted(settings: SynthesisSettings, tmp_path: Path) -> None:
    first = make(tmp_path / "a", settings)
    one, two, three = of_set(first, "D_sft")[:3]
    decisions = [about(one, "keep"), about(two, "drop", "bob"), about(three, "edit", answer="Nine days.")]
    decisions += [about(one, "keep", "bob"), added("D_sft", GEESE, question="Who feeds geese?", answer="Nobody.")]
    funnel = make(tmp_path / "b", settings, decisions).funnel
    rows = len(first.sft) + len(first.preferences)
    assert share_read(funnel) == (3, rows)
    assert share_read(first.funnel) == (0, rows)
    assert funnel["review"]["sets"]["D_sft"] == {
        "rows": len(first.sft), "read": 3, "kept": 1, "edited": 1, "dropped": 1, "added": 1, "refused": {},
    }  # fmt: skip
    assert funnel["review"]["reviewers"] == {
        "ann": {"read": 2, "edited": 1},
        "bob": {"read": 2, "kept": 1, "dropped": 1, "added": 1},
    }
    assert review_sentence(funnel) == (
        f"3 of {rows} rows for training ({300 / rows:.1f}%) and 0 of 3 questions; 1 kept, 1 edited, 1 dropped, "
        "1 added; by ann (2), bob (2)"
    )
    assert review_sentence(first.funnel) == f"none of the rows, as far as is noted (0 of {rows} for training)"


def test_data_that_were_reviewed_are_reviewed_further_from_where_they_were(
    settings: SynthesisSettings, tmp_path: Path
) -> None:
    """The page of the new data shows every row as synthesised, under its old key, so that decisions still fit."""
    first = make(tmp_path / "a", settings)
    rows = of_set(first, "D_sft")
    decisions = [
        about(rows[0], "drop"),
        about(rows[1], "edit", question="May anybody walk on the pier?", answer="No."),
        about(rows[2], "keep"),
        added("D_sft", GEESE, question="Who feeds geese?", answer="Nobody."),
        added("questions", GEESE, question="Is bread for geese a fine matter?", answer="Yes.", verdict="yes"),
        about(of_set(first, "questions")[0], "drop"),
        about(of_set(first, "questions")[1], "edit", answer="No, never."),
    ]
    data = make(tmp_path / "b", settings, decisions)
    assert {(row.set, row.key, row.answer) for row in data_rows(data)} == {
        (row.set, row.key, row.answer) for row in data_rows(first)
    }
    undone = [*decisions, Decision("undo", rows[0].key, "ann", "2027", "undo", of=decisions[0].id)]
    again = make(tmp_path / "c", settings, undone)
    assert {row.example_id for row in again.sft} - {row.example_id for row in data.sft} == {rows[0].name}


def test_a_decision_does_not_apply_where_its_clause_or_row_changed(
    settings: SynthesisSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make(tmp_path / "a", settings)
    here, there = of_set(first, "D_sft", HELMETS)[0], of_set(first, "D_sft", LAMPS)[0]
    decisions = [
        about(here, "drop"),
        about(there, "drop", "bob"),
        added("D_sft", LAMPS, question="Who lends oil?", answer="The warden."),
        about(replace(here, key="0" * 16), "edit", "bob", answer="Nine."),
    ]
    mended = tuple(replace(p, text=p.text.replace("oil", "old")) if p.clause == LAMPS else p for p in HARBOUR.passages)
    document = replace(HARBOUR, passages=mended, text=HARBOUR.text.replace("oil", "old"))
    with caplog.at_level(logging.WARNING):
        data = make(tmp_path / "b", settings, decisions, document=document)
    assert here.name not in {row.example_id for row in data.sft}
    assert data.funnel["review"]["stale"] == 3
    assert share_read(data.funnel)[0] == 1
    assert not [row for row in data.sft if row.kind == "added"]
    assert "3 decisions of review.jsonl do not apply, as their clause or row is another now" in caplog.text
    assert "3 decisions on rows that are others now" in review_sentence(data.funnel)


def test_changed_rows_pass_the_leak_filter_again(
    settings: SynthesisSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A row edited into an evaluation question goes; an evaluation question edited into a row takes the row's place."""
    first = make(tmp_path / "a", settings)
    row, other = of_set(first, "D_sft", HELMETS)[:2]
    question = of_set(first, "questions")[0]
    decisions = [about(row, "edit", question=GIVEN[0].question), about(question, "keep")]
    with caplog.at_level(logging.WARNING):
        data = make(tmp_path / "b", settings, decisions)
    assert row.name not in {one.example_id for one in data.sft}
    assert data.funnel["sft"]["dropped"]["overlaps evaluation"] >= 1
    assert data.funnel["review"]["sets"]["D_sft"]["refused"] == {"overlaps evaluation": 1}
    assert "1 reviewed rows dropped by filters, all named in reviewed.jsonl" in caplog.text
    assert [(one.refused, one.name, one.original["question"]) for one in data.reviewed if one.set == "D_sft"] == [
        ("overlaps evaluation", "", row.question)
    ]
    mended = make(tmp_path / "c", settings, [about(question, "edit", question=other.question)])
    assert mended.questions[0].question == other.question
    assert other.name not in {one.example_id for one in mended.sft}


def test_a_clause_that_falls_short_says_so(settings: SynthesisSettings, tmp_path: Path) -> None:
    first = make(tmp_path / "a", settings)
    rows = of_set(first, "D_sft", GEESE)
    left = settings.coverage.min_instructions - 1
    with pytest.raises(ValignError, match=rf"coverage: short of .*min_instructions={left + 1}: {GEESE} \({left}\)"):
        make(tmp_path / "b", settings, [about(row, "drop") for row in rows[left:]])
    waived = replace(settings, coverage=replace(settings.coverage, waive=True))
    data = make(tmp_path / "c", waived, [about(row, "drop") for row in rows[left:]])
    assert data.manifest["counts"]["coverage"]["instructions"]["short"] == {GEESE: left}
    back = added("D_sft", GEESE, question="Who feeds geese?", answer="Nobody.")
    make(tmp_path / "d", settings, [*(about(row, "drop") for row in rows[left:]), back])


def test_made_questions_are_treated_the_same(settings: SynthesisSettings, tmp_path: Path) -> None:
    first = make(tmp_path / "a", settings, questions=None)
    one, two = of_set(first, "questions", GEESE)[:2]
    facts = [["six pence", "6 pence"]]
    decisions = [about(one, "edit", answer="It is six pence.", facts=facts), about(two, "drop")]
    decisions.append(
        added("questions", LAMPS, question="Who gives oil away?", answer="The warden.", facts=[["warden"]])
    )
    data = make(tmp_path / "b", settings, decisions, questions=None)
    assert data.manifest["new calls"] == 0
    found = {question.question_id: question for question in data.questions}
    assert (found[one.name].reference, found[one.name].facts) == ("It is six pence.", (("six pence", "6 pence"),))
    assert two.name not in found
    last = data.questions[-1]
    assert (last.question_id.startswith("harbour-added-"), last.facts, last.kind) == (True, (("warden",),), "added")
    assert data.funnel["questions"]["kept"] == len(data.questions) == len(first.questions)
    assert json.loads((tmp_path / "b" / "reviewed.jsonl").read_text().splitlines()[0])["set"] == "questions"


def test_given_questions_are_mended_from_what_the_data_note(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Those of a user's file, which the run reads: the one dropped is not asked, the others are as edited."""
    first = make(tmp_path / "a", settings)
    rows = of_set(first, "questions")
    decisions = [about(rows[0], "drop"), about(rows[1], "edit", verdict="no")]
    decisions.append(added("questions", LAMPS, question="Who gives oil?", answer="The warden."))
    data = make(tmp_path / "b", settings, decisions)
    mended = mend_questions(GIVEN, data.reviewed, ClauseIndex(HARBOUR.passages))
    assert mended == data.questions
    assert [(q.question_id, q.verdict) for q in mended[:2]] == [("q1", "no"), ("q2", None)]
    assert mend_questions(GIVEN, first.reviewed, ClauseIndex(HARBOUR.passages)) == GIVEN


def test_an_edit_that_takes_the_fact_away_teaches_it_no_more(settings: SynthesisSettings, tmp_path: Path) -> None:
    taught = replace(settings, instructions=replace(settings.instructions, examples_per_fact=1))
    first = make(tmp_path / "a", taught)
    row = next(one for one in first.sft if one.fact)
    same = [one for one in first.sft if one.fact == row.fact]
    keys = {one.name: one for one in of_set(first, "D_sft")}
    data = make(tmp_path / "b", taught, [about(keys[one.example_id], "edit", answer="It says so.") for one in same])
    assert data.funnel["facts"]["kept"] == first.funnel["facts"]["kept"] - 1
    assert {one.fact for one in data.sft if one.answer == "It says so."} == {""}


def test_citations_stay_with_the_row_that_was_read(settings: SynthesisSettings, tmp_path: Path) -> None:
    """A reviewer reads and edits the answer with its citation; an edited one is trained on exactly as typed."""
    cited = replace(settings, cite=True)
    first = make(tmp_path / "a", cited)
    row = of_set(first, "D_sft", HELMETS)[0]
    assert row.answer.endswith("(Rule 1)")
    data = make(tmp_path / "b", cited, [about(row, "edit", answer="A yellow one (Rule 1)")])
    assert next(one.answer for one in data.sft if one.example_id == row.name) == "A yellow one (Rule 1)"
    rows: list[Instruction | Preference] = [*data.sft, *data.preferences]
    assert all("(Rule" in (one.answer if isinstance(one, Instruction) else one.chosen) for one in rows)
    assert len(read_jsonl(tmp_path / "b" / "sft.jsonl", Instruction)) == len(first.sft)
