"""Situations matched two by two: the right answer to each is the wrong one to the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valign.core.records import Passage, Provenance
from valign.documents.clauses import labelled
from valign.synthesis.writer import Writer

if TYPE_CHECKING:
    from numpy.typing import NDArray


MOST_CANDIDATES, ROWS_AT_ONCE = 32, 512


@dataclass(frozen=True)
class Situation:
    """A question with its faithful answer, before a rejected answer is found.

    Attributes:
        question: What is asked.
        chosen: The faithful answer.
        passage: The clause that decides it.
        origin: Where the answer's words stand, and who wrote the question.
        scores: What the filters found.
    """

    question: str
    chosen: str
    passage: Passage
    origin: Provenance
    scores: dict[str, float]


def pair_situations(situations: Sequence[Situation], writer: Writer) -> dict[str, str]:
    """Match situations two by two, so that the right answer to each is the wrong one to the other.

    Every answer is then as often chosen as rejected, and all that a row can teach is which question it belongs to.
    An answer that is only ever rejected becomes less likely everywhere, also where it is right. Matched situations are
    of different clauses; those whose questions are nearest to each other's passages are matched first.

    Args:
        situations: Those whose rejected answer is to be another clause's.
        writer: Has the embedder.

    Returns:
        The rejected answer by question; a situation for which nothing is left over has none.
    """
    if not situations:
        return {}
    passages = writer.embedder.embed([labelled(s.passage) for s in situations])
    questions = writer.embedder.embed([s.question for s in situations])
    found: dict[str, str] = {}
    free = list(range(len(situations)))
    while free:
        before = len(found)
        for i, j in _nearest(situations, questions, passages, free):
            one, two = situations[i], situations[j]
            if one.question not in found and two.question not in found and one.question != two.question:
                found |= {one.question: two.chosen, two.question: one.chosen}
        free = [i for i in free if situations[i].question not in found]
        if len(found) == before:
            break
    return found


def _nearest(
    situations: Sequence[Situation], questions: NDArray[Any], passages: NDArray[Any], free: Sequence[int]
) -> list[tuple[int, int]]:
    """Return possible matches, nearest first: each situation with the MOST_CANDIDATES others that are nearest to it.

    The work and the memory grow with the number of situations times ROWS_AT_ONCE, not with its square.
    """
    import numpy as np

    clauses = np.array([situations[i].passage.clause for i in free])
    answers = np.array([situations[i].chosen for i in free])
    asked, told = questions[free], passages[free]
    found = {}
    for start in range(0, len(free), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        near = asked[part] @ told.T + told[part] @ asked.T
        alike = (clauses[part, None] == clauses[None]) | (answers[part, None] == answers[None])
        near[alike] = -np.inf
        for row, line in enumerate(near):
            for other in np.argsort(-line, kind="stable")[:MOST_CANDIDATES]:
                if line[other] > -np.inf:
                    i, j = sorted((free[start + row], free[int(other)]))
                    found[i, j] = float(line[other])
    return sorted(found, key=lambda pair: (-found[pair], pair))
