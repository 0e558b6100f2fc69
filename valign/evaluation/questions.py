"""Checks of evaluation questions that somebody gives."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import to_dict
from valign.core.records import Document, Question
from valign.documents.clauses import clause_passages


def without_original(question: Question) -> dict[str, Any]:
    """Return what synthesis may look at of a question: all but the other version's answer, which only scores need."""
    return {key: value for key, value in to_dict(question).items() if key != "original"}


def check_questions(questions: Sequence[Question], where: str, document: Document) -> None:
    """Raise a ValignError for a file without questions, an id that occurs twice, or a clause that is not there.

    A question with an ``original`` needs something by which an answer can follow either version.
    """
    if not questions:
        raise ValignError(f"{where} holds no questions; add one JSON object a line.")
    seen: set[str] = set()
    for question in questions:
        if question.question_id in seen:
            raise ValignError(f"{where}: question_id '{question.question_id}' occurs twice; give each its own.")
        seen.add(question.question_id)
        if not clause_passages(question.clause, document.passages):
            near = get_close_matches(question.clause, [p.clause for p in document.passages], 1, 0.0)
            raise ValignError(
                f"{where}: question '{question.question_id}' names clause '{question.clause}', which "
                f"{document.name} does not have; the nearest is '{near[0]}'."
            )
        if question.original and not all(side.facts or side.verdict for side in (question, question.original)):
            raise ValignError(
                f"{where}: question '{question.question_id}' has an 'original', but one version has neither facts nor "
                "a verdict; add what an answer by it says."
            )
