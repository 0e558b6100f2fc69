"""Why RAG wins or loses: how often it was shown the right clause, and how well it answers then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from valign.core.records import Passage
from valign.documents.clauses import ClauseIndex
from valign.evaluation.bootstrap import Interval, bootstrap_mean, paired_difference
from valign.evaluation.metric_info import MetricInfo
from valign.evaluation.metrics import primary_metrics
from valign.reporting.comparison import BASE, ArmResult, Comparison, metric_named
from valign.reporting.numbers import finite_number, format_number

_SHOWN = re.compile(r"_?(?:rag(?:_(?:bm25|embedding|oracle))?|in_context)$")


@dataclass(frozen=True)
class QuestionSubset:
    """The questions whose clause was shown, or was not: their number, both arms' means and the paired difference."""

    n: int
    mean: float | None
    other: float | None
    difference: Interval

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"n": self.n, "mean": self.mean, "other": self.other, "difference": self.difference.to_json()}


@dataclass(frozen=True)
class RetrievalEffect:
    """One arm that is shown passages, beside the same model without.

    Attributes:
        arm: The arm's name.
        label: Its name for a reader.
        other: The arm of the same model without passages; empty where it was not run.
        metric: By what the two are compared.
        recall: Share of all questions whose clause was among the passages shown, with its interval over clauses.
        found: The questions whose clause was shown, and on which the metric applies.
        missed: The others.
        sentence: The same in words, with the reason.
    """

    arm: str
    label: str
    other: str
    metric: str
    recall: Interval
    found: QuestionSubset
    missed: QuestionSubset
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        parts = {"found": self.found.to_json(), "missed": self.missed.to_json()}
        named = {"arm": self.arm, "other": self.other or None, "metric": self.metric}
        return {**named, "recall": self.recall.to_json(), **parts, "sentence": self.sentence}


def retrieval_effects(comparison: Comparison, samples: int = 2000) -> list[RetrievalEffect]:
    """Describe every arm that is shown passages.

    Args:
        comparison: The arms with their answers and values.
        samples: Bootstrap samples behind each interval, which resamples whole clauses.
    """
    by_name = {result.arm: result for result in comparison.arms}
    shown = [result for result in comparison.arms if any(answer.retrieved for answer in result.answers)]
    return [_lookup(result, by_name, comparison.passages, samples) for result in shown]


def clause_hits(result: ArmResult, passages: Sequence[Passage]) -> dict[str, bool]:
    """Tell for each question of an arm whether a passage of its clause was among those shown."""
    index = ClauseIndex(passages)
    right = {a.clause: {passages[i].clause for i in index.indices(a.clause)} for a in result.answers}
    return {a.question_id: bool(right[a.clause] & set(a.retrieved)) for a in result.answers}


def _lookup(
    result: ArmResult, arms: dict[str, ArmResult], passages: Sequence[Passage], samples: int
) -> RetrievalEffect:
    """Split one arm's questions by whether their clause was shown."""
    found = clause_hits(result, passages)
    name = _SHOWN.sub("", result.answers[0].arm) or BASE
    other = arms.get(name) if name != result.arm else None
    metric = metric_named(next((m for m in primary_metrics() if result.mean(m) is not None), "similarity"))
    rows = {str(row.get("question_id")): finite_number(row.get(metric.name)) for row in result.values}
    theirs = {str(r.get("question_id")): finite_number(r.get(metric.name)) for r in other.values} if other else {}
    clauses = {a.question_id: a.clause for a in result.answers}

    def part(among: Sequence[str]) -> QuestionSubset:
        asked = [q for q in among if rows.get(q) is not None]
        a, b = [rows[q] for q in asked], [theirs.get(q) for q in asked]
        difference = paired_difference(a, b, [clauses[q] for q in asked], samples)
        return QuestionSubset(len(asked), _mean(a), _mean(b), difference)

    recall = bootstrap_mean([float(hit) for hit in found.values()], [clauses[q] for q in found], samples, is_share=True)
    parts = [part([q for q, hit in found.items() if hit is wanted]) for wanted in (True, False)]
    named = (result.arm, result.label, other.arm if other else "", metric.name)
    words = _sentence(result.label, other.label if other else "", metric, recall, parts, part(list(found)))
    return RetrievalEffect(*named, recall, parts[0], parts[1], words)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _sentence(
    label: str, other: str, metric: MetricInfo, recall: Interval, parts: Sequence[QuestionSubset], whole: QuestionSubset
) -> str:
    """Say how often the clause was shown, how the arm does with and without it, and why it wins or loses."""
    found, missed = parts
    opening = (
        f"{label[:1].upper()}{label[1:]} was shown the deciding clause for {100 * recall.mean:.0f}% of the questions"
    )
    pieces = []
    for part, where in ((found, "where it was"), (missed, "where it was not")):
        if part.n:
            against = f" (against {format_number(part.other)} for {other})" if part.other is not None else ""
            pieces.append(f"{where}, {metric.label} is {format_number(part.mean)}{against}")
    first = f"{opening}: {'; '.join(pieces)}" if pieces else opening
    reason = _reason(other, metric, parts, whole)
    return f"{first}; {reason}." if reason else f"{first}."


def _reason(other: str, metric: MetricInfo, parts: Sequence[QuestionSubset], whole: QuestionSubset) -> str:
    """Name the part of the questions that most of the difference comes from, where there is one beyond chance."""
    interval = whole.difference
    if not other or not interval.n:
        return ""
    if not (interval.low > 0 or interval.high < 0):
        return f"over all questions it is not told apart from {other}"
    from_found, from_missed = (p.difference.mean * p.difference.n if p.difference.n else 0.0 for p in parts)
    if (interval.mean > 0) == (metric.higher_is_better is not False):
        if abs(from_found) >= abs(from_missed):
            return f"it beats {other}, most of all because it was shown the clause"
        return f"it beats {other}, and most of all where it was not shown the clause"
    if abs(from_found) >= abs(from_missed):
        return f"it loses to {other} although it was shown the clause, which the model does not put to use"
    return f"it loses to {other} because passages of other clauses mislead it"
