"""A judgement of two answers, and the judge that asks no model: nearness to the reference answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valign.core.records import Answer
from valign.evaluation.answer_metrics import length_words


@dataclass(frozen=True)
class Judgement:
    """What a judge made of two arms' answers to one question.

    Attributes:
        question_id: The question.
        clause: The clause that decides it.
        first: One arm.
        second: The other arm.
        score: Share of the win that the first arm gets, the mean of both orders: 1 won twice, 0 lost twice, 0.5 tied
            twice or won in one order only, 0.75 and 0.25 where one order was a tie.
        longer: Words of the first answer less those of the second.
        flipped: Whether the judge took the answer in the same place in both orders.
        unread: How many of its two replies named neither A, B nor a tie; such a reply counts as a tie.
    """

    question_id: str
    clause: str
    first: str
    second: str
    score: float
    longer: int
    flipped: bool = False
    unread: int = 0

    def swapped(self) -> Judgement:
        """Return the same judgement, seen from the other arm."""
        turned = (self.second, self.first, 1.0 - self.score, -self.longer)
        return Judgement(self.question_id, self.clause, *turned, self.flipped, self.unread)


def make_judgement(first: Answer, second: Answer, score: float, flipped: bool = False, unread: int = 0) -> Judgement:
    """Return the judgement that a score makes of two answers to one question."""
    longer = length_words(first.answer) - length_words(second.answer)
    return Judgement(first.question_id, first.clause, first.arm, second.arm, score, longer, flipped, unread)


def paired_answers(first: Sequence[Answer], second: Sequence[Answer]) -> list[tuple[Answer, Answer]]:
    """Return the answers of two arms to the questions that both have."""
    others = {answer.question_id: answer for answer in second}
    return [(answer, others[answer.question_id]) for answer in first if answer.question_id in others]


def judge_by_reference(
    first: Sequence[Answer],
    second: Sequence[Answer],
    nearness: Sequence[Mapping[str, float | None]],
    tie: float,
) -> list[Judgement]:
    """Let the answer win that is nearer to the reference answer; deterministic, and the same in both orders.

    It knows no more than the metric ``similarity`` does, and rewards the manner of an answer as that does.

    Args:
        first: One arm's answers.
        second: The other arm's.
        nearness: For both arms, the cosine of answer and reference by question id.
        tie: Differences up to this one are a tie.
    """
    found = []
    for a, b in paired_answers(first, second):
        near, other = (column.get(a.question_id) for column in nearness)
        if near is None or other is None:
            continue
        gap = round(near - other, 9)
        found.append(make_judgement(a, b, 0.5 if abs(gap) <= tie else float(gap > 0)))
    return found
