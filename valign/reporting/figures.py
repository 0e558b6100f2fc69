"""Geometry of the page's drawings, in the user units of an SVG; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from valign.reporting.comparison import BASE, Comparison, Metric
from valign.reporting.numbers import minus, number, show

CHARTS = ("follows_document", "fact_recall", "verdict_accuracy", "similarity", "rouge_l")
LEVELS = 7
LABEL_LENGTH = 16
MOST_POINTS = 400
SMOOTH_FROM = 40
CURVES = {
    "loss": "Loss: falls as training goes on.",
    "accuracy": "Share of pairs in which the faithful answer is preferred.",
    "margin": "By how much the faithful answer is preferred (implicit reward, faithful minus unfaithful).",
    "chosen_reward": "Implicit reward of the faithful answer: how much likelier it is than before DPO, times beta.",
    "rejected_reward": "The same for the unfaithful answer.",
    "chosen_logp": "Log-probability of the faithful answer, in nats.",
    "rejected_logp": "Log-probability of the unfaithful answer, in nats.",
    "learning_rate": "Size of the optimizer's steps.",
    "grad_norm": "Length of the gradient; a jump is a batch that disagrees with the others.",
    "tokens_per_second": "Tokens that were trained on in a second.",
}
STARTS = {"dpo/accuracy": (0.5, "chance"), "dpo/margin": (0.0, "")}
PHASES = {"sft": "SFT", "dpo": "DPO"}


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its position and what it says."""

    at: float
    label: str


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

    metric: Metric
    width: int
    height: int
    left: int
    right: int
    dots: list[Dot]
    ticks: list[Tick]
    reference: float | None
    alternative: str


@dataclass(frozen=True)
class Curve:
    """A training curve: ``line`` and the smoothed ``trend`` are the points of an SVG polyline."""

    title: str
    description: str
    width: int
    height: int
    box: tuple[float, float, float, float]
    line: str
    trend: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    start: Tick | None
    alternative: str


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers that cover [low, high] in about ``count`` steps of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= count + 1e-9)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def shortened(label: str) -> str:
    """Return a label that fits; what is left out is in its middle, since settings differ at their end.

    >>> shortened("SFT (synthesis.instructions.questions_per_passage-36)")
    'SFT (s…ssage-36)'
    """
    if len(label) <= LABEL_LENGTH:
        return label
    begin = (LABEL_LENGTH - 1) * 2 // 5
    return f"{label[:begin]}…{label[begin + 1 - LABEL_LENGTH :]}"


def dot_charts(comparison: Comparison) -> list[DotChart]:
    """Lay out a dot chart for each leading metric that was measured."""
    return [_dot_chart(comparison, Metric.named(name)) for name in CHARTS if name in comparison.metrics]


def _dot_chart(comparison: Comparison, metric: Metric) -> DotChart:
    """Lay out one metric: a row for each arm on a scale that holds 0, 1 and every interval."""
    width, left, right, top, row = 360, 104, 40, 14, 28
    arms = [result for result in comparison.arms if result.mean(metric.name) is not None]
    values = [0.0, 1.0]
    for result in arms:
        values += [result.mean(metric.name) or 0.0, *(result.interval(metric.name) or ())]
    marks = ticks(min(values), max(values))
    scale = (width - left - right) / (marks[-1] - marks[0])

    def across(value: float) -> float:
        return round(left + (value - marks[0]) * scale, 1)

    best = max((result.mean(metric.name) or 0.0 for result in arms), default=0.0)
    dots, words = [], []
    for i, result in enumerate(arms):
        mean, ends = result.mean(metric.name) or 0.0, result.interval(metric.name)
        kind = "base" if result.arm == BASE else "best" if mean == best else "other"
        label = shortened(result.label)
        x_ends = (across(ends[0]), across(ends[1])) if ends else None
        dots.append(Dot(label, top + (i + 0.5) * row, across(mean), x_ends, show(mean), kind))
        words.append(f"{result.label} {show(mean)}" + (f" ({show(ends[0])} to {show(ends[1])})" if ends else ""))
    base = comparison.base.mean(metric.name) if comparison.base else None
    return DotChart(
        metric=metric,
        width=width,
        height=top + row * len(arms) + 26,
        left=left,
        right=width - right,
        dots=dots,
        ticks=[Tick(across(mark), minus(f"{mark:g}")) for mark in marks],
        reference=None if base is None else across(base),
        alternative=f"{metric.label}, mean and 95% interval: " + "; ".join(words) + ".",
    )


def curves(comparison: Comparison) -> list[Curve]:
    """Lay out every training curve that has a finite point."""
    cleaned = {name: _finite(points) for name, points in comparison.curves.items()}
    return [_curve(name, points) for name, points in cleaned.items() if points]


def _finite(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    return sorted((int(step), float(value)) for step, value in points if number(value) is not None)


def _curve(name: str, points: list[tuple[int, float]]) -> Curve:
    """Lay out one curve; a long one is thinned by averaging, and a noisy one gets a trend."""
    width, height, left, top, right, bottom = 360, 190, 46, 10, 348, 160
    phase, _, quantity = name.partition("/")
    values = [value for _, value in points]
    start = STARTS.get(name)
    y_marks = ticks(min([*values, *([start[0]] if start else [])]), max([*values, *([start[0]] if start else [])]))
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def place(step: float, value: float) -> tuple[float, float]:
        x = left + (right - left) * (step - first) / (last - first)
        y = bottom - (bottom - top) * (value - y_marks[0]) / (y_marks[-1] - y_marks[0])
        return round(x, 1), round(y, 1)

    def polyline(line: Sequence[tuple[float, float]]) -> str:
        return " ".join("{},{}".format(*place(step, value)) for step, value in line)

    steps = sorted({first, round((first + last) / 2), last})
    return Curve(
        title=f"{PHASES.get(phase, phase)} {quantity.replace('_', ' ')}".strip(),
        description=CURVES.get(quantity, ""),
        width=width,
        height=height,
        box=(left, top, right, bottom),
        line=polyline(_thin(points)),
        trend=polyline(_smooth(_thin(points))) if len(points) >= SMOOTH_FROM else "",
        x_ticks=[Tick(place(step, y_marks[0])[0], f"{step:,}") for step in steps],
        y_ticks=[Tick(place(first, mark)[1], minus(f"{mark:g}")) for mark in y_marks],
        start=Tick(place(first, start[0])[1], start[1]) if start else None,
        alternative=f"{show(values[0])} at step {points[0][0]}, {show(values[-1])} at step {points[-1][0]}; "
        f"lowest {show(min(values))}, highest {show(max(values))}.",
    )


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average runs of neighbours, so that at most ``MOST_POINTS`` are left."""
    size = math.ceil(len(points) / MOST_POINTS)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(s for s, _ in g) / len(g), sum(v for _, v in g) / len(g)) for g in groups]


def _smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average each point with its neighbours: up to a twentieth of the curve on either side, the same on both."""
    reach = max(1, len(points) // 20)
    smooth = []
    for i, (step, _) in enumerate(points):
        here = min(reach, i, len(points) - 1 - i)
        window = points[i - here : i + here + 1]
        smooth.append((step, sum(value for _, value in window) / len(window)))
    return smooth


def level(value: float | None, low: float, high: float, higher_is_better: bool | None) -> int | None:
    """Return the colour step, 0 to 6, of a value between low and high; 6 is the better end."""
    if value is None:
        return None
    share = 0.0 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
    if higher_is_better is False:
        share = 1.0 - share
    return min(LEVELS - 1, int(share * LEVELS))
