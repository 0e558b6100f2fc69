"""Which learning rates are usual for a model's size, and a line where one is far from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FAR_OFF = 9.5  # times more, or less, than usual
FULL = 0.1  # every weight takes a tenth of what an adapter does
SMALLEST = 1e7  # nothing is usual for smaller models, which are for tests


@dataclass(frozen=True)
class UsualRates:
    """The learning rates that adapters on models of a size usually get.

    Attributes:
        weights: Of the largest such model.
        rates: By stage.
    """

    weights: float
    rates: Mapping[str, float]


USUAL = (
    UsualRates(5e8, {"sft": 1.5e-3, "dpo": 5e-4}),
    UsualRates(3e9, {"sft": 3e-4, "dpo": 2e-5}),
    UsualRates(float("inf"), {"sft": 1e-4, "dpo": 5e-6}),
)
"""As the files of ``conf/base_model/`` recommend: 135M, measured here; 1B, 7B and more, as others train them."""


def rate_warning(stage: str, rate: float, weights: int, is_full: bool) -> str | None:
    """Return a line where a learning rate is ten times what is usual for a model's size, or a tenth of it; else None.

    Args:
        stage: ``sft`` or ``dpo``.
        rate: Its learning rate.
        weights: How many numbers the base model's weights are.
        is_full: Whether every weight is trained.
    """
    adapter = next(each for each in USUAL if weights <= each.weights).rates[stage]
    usual = adapter * FULL if is_full else adapter
    if weights < SMALLEST or 1 / FAR_OFF < rate / usual < FAR_OFF:
        return None
    size = f"{weights / 1e9:.1f} billion" if weights >= 1e8 else f"{weights / 1e6:.1f} million"
    harm = "it may undo what the model can do" if rate > usual else "it may teach little"
    what = "all of" if is_full else "an adapter on"
    return (
        f"{stage}.learning_rate={rate:g} is far from what is usual for {what} {size} weights, and {harm}: set "
        f"{stage}.learning_rate={usual:g}, or choose the base_model that was written for this size."
    )
