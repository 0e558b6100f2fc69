"""The gated feed-forward layer with LoRA adapters as one function, with a gradient written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from valign.models.layers import Projection, is_silu
from valign.training.fused_projections import AdapterGroup, adapter_weights, read_projections


class FusedFeedForward:
    """A module's forward function: ``down(silu(gate(x)) * up(x))`` (SwiGLU; Shazeer, 2020, arXiv:2002.05202).

    Args:
        parts: The projections gate, up and down.
    """

    def __init__(self, parts: list[Projection]) -> None:
        self.parts, self.weights = parts, adapter_weights(parts)

    @classmethod
    def from_module(cls, module: Any) -> FusedFeedForward | None:
        """Return what computes a module in fewer operations; None where it is anything else."""
        parts = read_projections(module, ("gate_proj", "up_proj", "down_proj"))
        return cls(parts) if parts and is_silu(module.act_fn) else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer for (..., hidden size)."""
        flat = x.reshape(-1, x.shape[-1]).to(self.parts[0].weight.dtype)
        y: torch.Tensor = _GatedFeedForward.apply(flat, self.parts, torch.is_grad_enabled(), *self.weights)
        return y.view(*x.shape[:-1], -1)


class _GatedFeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, parts: Sequence[Projection], trained: bool, *_: Any) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            ctx.first, ctx.second = AdapterGroup(parts[:2], trained), AdapterGroup(parts[2:], trained)
            (g, u), low = ctx.first.forward(x)
            (y,), low_inner = ctx.second.forward(F.silu(g).mul_(u))
        ctx.save_for_backward(x, g, u, low, low_inner)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, g, u, low, low_inner = ctx.saved_tensors
        activated = F.silu(g)  # computed again, so that less is kept
        inner, inner_adapter_grads = ctx.second.backward([grad], activated * u, low_inner, True)
        grads = torch.ops.aten.silu_backward(inner * u, g), activated.mul_(inner)
        input_grad, adapter_grads = ctx.first.backward(grads, x, low, ctx.needs_input_grad[0])
        return input_grad, None, None, *adapter_grads, *inner_adapter_grads
