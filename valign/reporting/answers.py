"""Answers side by side: every question with what each arm said, grouped by clause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.core.records import Answer
from valign.evaluation.answer_metrics import fact_recall, followed
from valign.evaluation.metrics import primary_metrics
from valign.evaluation.verdicts import stated_verdict
from valign.reporting.clause_names import Clauses
from valign.reporting.colours import colour_step
from valign.reporting.comparison import BASE, ArmResult, Comparison, metric_named
from valign.reporting.examples import ExampleList, Examples
from valign.reporting.numbers import finite_number, format_number
from valign.reporting.policy_verdicts import judged_note

MOST_WORDINGS = 3
VERSIONS_FOLLOWED = {
    "document": "follows the document, not the original",
    "original": "follows the original, not the document",
    "both": "says what both versions say",
    "neither": "says neither what the document nor what the original says",
}


@dataclass(frozen=True)
class Mark:
    """A fact or verdict that the answer should state, and whether it does."""

    text: str
    found: bool


@dataclass(frozen=True)
class AnswerCard:
    """One arm's answer.

    ``place`` is the arm's among the arms, ``score`` its leading measures in one word, which answers that agree have in
    common, ``trained`` what the arm was trained on about the clause, and ``judged`` what a policy judge says.
    """

    place: int
    score: str
    trained: str
    arm: str
    answer: str
    marks: list[Mark]
    numbers: list[tuple[str, str]]
    shown: list[str]
    finished: bool
    judged: str = ""


@dataclass(frozen=True)
class QuestionView:
    """One question; ``tags`` is what the filter looks for."""

    question_id: str
    question: str
    reference: str
    cards: list[AnswerCard]
    tags: str


@dataclass(frozen=True)
class ClauseView:
    """The questions on one clause; ``chips`` are each arm's mean fact recall with its colour step."""

    clause: str
    short: str
    heading: str
    text: str
    anchor: str
    questions: list[QuestionView]
    examples: list[ExampleList]
    chips: list[tuple[str, str, int | None]]


def answers_by_clause(comparison: Comparison, clauses: Clauses) -> list[ClauseView]:
    """Group the questions of all arms by clause, in the document's order."""
    questions: dict[str, dict[str, Answer]] = {}
    for result in comparison.arms:
        for answer in result.answers:
            questions.setdefault(answer.clause, {}).setdefault(answer.question_id, answer)
    tables = [_Table(result, i) for i, result in enumerate(comparison.arms)]
    examples = Examples(comparison)
    leading = next((m for m in comparison.metrics if metric_named(m).is_primary), None)
    return [
        ClauseView(
            clause=clause,
            short=clauses.short(clause),
            heading=clauses.heading(clause),
            text=clauses.text(clause),
            anchor=f"clause-{i}",
            questions=[_question(question, tables, clauses, examples) for question in questions[clause].values()],
            examples=examples.lists(clauses.names(clause)),
            chips=_chips(comparison, clause, leading) if leading else [],
        )
        for i, clause in enumerate(clauses.ordered(questions), start=1)
    ]


def question_filters(comparison: Comparison) -> list[tuple[str, str]]:
    """Return what a reader can filter questions by: the tag and its name."""
    found = [("disagree", "Arms shown disagree")]
    found += [(f"miss-{i}", f"{arm.label} misses something") for i, arm in enumerate(comparison.arms)]
    if comparison.base is not None:
        others = [(i, arm) for i, arm in enumerate(comparison.arms) if arm.arm != BASE]
        found += [(f"worse-{i}", f"{arm.label} does worse than base") for i, arm in others]
    return found


class _Table:
    """One arm's answers and values, looked up by question."""

    def __init__(self, result: ArmResult, place: int) -> None:
        self.result = result
        self.place = place
        self.answers = {answer.question_id: answer for answer in result.answers}
        self.judged = {judgement.question_id: judgement for judgement in result.policy}
        self.values = {str(row.get("question_id")): row for row in result.values}

    def primary(self, question_id: str) -> tuple[float, ...]:
        """Return the leading metrics that were scored on a question."""
        row = self.values.get(question_id, {})
        return tuple(
            value for value in (finite_number(row.get(metric)) for metric in primary_metrics()) if value is not None
        )


