"""Which rows a person should read first: those about which the filters, or the answer's own words, leave a doubt."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from valign.core.text import words
from valign.evaluation.verdicts import VERDICTS, stated_verdict
from valign.synthesis.review_rows import ReviewRow

HIGH_IS_GOOD = ("relevance", "decides", "faithfulness", "language", "answer_language")
LOW_IS_GOOD = ("rank", "ungrounded", "overlap", "evaluation", "nearest", "wording", "repetition")
QUESTION_SCORE, ANSWER_SCORE = "relevance", "faithfulness"
WORST, BEST_HALF = 0.9, 0.5
IN_WORDS = {
    "relevance": "the question is among the farthest from its clause",
    "decides": "the question is among those that its clause is least sure to decide",
    "faithfulness": "the answer is among the farthest from its clause",
    "language": "the question is among the least like the document's language",
    "answer_language": "the answer is among the least like the document's language",
    "rank": "other clauses are nearer to the question than is usual",
    "ungrounded": "the answer is among those with the most numbers or names that the clause lacks",
    "overlap": "the question is among those that share the most words with the evaluation",
    "evaluation": "the question is among the nearest in meaning to the evaluation",
    "nearest": "the question is among the nearest in meaning to another row",
    "wording": "the question is among the nearest in wording to another row",
    "repetition": "the answer is among the most repetitive",
}
"""What a score says that is among the worst of its set."""
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
    score is as bad as the share of the set's rows that have a better one. The distance of an answer that is its quote,
    word for word, is no doubt.

    Args:
        rows: Rows of one or several sets; scores are compared within a set.
    """
    better = _sorted_scores(rows)
    found = {}
    for row in rows:
        bad = {
            name: _badness(name, value, better[row.set, name])
            for name, value in row.scores.items()
            if (row.set, name) in better and not (name == ANSWER_SCORE and _is_quoted(row))
        }
        wrong, split = _against_words(row), _disagreement(row, bad)
        told = (QUESTION_SCORE, ANSWER_SCORE) if split else ()
        worst = sorted((name for name in bad if bad[name] >= WORST and name not in told), key=lambda name: -bad[name])
        low = tuple(f"{IN_WORDS[name]} ({name.replace('_', ' ')} {row.scores[name]:g})" for name in worst)
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


def _is_quoted(row: ReviewRow) -> bool:
    """Tell whether an answer is its quote, behind a yes or no at most: its distance is then that of any quote."""
    lead = row.answer.removesuffix(row.quote) if row.quote else row.answer
    return lead != row.answer and all(word in VERDICTS for word in words(lead))


def _against_words(row: ReviewRow) -> tuple[str, ...]:
    """Say where a verdict is not that of the answer's own words."""
    said = stated_verdict(row.answer)
    if row.verdict and said not in (row.verdict, None):
        return (f"the verdict is {row.verdict}, but the answer says {said}",)
    verdict = row.verdict or (said if said and words(row.answer)[0] in VERDICTS else None)
    if row.rejected and verdict and stated_verdict(row.rejected) == verdict:
        return (f"both answers say {verdict}",)
    return ()


def _disagreement(row: ReviewRow, bad: Mapping[str, float]) -> tuple[str, ...]:
    """Say where the filters of question and answer disagree."""
    if QUESTION_SCORE not in bad or ANSWER_SCORE not in bad:
        return ()
    question, answer = bad[QUESTION_SCORE], bad[ANSWER_SCORE]
    if max(question, answer) < WORST or min(question, answer) > BEST_HALF:
        return ()
    far, near = ("answer", "question") if answer > question else ("question", "answer")
    scores = f"{QUESTION_SCORE} {row.scores[QUESTION_SCORE]:g}, {ANSWER_SCORE} {row.scores[ANSWER_SCORE]:g}"
    return (f"the filters disagree: the {far} is among the farthest from the clause, and the {near} is not ({scores})",)
