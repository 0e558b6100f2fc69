"""How numbers, intervals and durations are read from JSON and printed."""

from __future__ import annotations

import math
from typing import Any

MISSING = "\u2013"


def finite_number(value: Any) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None


def finite_interval(value: Any) -> tuple[float, float] | None:
    """Return a pair of finite numbers, or None for anything else."""
    if not isinstance(value, list | tuple) or len(value) != len(("low", "high")):
        return None
    low, high = finite_number(value[0]), finite_number(value[1])
    return None if low is None or high is None else (low, high)


def format_number(value: float | None, signed: bool = False) -> str:
    """Write a number for a table: two decimals below 10, one below 100, none above; with a true minus sign."""
    if value is None:
        return MISSING
    digits = sum(abs(value) < bound for bound in (10, 100))
    rounded = round(value, digits) + 0.0
    return with_minus_sign(f"{rounded:{'+' if signed and rounded else ''},.{digits}f}")


def with_minus_sign(text: str) -> str:
    """Put a true minus sign in place of the hyphen in a number."""
    return text.replace("-", "\u2212")


def format_duration(value: float) -> str:
    """Write a duration: ``8 s``, ``3 min 05 s``, ``2 h 07 min``."""
    total = round(value)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def format_share(value: float, places: int = 0) -> str:
    """Write a share in percent, of the two decimals that tables show.

    >>> format_share(0.6825), format_share(0.296, 1)
    ('68%', '29.6%')
    """
    return f"{100 * round(value, 2 + places):.{places}f}%"


def count_noun(number: int, noun: str) -> str:
    """Write a number with its noun, as in ``1 clause`` and ``2,709 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
