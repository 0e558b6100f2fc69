"""Checks of evaluation questions that the user gives."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from valign.core.control_tokens import NamedText, warn_of_control_tokens
from valign.core.errors import ValignError
from valign.core.files import to_dict
from valign.core.records import Document, Question
from valign.documents.clauses import ClauseIndex


def without_original(question: Question) -> dict[str, Any]:
    """Return a question as plain values without the other version's answer, which synthesis may not depend on."""
    return {key: value for key, value in to_dict(question).items() if key != "original"}


def check_questions(questions: Sequence[Question], where: str, document: Document) -> None:
    """Refuse questions that cannot be asked or scored, and warn of those that hold control tokens.

    Args:
        questions: What was read.
        where: From which file, for messages.
        document: What the questions are about.

    Raises:
        ValignError: There are none, an id occurs twice, the document does not have a clause, or a question has an
            ``original`` and one of the two versions has neither facts nor a verdict.
    """
    warn_of_control_tokens(
        "questions", (NamedText(q.question_id, t) for q in questions for t in (q.question, q.reference))
    )
    if not questions:
        raise ValignError(f"{where} holds no questions; add one JSON object a line.")
    seen: set[str] = set()
    index = ClauseIndex(document.passages)
    for question in questions:
        if question.question_id in seen:
            raise ValignError(f"{where}: question_id '{question.question_id}' occurs twice; give each its own.")
        seen.add(question.question_id)
        if not index.indices(question.clause):
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
