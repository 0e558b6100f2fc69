"""The steps of colour in which the page shows numbers."""

from __future__ import annotations

COLOUR_STEPS = 7


def colour_step(value: float | None, low: float, high: float, higher_is_better: bool | None) -> int | None:
    """Return the colour step, 0 to 6, of a value between low and high; 6 is the better end."""
    if value is None:
        return None
    share = 0.0 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
    if higher_is_better is False:
        share = 1.0 - share
    return min(COLOUR_STEPS - 1, int(share * COLOUR_STEPS))
