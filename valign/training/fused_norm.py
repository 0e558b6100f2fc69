"""RMSNorm as one function, with a gradient written by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from valign.models.layers import has_hooks, is_sharded, rms_norm


class FusedNorm:
    """A module's forward function: ``weight * x / rms(x)`` (Zhang and Sennrich, 2019, arXiv:1910.07467).

    Args:
        weight: (hidden size,).
        epsilon: Added to the mean square.
    """

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        self.weight, self.epsilon = weight, epsilon

    @classmethod
    def from_module(cls, module: Any) -> FusedNorm | None:
        """Return what computes a norm in one operation; None where its weight is trained or its call does more."""
        weight = module.weight
        frozen = not (weight.requires_grad or is_sharded(weight) or has_hooks(module))
        return cls(weight, float(module.variance_epsilon)) if frozen else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the norm of (..., hidden size)."""
        y: torch.Tensor = _RMSNorm.apply(x, self.weight, self.epsilon)
        return y


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        y, inverse = rms_norm(x, weight, epsilon)
        ctx.save_for_backward(x, weight, inverse)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, weight, inverse = ctx.saved_tensors
        # with y = w x / rms and g = w dy: dx = (g - x mean(g x) / rms^2) / rms
        scaled = grad * weight
        along = (scaled * x).sum(-1, keepdim=True, dtype=torch.float32)
        along.mul_(inverse.square()).div_(-x.shape[-1])
        return torch.addcmul(scaled, x, along).mul_(inverse).to(x.dtype), None, None
