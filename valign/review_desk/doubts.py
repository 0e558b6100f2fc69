"""Which rows a person should read first: those about which the filters, or the answer's own words, leave a doubt."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valign.evaluation.verdicts import stated_verdict
from valign.synthesis.review_rows import ReviewRow

HIGH_IS_GOOD = ("relevance", "decides", "faithfulness", "language", "answer_language")
LOW_IS_GOOD = ("rank", "ungrounded", "overlap", "evaluation", "nearest", "wording", "repetition")
QUESTION_SCORE, ANSWER_SCORE = "relevance", "faithfulness"
WORST, BEST_HALF = 0.9, 0.5
AGAINST_WORDS, DISAGREEMENT = 4.0, 2.0


@dataclass(frozen=True)
class Doubt:
    """How doubtful a row is, and why, in words."""

    level: float
    reasons: tuple[str, ...]


def find_doubts(rows: Sequence[ReviewRow]) -> dict[str, Doubt]:
    """Return the doubts about each row, by its key.

    A verdict against the answer's own words weighs most; then filters that disagree, one of which finds the question
    near to its clause where the other finds the answer far from it, or the other way round; then the worst score. A
    score is as bad as the share of the set's rows that have a better one.

    Args:
        rows: Rows of one or several sets; scores are compared within a set.
    """
    better = _sorted_scores(rows)
    found = {}
    for row in rows:
        bad = {
            name: _badness(name, value, better[row.set, name])
            for name, value in row.scores.items()
            if (row.set, name) in better
        }
        wrong, split = _against_words(row), _disagreement(row, bad)
        worst = sorted((name for name, share in bad.items() if share >= WORST), key=lambda name: -bad[name])
        low = tuple(f"{name.replace('_', ' ')} {row.scores[name]:g} is among the worst" for name in worst)
        level = AGAINST_WORDS * bool(wrong) + DISAGREEMENT * bool(split) + max(bad.values(), default=0.0)
        found[row.key] = Doubt(level, (*wrong, *split, *low))
    return found


def doubtful_first(rows: Sequence[ReviewRow], doubts: Mapping[str, Doubt]) -> list[ReviewRow]:
    """Return the rows with the most doubtful first, those alike in their own order."""
    return sorted(rows, key=lambda row: -doubts[row.key].level)


def _sorted_scores(rows: Sequence[ReviewRow]) -> dict[tuple[str, str], list[float]]:
    """Return the values of each score of each set, in rising order."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for name, value in row.scores.items():
            if name in (*HIGH_IS_GOOD, *LOW_IS_GOOD):
                values.setdefault((row.set, name), []).append(float(value))
    return {key: sorted(found) for key, found in values.items()}


def _badness(name: str, value: float, ordered: Sequence[float]) -> float:
    """Return the share of values that are better than one."""
    count = len(ordered)
    return (count - bisect_right(ordered, value) if name in HIGH_IS_GOOD else bisect_left(ordered, value)) / count


def _against_words(row: ReviewRow) -> tuple[str, ...]:
    """Say where a verdict is not that of the answer's own words."""
    said = stated_verdict(row.answer)
    if row.verdict and said not in (row.verdict, None):
        return (f"the verdict is {row.verdict}, but the answer says {said}",)
    if row.rejected and (said or row.verdict) and stated_verdict(row.rejected) == (said or row.verdict):
        return (f"both answers say {said or row.verdict}",)
    return ()


def _disagreement(row: ReviewRow, bad: Mapping[str, float]) -> tuple[str, ...]:
    """Say where the filters of question and answer disagree."""
    if QUESTION_SCORE not in bad or ANSWER_SCORE not in bad:
        return ()
    question, answer = bad[QUESTION_SCORE], bad[ANSWER_SCORE]
    if max(question, answer) < WORST or min(question, answer) > BEST_HALF:
        return ()
    far = "answer" if answer > question else "question"
    scores = f"{QUESTION_SCORE} {row.scores[QUESTION_SCORE]:g}, {ANSWER_SCORE} {row.scores[ANSWER_SCORE]:g}"
    return (f"the filters disagree: the {far} alone is far from the clause ({scores})",)
