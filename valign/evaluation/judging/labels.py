"""Labels that people give: blind pairs of answers in random order, and the file that keeps what they prefer."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from valign.core.disk import locked
from valign.core.errors import ValignError
from valign.core.files import read_jsonl, write_jsonl
from valign.core.records import Answer, Passage
from valign.documents.clauses import ClauseIndex
from valign.evaluation.judging.judgement import Judgement, make_judgement

LABELS = "labels.jsonl"
CHOICES = {"first": 1.0, "second": 0.0, "tie": 0.5}


class GivenLabel(Protocol):
    """What somebody said of something shown: of a pair of answers, or of one answer."""

    choices: ClassVar[tuple[str, ...]]

    @property
    def key(self) -> object:
        """What it was said of; that of the task."""
        ...

    @property
    def choice(self) -> str:
        """One of ``choices``."""
        ...


class ShownTask(Protocol):
    """Something to be labelled."""

    @property
    def key(self) -> object:
        """What tells it from others."""
        ...

    def shown(self) -> dict[str, object]:
        """Return what a rater sees, and as ``kind`` what is asked."""
        ...

    def make_label(self, choice: str, rater: str, seconds: float) -> GivenLabel:
        """Return the label that a choice makes."""
        ...


Given = TypeVar("Given", bound=GivenLabel)


@dataclass(frozen=True)
class Label:
    """Which of two answers somebody prefers; ``first`` and ``second`` are hashes of the answers, not names of arms.

    Attributes:
        question_id: The question.
        first: Hash of the answer that was shown first.
        second: Hash of the other one.
        choice: ``first``, ``second`` or ``tie``.
        rater: Who said so.
        seconds: Time from showing the pair to the choice.
    """

    question_id: str
    first: str
    second: str
    choice: str
    rater: str
    seconds: float = 0.0
    choices: ClassVar[tuple[str, ...]] = tuple(CHOICES)

    @property
    def key(self) -> tuple[str, frozenset[str]]:
        """That of the task: the question, and the hashes of both answers in no order."""
        return self.question_id, frozenset((self.first, self.second))


@dataclass(frozen=True)
class LabelTask:
    """One pair of answers to be labelled, in the order in which it is shown."""

    clause: str
    passages: tuple[str, ...]
    first: Answer
    second: Answer

    @property
    def key(self) -> tuple[str, frozenset[str]]:
        """The question, and the hashes of both answers in no order."""
        return self.first.question_id, frozenset((answer_hash(self.first), answer_hash(self.second)))

    def shown(self) -> dict[str, object]:
        """Return what a rater sees: nothing that tells the arms apart but their answers."""
        texts = {"question": self.first.question, "reference": self.first.reference, "clause": self.clause}
        answers = {"first": self.first.answer, "second": self.second.answer}
        return {"kind": "pair", **texts, "passages": list(self.passages), **answers}

    def make_label(self, choice: str, rater: str, seconds: float) -> Label:
        """Return the label that a choice makes."""
        hashes = answer_hash(self.first), answer_hash(self.second)
        return Label(self.first.question_id, *hashes, choice, rater, seconds)


def answer_hash(answer: Answer) -> str:
    """Return a hash of an answer's words."""
    return hashlib.sha256(answer.answer.encode()).hexdigest()[:16]


