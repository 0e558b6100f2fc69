"""Attention for short sequences on a CPU: grouped matrix products instead of the fused kernel.

PyTorch's fused attention on a CPU handles one query row in blocks made for many. With the key-value heads kept
grouped, a decoding step of SmolLM2-135M (64 rows, 160 positions) takes 0.6 ms a layer instead of 16.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from valign.kv_cache import Branches

NAME = "valign_grouped"


def register() -> str:
    """Make the grouped attention known to transformers and return its name for ``attn_implementation``."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(NAME, grouped_attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    return NAME


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor | Branches,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend with grouped key-value heads, without repeating them.

    Args:
        module: The attention layer; its training flag decides on dropout.
        query: (batch, heads, queries, head size).
        key: (batch, key-value heads, keys, head size), or what attends by itself (``valign.kv_cache.Branches``).
        value: As key.
        attention_mask: (batch, 1, queries, keys), added to the scores; None for none.
        scaling: Factor of the scores.
        dropout: Probability of dropping an attention weight in training.

    Returns:
        The output (batch, queries, heads, head size), and None for the weights.
    """
    import torch

    if not isinstance(key, torch.Tensor):
        return key.attend(query * scaling), None
    batch, heads, queries, size = query.shape
    groups = key.shape[1]
    grouped = (query * scaling).reshape(batch, groups, heads // groups * queries, size)
    scores = torch.matmul(grouped, key.transpose(-1, -2)).view(batch, groups, heads // groups, queries, -1)
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, None, :, : key.shape[2]]
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(value.dtype)
    weights = torch.nn.functional.dropout(weights, dropout, module.training)
    output = torch.matmul(weights.view(batch, groups, heads // groups * queries, -1), value)
    return output.view(batch, heads, queries, size).transpose(1, 2).contiguous(), None
