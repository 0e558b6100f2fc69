"""General instructions beside D_sft: where they come from, and that the tax is not measured on them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import Noting

from valign.core.errors import ValignError
from valign.documents.settings import shipped_names
from valign.documents.shipped import shipped_questions
from valign.evaluation.leakage import question_overlap
from valign.evaluation.tax.items import everyday_tasks, general_texts
from valign.generation.requests import Completion, Request
from valign.synthesis.replay import GeneralInstruction, general_instructions, replay_rows
from valign.teachers.cache import CachedTeacher
from valign.training.holdout import hold_out


class Talker(Noting):
    """Answers with the seed's turn; every answer of the first turn to an odd question is cut off."""

    id = "talker"

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Answer each request once."""
        self.asked += requests
        found = []
        for request in requests:
            question, turn = request.messages[-1]["content"], request.sampling.seed % 1000
            odd = int(question.removeprefix("q")) % 2 == 1
            found.append([Completion(f" {question} at {turn} ", 5, turn > 0 or not odd)])
        return found


def test_shipped_instructions_are_apart_from_what_the_tax_is_measured_on() -> None:
    """No five words in a row in common with an everyday instruction, a general text or an evaluation question."""
    given = [item.question for item in general_instructions(None)]
    assert len(set(given)) == len(given) == 120
    assert not any(item.answer for item in general_instructions(None))
    measured = [*(task.instruction for task in everyday_tasks()), *(text.text for text in general_texts())]
    measured += [q.question for name in shipped_names() for q in shipped_questions(name)]
    assert question_overlap(given, measured, n=5)["questions"] == []
    assert max(question_overlap([task.instruction for task in everyday_tasks()], given)["max_jaccard"]) < 0.7


def test_what_is_cut_off_is_asked_again(tmp_path: Path) -> None:
    talker = Talker()
    base = CachedTeacher(talker, tmp_path / "completions.sqlite")
    given = [GeneralInstruction(f"q{i}") for i in range(4)]
    rows = replay_rows(given, 4, base, 0, "Be brief.")
    assert len({row.example_id for row in rows}) == len(rows) == 4
    assert {row.answer.split(" at ")[1] for row in rows} == {"0", "1"}
    assert all(row.clauses == () and row.kind == "replay" and row.provenance.teacher == "talker" for row in rows)
    assert {request.messages[0]["content"] for request in talker.asked} == {"Be brief."}
    assert {request.sampling.temperature for request in talker.asked} == {1.0}
    calls = len(talker.asked)
    assert replay_rows(given, 4, base, 0, "Be brief.") == rows
    assert len(talker.asked) == calls
    assert replay_rows(given, 4, base, 1, "Be brief.") != rows


def test_more_rows_than_instructions_take_further_answers(tmp_path: Path) -> None:
    base = CachedTeacher(Talker(), tmp_path / "completions.sqlite")
    rows = replay_rows([GeneralInstruction("q0"), GeneralInstruction("q2")], 5, base, 0, None)
    assert sorted(row.question for row in rows) in (["q0"] * 2 + ["q2"] * 3, ["q0"] * 3 + ["q2"] * 2)
    assert len({row.answer for row in rows}) == 5


def test_given_answers_are_taken_once_and_a_lack_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("valign"), "propagate", True)
    talker = Talker()
    base = CachedTeacher(talker, tmp_path / "completions.sqlite")
    rows = replay_rows([GeneralInstruction("Hello?", "Good day.")], 3, base, 0, None)
    assert [(row.answer, row.provenance.teacher) for row in rows] == [("Good day.", "")]
    assert talker.asked == []
    assert "sft.replay: 1 of 3 general instructions" in caplog.text


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "general.jsonl"
    file.write_text(json.dumps({"question": "Hello?", "answer": "Good day."}) + "\n" + json.dumps({"question": "q1"}))
    assert general_instructions(str(file)) == [GeneralInstruction("Hello?", "Good day."), GeneralInstruction("q1")]
    file.write_text("")
    with pytest.raises(ValignError, match=r"sft\.replay_file: .*general\.jsonl has no instruction"):
        general_instructions(str(file))


def test_validation_holds_none_of_them_out(tmp_path: Path) -> None:
    rows = replay_rows(
        [GeneralInstruction(f"q{i}") for i in range(20)], 20, CachedTeacher(Talker(), tmp_path / "c.sqlite"), 0, None
    )
    with pytest.raises(ValignError, match="holds out none"):
        hold_out(rows, 0.5, "sft.validation")
