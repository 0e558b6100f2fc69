"""The page's table of scores: metrics by arms, each with its differences."""

from __future__ import annotations

from dataclasses import dataclass

from valign.evaluation.arm_names import arm_label
from valign.evaluation.metric_info import MANNER, SUBSTANCE, MetricInfo
from valign.reporting.comparison import BASE, ArmResult, Comparison, metric_named
from valign.reporting.headline import standing
from valign.reporting.numbers import format_number

_GROUP_TITLES = {
    SUBSTANCE: "Does the answer say the right thing?",
    MANNER: "How is the answer written?",
    "": "Further measures",
}


@dataclass(frozen=True)
class DifferenceCell:
    """One arm minus another: mean and interval in words, and ``better``, ``worse``, ``same`` or nothing."""

    other: str
    mean: str
    ends: str
    standing: str


@dataclass(frozen=True)
class ScoreCell:
    """One arm on one metric."""

    mean: str
    ends: str
    best: bool
    differences: list[DifferenceCell]


@dataclass(frozen=True)
class MetricRow:
    """One metric over all arms; ``questions`` says on how many it was measured."""

    metric: MetricInfo
    questions: str
    cells: list[ScoreCell]


def score_groups(comparison: Comparison) -> list[tuple[str, list[MetricRow]]]:
    """Return the score table's rows by group: what is said, how it is said, the rest."""
    rows = [_metric_row(comparison, metric_named(name)) for name in comparison.metrics]
    groups = [(title, [row for row in rows if row.metric.group == group]) for group, title in _GROUP_TITLES.items()]
    return [(title, members) for title, members in groups if members]


def _metric_row(comparison: Comparison, metric: MetricInfo) -> MetricRow:
    """Build one metric's row; the best arms are marked where one arm is better than another."""
    means = [m for m in (result.mean(metric.name) for result in comparison.arms) if m is not None]
    best = None
    if metric.higher_is_better is not None and len({format_number(mean) for mean in means}) > 1:
        best = max(means) if metric.higher_is_better else min(means)
    cells = []
    for result in comparison.arms:
        mean, ends = result.mean(metric.name), result.interval(metric.name)
        words = (
            f"{format_number(ends[0])} to {format_number(ends[1])}"
            if ends
            else "no interval"
            if mean is not None
            else ""
        )
        is_best = best is not None and format_number(mean) == format_number(best)
        cells.append(ScoreCell(format_number(mean), words, is_best, _differences(result, metric)))
    counts = sorted({result.count(metric.name) for result in comparison.arms if result.count(metric.name)})
    words = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else ""
    return MetricRow(metric, f"{words} question{'' if words == '1' else 's'}" if words else "", cells)


def _differences(result: ArmResult, metric: MetricInfo) -> list[DifferenceCell]:
    """Return the arm's differences from base and from every other arm it was compared with; base first."""
    others = sorted((arm for arm in result.scores.get("versus", {}) if arm != result.arm), key=lambda arm: arm != BASE)
    found = []
    for other in others:
        difference = result.difference(metric.name, other)
        if difference is not None:
            mean, ends = difference
            words = f"{format_number(ends[0], True)} to {format_number(ends[1], True)}" if ends else ""
            found.append(
                DifferenceCell(arm_label(other), format_number(mean, True), words, standing(difference, metric))
            )
    return found
