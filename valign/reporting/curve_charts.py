"""Training curves, in the user units of an SVG; a template draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from valign.reporting.axes import Tick, round_ticks
from valign.reporting.comparison import Comparison
from valign.reporting.numbers import finite_number, format_number, with_minus_sign

MOST_POINTS = 400
SMOOTH_FROM = 40
CURVE_NOTES = {
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
_STARTS = {"dpo/accuracy": (0.5, "chance"), "dpo/margin": (0.0, "")}
_PHASES = {"sft": "SFT", "dpo": "DPO"}


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


def curve_charts(comparison: Comparison) -> list[Curve]:
    """Lay out every training curve that has a finite point."""
    cleaned = {name: _finite(points) for name, points in comparison.curves.items()}
    return [_curve(name, points) for name, points in cleaned.items() if points]


def _finite(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    return sorted((int(step), float(value)) for step, value in points if finite_number(value) is not None)


def _curve(name: str, points: list[tuple[int, float]]) -> Curve:
    """Lay out one curve; a long one is thinned by averaging, and a noisy one gets a trend."""
    width, height, left, top, right, bottom = 360, 190, 46, 10, 348, 160
    phase, _, quantity = name.partition("/")
    values = [value for _, value in points]
    start = _STARTS.get(name)
    y_marks = round_ticks(
        min([*values, *([start[0]] if start else [])]), max([*values, *([start[0]] if start else [])])
    )
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def place(step: float, value: float) -> tuple[float, float]:
        x = left + (right - left) * (step - first) / (last - first)
        y = bottom - (bottom - top) * (value - y_marks[0]) / (y_marks[-1] - y_marks[0])
        return round(x, 1), round(y, 1)

    def polyline(line: Sequence[tuple[float, float]]) -> str:
        return " ".join("{},{}".format(*place(step, value)) for step, value in line)

    begin, end, least, most = (format_number(v) for v in (values[0], values[-1], min(values), max(values)))
    steps = sorted({first, round((first + last) / 2), last})
    return Curve(
        title=f"{_PHASES.get(phase, phase)} {quantity.replace('_', ' ')}".strip(),
        description=CURVE_NOTES.get(quantity, ""),
        width=width,
        height=height,
        box=(left, top, right, bottom),
        line=polyline(_thin(points)),
        trend=polyline(_smooth(_thin(points))) if len(points) >= SMOOTH_FROM else "",
        x_ticks=[Tick(place(step, y_marks[0])[0], f"{step:,}") for step in steps],
        y_ticks=[Tick(place(first, mark)[1], with_minus_sign(f"{mark:g}")) for mark in y_marks],
        start=Tick(place(first, start[0])[1], start[1]) if start else None,
        alternative=f"{begin} at step {points[0][0]}, {end} at step {points[-1][0]}; lowest {least}, highest {most}.",
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