def draw_tasks(
    said: Mapping[str, Sequence[Answer]], passages: Sequence[Passage], count: int, rater: str, seed: int
) -> list[LabelTask]:
    """Draw pairs of different answers to the same question, from all pairs of arms in turn.

    Args:
        said: Each arm's answers.
        passages: The document, of which the deciding clause is shown.
        count: Pairs wanted, at most.
        rater: Whose order it is: it depends on the name and on ``seed`` alone, so a second start gives it again.
        seed: Of the order.

    Raises:
        ValignError: There are no two different answers to a question.
    """
    source = random.Random(f"{seed}/{rater}")
    arms = sorted(said)
    by_pair: list[list[tuple[Answer, Answer]]] = []
    for i, arm in enumerate(arms):
        for other in arms[i + 1 :]:
            theirs = {answer.question_id: answer for answer in said[other]}
            pairs = [(a, theirs[a.question_id]) for a in said[arm] if a.question_id in theirs]
            different = [(a, b) for a, b in pairs if a.answer.strip() != b.answer.strip()]
            source.shuffle(different)
            by_pair.append(different)
    drawn: dict[object, LabelTask] = {}
    index = ClauseIndex(passages)
    for turn in range(max(map(len, by_pair), default=0)):
        for pairs in source.sample(by_pair, len(by_pair)):
            if turn < len(pairs) and len(drawn) < count:
                first, second = source.sample(pairs[turn], 2)
                texts = tuple(passages[j].text for j in index.indices(first.clause))
                task = LabelTask(first.clause, texts, first, second)
                drawn.setdefault(task.key, task)
    if not drawn:
        raise ValignError("no two arms gave different answers to a question; there is nothing to label.")
    return list(drawn.values())


class LabelFile:
    """Labels on disk, each written as soon as it is given.

    Attributes:
        path: The JSONL file.
        rater: Whose labels are added and taken back; those of others stay.
    """

    def __init__(self, path: Path, rater: str, kind: type[Any] = Label) -> None:
        """Read what is there; ``kind`` is the class of the labels."""
        self.path = path
        self.rater = rater
        self.kind = kind
        self.labels = read_choices(path, kind)

    def done(self, wanted: Sequence[ShownTask]) -> set[object]:
        """Return the keys of the tasks that the rater has labelled."""
        return {task.key for task in wanted} & {label.key for label in self._own()}

    def add(self, task: ShownTask, choice: str, seconds: float) -> None:
        """Keep a choice.

        Raises:
            ValignError: There is no such choice.
        """
        if choice not in self.kind.choices:
            raise ValignError(f"'{choice}' is no choice; give one of {', '.join(self.kind.choices)}.")
        label = task.make_label(choice, self.rater, round(seconds, 1))
        with self._latest() as labels:
            labels.append(label)

    def undo(self) -> bool:
        """Take the rater's last choice back; tell whether there was one."""
        with self._latest() as labels:
            own = self._own()
            if own:
                labels.remove(own[-1])
        return bool(own)

    def _own(self) -> list[Any]:
        return [label for label in self.labels if label.rater == self.rater]

    @contextmanager
    def _latest(self) -> Iterator[list[Any]]:
        """Give the labels as they stand on disk, where other servers may have added theirs, and write what is changed.

        One server at a time does so.
        """
        with locked(self.path.with_name(f"{self.path.name}.lock"), lambda: None):
            before = read_choices(self.path, self.kind)
            self.labels = list(before)
            yield self.labels
            if self.labels != before:
                write_jsonl(self.path, self.labels)


def read_labels(path: Path) -> list[Label]:
    """Read labels of pairs, as ``read_choices`` does."""
    return read_choices(path, Label)


def read_choices(path: Path, kind: type[Given]) -> list[Given]:
    """Read labels of one kind; none where the file is not there.

    Raises:
        ValignError: A line is no such label.
    """
    found = read_jsonl(path, kind) if path.is_file() else []
    for label in found:
        if label.choice not in kind.choices:
            raise ValignError(f"{path}: '{label.choice}' is no choice; give one of {', '.join(kind.choices)}.")
    return found


def as_judgements(labels: Sequence[Label], said: Mapping[str, Sequence[Answer]]) -> dict[str, list[Judgement]]:
    """Return each rater's labels as judgements of arms, one a label, for answers that some arms still give.

    Args:
        labels: The labels.
        said: Each arm's answers. Of arms that gave the same answer, the first one stands for all.
    """
    by_answer: dict[tuple[str, str], Answer] = {}
    for arm, answers in said.items():
        for answer in answers:
            by_answer.setdefault((answer.question_id, answer_hash(answer)), replace(answer, arm=arm))
    found: dict[str, list[Judgement]] = {}
    for label in labels:
        first, second = (by_answer.get((label.question_id, shown)) for shown in (label.first, label.second))
        if first is not None and second is not None:
            found.setdefault(label.rater, []).append(make_judgement(first, second, CHOICES[label.choice]))
    return found
