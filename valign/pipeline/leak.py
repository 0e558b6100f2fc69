"""What training gives away of the evaluation: questions in the same words, and verdicts that words alone tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from valign.core.files import read_jsonl
from valign.core.records import Instruction, Preference, Question
from valign.evaluation.leakage import question_overlap, verdicts_by_wording
from valign.synthesis.dataset import PREFERENCES, SFT

SHARED_WORDS = 6


def measure_leak(data: Path, replay: Path | None, questions: Sequence[Question]) -> dict[str, Any]:
    """Measure how many evaluation questions share six words in a row with a training question.

    Args:
        data: The data stage's folder.
        replay: The file of general instructions; None for none.
        questions: The evaluation questions.

    Returns:
        What ``question_overlap`` does; and where the questions have verdicts ``wording``, what ``verdicts_by_wording``
        does.
    """
    rows = _training_rows(data)
    found = question_overlap([q.question for q in questions], _questions(rows, replay), n=SHARED_WORDS)
    wording = verdicts_by_wording(_with_verdict(questions), _with_verdict(rows))
    return found if wording is None else {**found, "wording": wording}


def training_questions(data: Path, replay: Path | None) -> list[str]:
    """Return the questions of all training rows.

    Args:
        data: The data stage's folder.
        replay: The file of general instructions; None for none.
    """
    return _questions(_training_rows(data), replay)


def _training_rows(data: Path) -> list[Instruction | Preference]:
    return [*read_jsonl(data / SFT, Instruction), *read_jsonl(data / PREFERENCES, Preference)]


def _questions(rows: Sequence[Instruction | Preference], replay: Path | None) -> list[str]:
    return [row.question for row in (*rows, *(read_jsonl(replay, Instruction) if replay else ()))]


def _with_verdict(rows: Sequence[Question | Instruction | Preference]) -> list[tuple[str, str]]:
    return [(row.question, row.verdict) for row in rows if row.verdict in ("yes", "no")]


def print_leak(found: Mapping[str, Any]) -> None:
    """Print the share of evaluation questions that training gives away, and of their verdicts."""
    print(f"evaluation questions of which six words in a row occur in training: {100 * found['rate']:.1f}%")
    print_wording(found)


def print_wording(found: Mapping[str, Any]) -> None:
    """Print the share of the evaluation questions' verdicts that their words tell, where that was measured."""
    if wording := found.get("wording"):
        print(
            f"verdicts guessed rightly from their words alone, as training questions are worded: "
            f"{wording['accuracy']:.2f} (yes {wording['accuracy_yes']:.2f}, no {wording['accuracy_no']:.2f})"
        )
