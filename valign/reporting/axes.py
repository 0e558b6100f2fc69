"""Axes of the page's drawings, in the user units of an SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its position and what it says."""

    at: float
    label: str


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers that cover [low, high] in about ``count`` steps of 1, 2 or 5 times a power of ten."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= count + 1e-9)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]
