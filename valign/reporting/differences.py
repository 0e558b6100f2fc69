"""Every difference that the page shows, tested and corrected for their number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from valign.evaluation.arm_names import arm_label
from valign.evaluation.metric_info import MetricInfo
from valign.evaluation.metrics import METRICS
from valign.evaluation.scores import paired_rows
from valign.evaluation.significance import LEVEL, PairedTest, holm_correction, paired_test
from valign.reporting.comparison import BASE, ArmResult, Comparison, metric_named
from valign.reporting.numbers import finite_number, format_number

_SMALLEST_P = 0.001


@dataclass(frozen=True)
class ArmDifference:
    """One arm minus another on one metric.

    Attributes:
        arm: The arm's name.
        other: The other arm's name.
        metric: The metric.
        interval: The 95% bootstrap interval of the mean difference.
        test: The test on the same questions.
        p_holm: Its p-value, corrected over all differences of the comparison.
    """

    arm: str
    other: str
    metric: MetricInfo
    interval: tuple[float, float] | None
    test: PairedTest
    p_holm: float | None

    @property
    def pair(self) -> str:
        """Both arms, for a reader."""
        return f"{arm_label(self.arm)} \u2212 {arm_label(self.other)}"

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the page's table, behind the pair and the metric."""
        ends = (
            f"{format_number(self.interval[0], True)} to {format_number(self.interval[1], True)}"
            if self.interval
            else ""
        )
        numbers = (format_number(self.test.mean, True), ends, format_p_value(self.test.p), format_p_value(self.p_holm))
        return (
            *numbers,
            format_number(self.test.effect_size, True),
            "none" if self.too_few else format_number(self.test.smallest),
        )

    @property
    def too_few(self) -> bool:
        """Whether not even the largest difference that two shares can have would be found."""
        return bool(self.metric.finding) and self.test.smallest is not None and self.test.smallest > 1

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        named = {"arm": self.arm, "other": self.other, "metric": self.metric.name}
        t = self.test
        numbers = {"mean": t.mean, "ci95": list(self.interval or (None, None)), "n": t.n, "clusters": t.clusters}
        sure = {"standard_error": t.error, "p": t.p, "p_holm": self.p_holm}
        return {**named, **numbers, **sure, "effect_size": t.effect_size, "smallest_effect": t.smallest}


def arm_differences(comparison: Comparison) -> list[ArmDifference]:
    """Test every difference between two arms of a comparison that the score table shows.

    The family of Holm's correction are all of these, on every metric that has a better direction.
    """
    arms = {result.arm: result for result in comparison.arms}
    found: list[tuple[ArmResult, str, MetricInfo, PairedTest]] = []
    for result in comparison.arms:
        for other in (name for name in result.scores.get("versus", {}) if name in arms and name != result.arm):
            for metric in (metric_named(name) for name in comparison.metrics):
                if metric.higher_is_better is not None and result.difference(metric.name, other):
                    found.append((result, other, metric, _test(result, arms[other], metric.name)))
    corrected = holm_correction([test.p for *_, test in found])
    rows = []
    for (result, other, metric, test), p_holm in zip(found, corrected, strict=True):
        shown = result.difference(metric.name, other)
        rows.append(ArmDifference(result.arm, other, metric, shown[1] if shown else None, test, p_holm))
    return rows


def _test(result: ArmResult, other: ArmResult, metric: str) -> PairedTest:
    """Pair the values of two arms by question, and by seed where there are several."""
    pairs = paired_rows(result.every_seed or result.values, other.every_seed or other.values)
    kept, asked = [], set()
    for own, theirs in pairs:
        a, b = finite_number(own.get(metric)), finite_number(theirs.get(metric))
        if a is not None and b is not None:
            asked.add(own.get("question_id"))
            kept.append((a - b, str(own.get("clause", "")), own.get("seed", theirs.get("seed"))))
    test = paired_test([gap for gap, *_ in kept], [clause for _, clause, _ in kept], [seed for *_, seed in kept])
    return replace(test, n=len(asked))


def difference_sentences(rows: list[ArmDifference]) -> list[str]:
    """Say how many differences stand after the correction, and how small a one could have been found."""
    asked = [row for row in rows if row.test.p is not None]
    if not asked:
        return []
    outside = sum(row.interval is not None and not row.interval[0] <= 0.0 <= row.interval[1] for row in asked)
    left = sum(row.p_holm is not None and row.p_holm < LEVEL for row in asked)
    found = [
        f"{len(asked)} differences were tested; the 95% interval of {outside} leaves zero out, and {left} remain below "
        f"{LEVEL} after Holm's correction for their number."
    ]
    shares = [name for name, info in METRICS.items() if info.finding]
    return found + [text for text in (_smallest(asked, name) for name in shares) if text]


def _smallest(rows: list[ArmDifference], metric: str) -> str:
    """Say how large a difference from base in one metric has to be; the arm with the largest error decides."""
    known = [row for row in rows if row.metric.name == metric and row.other == BASE and row.test.smallest is not None]
    widest = max(known, key=lambda row: row.test.smallest or 0.0, default=None)
    if widest is None:
        return ""
    test, label = widest.test, widest.metric.label
    if widest.too_few:
        return f"{test.n} questions on {test.clusters} clauses are too few to tell any difference from base in {label}."
    return (
        f"{test.n} questions on {test.clusters} clauses find a true difference from base in {label} "
        f"four times out of five where it is at least {format_number(test.smallest)}; a smaller one may well be missed."
    )


def format_p_value(p: float | None) -> str:
    """Write a p-value with three decimals, the smallest as ``< 0.001``."""
    if p is None:
        return format_number(None)
    return f"< {_SMALLEST_P}" if p < _SMALLEST_P else f"{p:.3f}"