def _chips(comparison: Comparison, clause: str, metric: str) -> list[tuple[str, str, int | None]]:
    values = [(result.label, result.by_clause(clause, metric)) for result in comparison.arms]
    return [(label, format_number(value), colour_step(value, 0.0, 1.0, True)) for label, value in values]


def _question(question: Answer, tables: Sequence[_Table], clauses: Clauses, examples: Examples) -> QuestionView:
    named = clauses.names(question.clause)
    return QuestionView(
        question_id=question.question_id,
        question=question.question,
        reference=question.reference,
        cards=[_card(table, question.question_id, clauses, examples.trained(table.result, named)) for table in tables],
        tags=" ".join(_tags(question.question_id, tables)),
    )


def _tags(question_id: str, tables: Sequence[_Table]) -> list[str]:
    """Say on which arms a question fails, which do worse than base, and whether arms disagree."""
    scores = [table.primary(question_id) for table in tables]
    base = next((score for table, score in zip(tables, scores, strict=True) if table.result.arm == BASE), ())
    tags = ["disagree"] if len({score for score in scores if score}) > 1 else []
    tags += [f"miss-{i}" for i, score in enumerate(scores) if score and min(score) < 1.0]
    tags += [f"worse-{i}" for i, score in enumerate(scores) if score and base and sum(score) < sum(base)]
    return tags


def _card(table: _Table, question_id: str, clauses: Clauses, trained: str) -> AnswerCard:
    """Lay out one arm's answer; an arm that did not answer gets an empty card."""
    answer, row = table.answers.get(question_id), table.values.get(question_id, {})
    if answer is None:
        return AnswerCard(table.place, "", trained, table.result.label, "", [], [], [], True)
    return AnswerCard(
        place=table.place,
        score="/".join(format_number(value) for value in table.primary(question_id)),
        trained=trained,
        arm=table.result.label,
        answer=answer.answer,
        marks=needed_marks(answer),
        numbers=_numbers(row),
        shown=_shown(answer, clauses),
        finished=answer.finished,
        judged=judged_note(table.judged.get(question_id)),
    )


def _shown(answer: Answer, clauses: Clauses) -> list[str]:
    """Name the passages that were in the prompt; all of them are the whole document."""
    if len(answer.retrieved) > 1 and clauses.are_all(answer.retrieved):
        return ["the whole document"]
    return [clauses.short(clause) for clause in answer.retrieved]


def needed_marks(answer: Answer) -> list[Mark]:
    """Return the facts, the verdict and the version that an answer needed, and which it has, as the metrics see it."""
    marks = [Mark(_wordings(fact), fact_recall(answer.answer, [fact]) == 1.0) for fact in answer.facts]
    if answer.verdict is not None:
        stated = stated_verdict(answer.answer)
        said = "" if stated == answer.verdict else f" (says {stated})" if stated else " (says neither)"
        marks.append(Mark(f"verdict {answer.verdict}{said}", stated == answer.verdict))
    side = followed(answer.answer, answer.facts, answer.verdict, answer.original)
    if side is not None:
        marks.append(Mark(VERSIONS_FOLLOWED[side], side == "document"))
    return marks


def _wordings(fact: Sequence[str]) -> str:
    """Name a fact by its first accepted wordings."""
    return " or ".join(fact[:MOST_WORDINGS]) + (" …" if len(fact) > MOST_WORDINGS else "")


def _numbers(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the question's other values, each with its metric's name."""
    pairs = [(name, finite_number(value)) for name, value in row.items() if name != "question_id"]
    return [(metric_named(name).label, format_number(value)) for name, value in pairs if value is not None]
