"""Means of the arms with their intervals, in the user units of an SVG; a template draws them."""

from __future__ import annotations

from dataclasses import dataclass

from valign.evaluation.metric_info import MetricInfo
from valign.evaluation.metrics import METRICS
from valign.reporting.axes import Tick, round_ticks
from valign.reporting.comparison import BASE, Comparison
from valign.reporting.numbers import format_number, with_minus_sign

LABEL_LENGTH = 16


@dataclass(frozen=True)
class Dot:
    """One arm in a dot chart: its mean, and the ends of its interval where it has one."""

    label: str
    y: float
    x: float
    ends: tuple[float, float] | None
    text: str
    kind: str


@dataclass(frozen=True)
class DotChart:
    """Means and intervals of one metric; ``reference`` is where base stands."""

    metric: MetricInfo
    width: int
    height: int
    left: int
    right: int
    dots: list[Dot]
    ticks: list[Tick]
    reference: float | None
    alternative: str


def shorten_label(label: str) -> str:
    """Return a label that fits; what is left out is in its middle, since settings differ at their end.

    >>> shorten_label("SFT (synthesis.instructions.questions_per_passage-36)")
    'SFT (s…ssage-36)'
    """
    if len(label) <= LABEL_LENGTH:
        return label
    begin = (LABEL_LENGTH - 1) * 2 // 5
    return f"{label[:begin]}…{label[begin + 1 - LABEL_LENGTH :]}"


def dot_charts(comparison: Comparison) -> list[DotChart]:
    """Lay out a dot chart for each leading metric that was measured."""
    measured = comparison.metrics
    return [_dot_chart(comparison, info) for name, info in METRICS.items() if info.is_charted and name in measured]


def _dot_chart(comparison: Comparison, metric: MetricInfo) -> DotChart:
    """Lay out one metric: a row for each arm on a scale that holds 0, 1 and every interval."""
    width, left, right, top, row = 360, 104, 40, 14, 28
    arms = [result for result in comparison.arms if result.mean(metric.name) is not None]
    values = [0.0, 1.0]
    for result in arms:
        values += [result.mean(metric.name) or 0.0, *(result.interval(metric.name) or ())]
    marks = round_ticks(min(values), max(values))
    scale = (width - left - right) / (marks[-1] - marks[0])

    def across(value: float) -> float:
        return round(left + (value - marks[0]) * scale, 1)

    best = max((result.mean(metric.name) or 0.0 for result in arms), default=0.0)
    dots, words = [], []
    for i, result in enumerate(arms):
        mean, ends = result.mean(metric.name) or 0.0, result.interval(metric.name)
        kind = "base" if result.arm == BASE else "best" if mean == best else "other"
        label = shorten_label(result.label)
        x_ends = (across(ends[0]), across(ends[1])) if ends else None
        dots.append(Dot(label, top + (i + 0.5) * row, across(mean), x_ends, format_number(mean), kind))
        words.append(
            f"{result.label} {format_number(mean)}"
            + (f" ({format_number(ends[0])} to {format_number(ends[1])})" if ends else "")
        )
    base = comparison.base.mean(metric.name) if comparison.base else None
    return DotChart(
        metric=metric,
        width=width,
        height=top + row * len(arms) + 26,
        left=left,
        right=width - right,
        dots=dots,
        ticks=[Tick(across(mark), with_minus_sign(f"{mark:g}")) for mark in marks],
        reference=None if base is None else across(base),
        alternative=f"{metric.label}, mean and 95% interval: " + "; ".join(words) + ".",
    )
