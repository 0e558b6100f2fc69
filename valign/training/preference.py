"""The preference loss that DPO minimises: its settings, checked, and its known value before the first step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.training.settings import LOSSES, DPOSettings

if TYPE_CHECKING:
    import torch

ROUNDING_NATS = 0.1

_Pair = tuple["torch.Tensor", "torch.Tensor"]
_Triple = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]


@dataclass(frozen=True)
class LossKind:
    """A loss by its name: how it is computed, and where it starts.

    Attributes:
        compute: Takes the module ``valign.training.losses``, the settings, and what ``PreferenceLoss`` is called with.
        at_reference: Takes DPO's settings; returns the loss of a policy that is its reference, in words, its value, and
            its slope per nat of the margin. None for a loss that has no reference.
    """

    compute: Callable[[Any, DPOSettings, Any, Any, Any], _Triple]
    at_reference: Callable[[DPOSettings], tuple[str, float, float]] | None


# Where the policy is its reference the margin is 0: -log sigmoid(0) = ln 2, which the robust loss keeps, as
# ((1 - e) - e) / (1 - 2 e) is 1; max(0, 1 - 0) = 1; (0 - 1 / (2 beta))^2.
LOSS_KINDS = {
    "sigmoid": LossKind(
        lambda losses, s, policy, reference, _: losses.dpo_loss(*policy, *reference, s.beta, s.label_smoothing),
        lambda s: ("ln 2", math.log(2), s.beta / 2),
    ),
    "robust": LossKind(
        lambda losses, s, policy, reference, _: losses.robust_dpo_loss(*policy, *reference, s.beta, s.label_smoothing),
        lambda s: ("ln 2", math.log(2), s.beta / 2 / (1 - 2 * s.label_smoothing)),
    ),
    "ipo": LossKind(
        lambda losses, s, policy, reference, lengths: losses.ipo_loss(*policy, *reference, *lengths, s.beta),
        lambda s: ("1 / (2 beta)^2", 1 / (2 * s.beta) ** 2, 1 / s.beta),
    ),
    "hinge": LossKind(
        lambda losses, s, policy, reference, _: losses.hinge_loss(*policy, *reference, s.beta),
        lambda s: ("1", 1.0, s.beta),
    ),
    "simpo": LossKind(
        lambda losses, s, policy, _, lengths: losses.simpo_loss(*policy, *lengths, s.beta, s.simpo_gamma),
        None,
    ),
}
"""Every loss of ``dpo.loss``; its names are ``LOSSES``."""


@dataclass(frozen=True)
class PreferenceLoss:
    """The loss of pairs that DPO's settings choose; each is a function of ``valign.training.losses``.

    Attributes:
        settings: Those that count are loss, beta, label_smoothing and simpo_gamma.

    Raises:
        ValignError: The loss is unknown, or its settings do not go together.
    """

    settings: DPOSettings

    def __post_init__(self) -> None:
        """Check the settings against each other."""
        name, smoothing, gamma = self.settings.loss, self.settings.label_smoothing, self.settings.simpo_gamma
        if name not in LOSSES:
            raise ValignError(f"dpo.loss={name} is unknown; choose {', '.join(LOSSES[:-1])} or {LOSSES[-1]}.")
        if smoothing and name not in ("sigmoid", "robust"):
            raise ValignError(
                f"dpo.loss={name} has no label smoothing: set dpo.label_smoothing=0, or choose dpo.loss=robust."
            )
        if name == "robust" and not 0 < smoothing < 0.5:
            raise ValignError(
                f"dpo.loss=robust with dpo.label_smoothing={smoothing}: give the share of wrong pairs, between 0 and "
                "0.5 (dpo.label_smoothing=0.1), or choose dpo.loss=sigmoid."
            )
        if name == "simpo" and gamma is None:
            raise ValignError("dpo.loss=simpo needs its margin: add dpo.simpo_gamma=0.5.")
        if name != "simpo" and gamma is not None:
            raise ValignError(f"dpo.simpo_gamma={gamma} belongs to dpo.loss=simpo: leave it out, or choose that loss.")

    @property
    def needs_reference(self) -> bool:
        """Whether log-probabilities under a reference policy go into the loss."""
        return LOSS_KINDS[self.settings.loss].at_reference is not None

    def __call__(self, policy: _Pair, reference: _Pair | None, lengths: _Pair) -> _Triple:
        """Return losses, chosen rewards and rejected rewards, each (pairs,); the rewards are detached.

        Args:
            policy: Summed log-probabilities of the chosen and of the rejected answers, each (pairs,).
            reference: The same under the reference policy; None where none is needed.
            lengths: Supervised tokens of the chosen and of the rejected answers, each (pairs,).
        """
        from valign.training import losses

        return LOSS_KINDS[self.settings.loss].compute(losses, self.settings, policy, reference, lengths)

    def at_reference(self) -> tuple[str, float, float] | None:
        """Return the loss of a policy that is its reference: in words, its value, and its slope per nat of the margin.

        None for a loss that has no reference.
        """
        known = LOSS_KINDS[self.settings.loss].at_reference
        return known(self.settings) if known else None

    def require_start_at_reference(self, losses: torch.Tensor, example_ids: tuple[str, ...]) -> None:
        """Stop where the policy does not start as its reference.

        At the start both sums of a pair differ by rounding alone; 0.1 nats, a hundred tokens' worth of bfloat16
        rounding, moves the loss by its slope times that.

        Args:
            losses: Of the first step's pairs, (pairs,).
            example_ids: Of those pairs.

        Raises:
            ValignError: A loss is further off.
        """
        known = self.at_reference()
        if known is None:
            return
        words, value, slope = known
        losses = losses.detach()
        off = (losses - value).abs()
        if bool(off.max() > ROUNDING_NATS * slope + 1e-5 * value):
            worst = example_ids[int(off.argmax())]
            raise ValignError(
                f"DPO's first loss is {float(losses.mean()):.4f} instead of {words} = {value:.4f} (pair {worst}): the "
                "policy is not its reference; delete this stage's folder so that the reference is computed anew, "
                "and set base_model.precision=float32."
            )
