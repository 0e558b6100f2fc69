"""Self-attention with LoRA adapters in a few functions, with gradients written by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from valign.models import attention
from valign.models.layers import Projection, rotate
from valign.training.fused_projections import project, read_projections


class FusedAttention:
    """A module's forward function: self-attention with rotary positions.

    Args:
        module: The attention layer, whose sizes are taken over.
        parts: Its projections: query, key, value and output.
    """

    def __init__(self, module: Any, parts: list[Projection]) -> None:
        self.module, self.qkv, self.out = module, parts[:3], parts[3:]

    @classmethod
    def from_module(cls, module: Any) -> FusedAttention | None:
        """Return what computes a module in fewer operations; None where it is anything else."""
        grouped = module.config._attn_implementation == attention.GROUPED and not module.attention_dropout
        parts = read_projections(module, ("q_proj", "k_proj", "v_proj", "o_proj"))
        return cls(module, parts) if grouped and parts else None

    def __call__(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        layout: attention.RowLayout | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """Compute the layer.

        Args:
            hidden_states: (batch, positions, hidden size).
            position_embeddings: Cosine and sine of the positions, each (batch, positions, head size).
            attention_mask: Added to the scores, (batch, 1, positions, keys); None for none.
            past_key_values: A cache of transformers, or None.
            layout: The padded rows that the tokens of a single row belong to; None where they are padded already.
        """
        module, shape = self.module, hidden_states.shape[:-1]
        query, key, value = (y.view(*shape, -1, module.head_dim) for y in project(hidden_states, self.qkv))
        cosine, sine = (table[:, :, None] for table in position_embeddings)
        query, key = (_Rotate.apply(y, cosine, sine).transpose(1, 2) for y in (query, key))
        value = value.transpose(1, 2)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, module.layer_idx)
        if layout is not None:
            query, key, value = (layout.pad(y) for y in (query, key, value))
        seen: torch.Tensor
        if query.shape[2] >= attention.LONG_QUERIES:
            seen = attention.attend_long(query, key, value, attention_mask, module.scaling, layout)
        else:
            seen = _GroupedAttention.apply(query, key, value, attention_mask, module.scaling)
        if layout is not None:
            seen = layout.unpad(seen)
        return project(seen.reshape(*shape, -1), self.out)[0], None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cosine, sine)
        return rotate(x, cosine, sine, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        cosine, sine = ctx.saved_tensors
        return rotate(grad, cosine, sine, -1), None, None


class _GroupedAttention(torch.autograd.Function):
    """What ``valign.models.attention.grouped_attention`` computes without dropout, with a gradient written by hand."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float,
    ) -> torch.Tensor:
        batch, heads, queries, size = query.shape
        groups, keys = key.shape[1:3]
        with torch.autocast(query.device.type, enabled=False):
            q = (query * scaling).reshape(batch * groups, -1, size)
            k, v = key.reshape(-1, keys, size), value.reshape(-1, keys, size)
            scores = torch.bmm(q, k.transpose(1, 2)).view(batch, groups, -1, queries, keys)
            if mask is not None:
                scores += mask[:, :, None, :, :keys]
            weights = torch.softmax(scores, -1).view(batch * groups, -1, keys)
            output = torch.bmm(weights, v)
        ctx.save_for_backward(q, k, v, weights)
        ctx.shape, ctx.scaling = (batch, heads, queries, groups), scaling
        return output.view(batch, heads, queries, size).transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        q, k, v, weights = ctx.saved_tensors
        batch, heads, queries, groups = ctx.shape
        d_output = grad.transpose(1, 2).reshape(batch * groups, -1, grad.shape[-1])
        d_value = torch.bmm(weights.transpose(1, 2), d_output)
        d_weights = torch.bmm(d_output, v.transpose(1, 2))
        d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
        d_query = torch.bmm(d_scores, k).mul_(ctx.scaling).view(batch, heads, queries, -1)
        d_key = torch.bmm(d_scores.transpose(1, 2), q)
        return d_query, *(d.view(batch, groups, *d.shape[1:]) for d in (d_key, d_value)), None, None
