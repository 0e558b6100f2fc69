"""People's decisions applied to evaluation questions, those that were made and those that a user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from valign.core.records import Question
from valign.documents.clauses import ClauseIndex
from valign.synthesis.dataset import Reviewed
from valign.synthesis.decisions import ADD, DROP, EDIT, QUESTION_SET
from valign.synthesis.filters import Funnel
from valign.synthesis.frames import FROM_TEACHER, scenario_family
from valign.synthesis.review_rows import question_row
from valign.synthesis.reviewing import DROPPED, Review


def review_questions(
    review: Review, questions: Sequence[Question], funnel: Funnel | None, document: str
) -> list[Question]:
    """Return the evaluation questions after their review, those that were added last.

    Args:
        review: The decisions; what comes of them is noted there.
        questions: The questions.
        funnel: Their counts, which follow; None where the user gave them.
        document: The document's name, the first part of the ids of new questions.
    """
    found = []
    for question in questions:
        row = question_row(question, review.index)
        state = review.state(row)
        if state is None:
            found.append(question)
        elif state.action == DROP:
            review.note(state, "", row)
            if funnel:
                funnel.take_back(question.clause, question.kind, DROPPED)
        else:
            is_edited = state.action == EDIT
            review.note(state, question.question_id, row if is_edited else None)
            found.append(_changed_question(question, state.change) if is_edited else question)
    for state, row in review.added(QUESTION_SET):
        name = f"{document}-added-{state.key[:8]}"
        review.note(state, name, None)
        found.append(_added_question(name, state.clause, state.change))
        if funnel:
            funnel.made += 1
            funnel.keep(row.clauses[0], row.kind)
    return found


def mend_questions(questions: Sequence[Question], reviewed: Sequence[Reviewed], index: ClauseIndex) -> list[Question]:
    """Return a user's evaluation questions with what was decided about them when the data were built.

    Args:
        questions: The questions as the user has them.
        reviewed: What came of all decisions.
        index: The document's clauses.
    """
    known = {one.key: one for one in reviewed if one.set == QUESTION_SET}
    found = []
    for question in questions:
        one = known.get(question_row(question, index).key)
        if one is None or one.action != DROP:
            found.append(_changed_question(question, one.change) if one and one.action == EDIT else question)
    added = [one for one in known.values() if one.action == ADD and one.name]
    return found + [_added_question(one.name, one.clause, one.change) for one in added]


def _changed_question(question: Question, change: Mapping[str, Any]) -> Question:
    text = change.get("question", question.question)
    return replace(
        question,
        question=text,
        reference=change.get("answer", question.reference),
        verdict=change.get("verdict", question.verdict),
        facts=tuple(tuple(one) for one in change.get("facts", question.facts)),
        family=scenario_family(question.clause, FROM_TEACHER, text) if question.family else "",
    )


def _added_question(name: str, clause: str, change: Mapping[str, Any]) -> Question:
    family = scenario_family(clause, FROM_TEACHER, change["question"])
    blank = Question(name, clause, change["question"], change["answer"], kind="added", family=family)
    return _changed_question(blank, change)
