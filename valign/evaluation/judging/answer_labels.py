"""Labels of single answers: does this one follow its clause, a person says, blind to the arm and to the judge."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from valign.core.errors import ValignError
from valign.core.records import Answer, Passage
from valign.core.text import words
from valign.documents.clauses import ClauseIndex
from valign.evaluation.judging.labels import answer_hash, read_choices
from valign.evaluation.judging.policy_judgement import POLICY_VERDICTS

ANSWER_LABELS = "answer_labels.jsonl"


@dataclass(frozen=True)
class AnswerLabel:
    """Whether an answer follows its clause, as somebody says.

    Attributes:
        question_id: The question.
        answer: Hash of the answer, which names no arm.
        choice: ``complies``, ``violates`` or ``undecided``.
        rater: Who said so.
        seconds: Time from showing the answer to the choice.
    """

    question_id: str
    answer: str
    choice: str
    rater: str
    seconds: float = 0.0
    choices: ClassVar[tuple[str, ...]] = POLICY_VERDICTS

    @property
    def key(self) -> tuple[str, str]:
        """That of the task."""
        return self.question_id, self.answer


@dataclass(frozen=True)
class AnswerTask:
    """One answer to be labelled."""

    clause: str
    passages: tuple[str, ...]
    answer: Answer

    @property
    def key(self) -> tuple[str, str]:
        """The question, and the answer's hash."""
        return self.answer.question_id, answer_hash(self.answer)

    def shown(self) -> dict[str, object]:
        """Return what a rater sees, which is what the judge sees: neither arm, nor reference, nor expected verdict."""
        texts = {"question": self.answer.question, "clause": self.clause, "first": self.answer.answer}
        return {"kind": "answer", **texts, "passages": list(self.passages)}

    def make_label(self, choice: str, rater: str, seconds: float) -> AnswerLabel:
        """Return the label that a choice makes."""
        return AnswerLabel(*self.key, choice, rater, seconds)


def draw_answers(
    said: Mapping[str, Sequence[Answer]], passages: Sequence[Passage], count: int, rater: str, seed: int
) -> list[AnswerTask]:
    """Draw answers from all arms in turn; one that several arms gave is drawn once, an empty one never.

    Args:
        said: Each arm's answers.
        passages: The document, of which the deciding clause is shown.
        count: Answers wanted, at most.
        rater: Whose order it is, which depends on the name and on ``seed`` alone.
        seed: Of the order.

    Raises:
        ValignError: No arm has said anything.
    """
    source = random.Random(f"{seed}/{rater}/answers")
    by_arm = [[answer for answer in said[arm] if words(answer.answer)] for arm in sorted(said)]
    for answers in by_arm:
        source.shuffle(answers)
    index = ClauseIndex(passages)
    drawn: dict[object, AnswerTask] = {}
    for turn in range(max(map(len, by_arm), default=0)):
        for answers in source.sample(by_arm, len(by_arm)):
            if turn < len(answers) and len(drawn) < count:
                answer = answers[turn]
                texts = tuple(passages[j].text for j in index.indices(answer.clause))
                task = AnswerTask(answer.clause, texts, answer)
                drawn.setdefault(task.key, task)
    if not drawn:
        raise ValignError("no arm has said anything; there is nothing to label.")
    return list(drawn.values())


def read_answer_labels(path: Path) -> list[AnswerLabel]:
    """Read labels of single answers; none where the file is not there."""
    return read_choices(path, AnswerLabel)
