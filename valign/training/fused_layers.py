"""LoRA training in fewer and larger operations, with gradients written by hand.

PyTorch computes an adapted layer in some thirty small operations and their backward passes, which on a CPU take as long
as the matrix products between them. Here, on a CPU, a norm, the projections of one input, the rotary positions,
attention and the gated feed-forward layer are one function each: the same numbers up to rounding, and less that is kept
for the backward pass. On a GPU, which has fused kernels for most of that, each linear layer and its adapter are one
function. Each class checks whether a module is what it computes; any other module is computed as before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from valign.models.layers import is_known_family
from valign.training.fused_attention import FusedAttention
from valign.training.fused_feed_forward import FusedFeedForward
from valign.training.fused_norm import FusedNorm
from valign.training.fused_projections import FusedLinear


def fuse_layers(model: Any) -> int:
    """Let a model's layers be computed in fewer operations, where they are known and their own weights are frozen.

    Known are the norms, attention and feed-forward layers of Llama, Mistral and Qwen2 in transformers, with the
    grouped attention; their projections may have a LoRA adapter of PEFT, or none. With dropout on an adapter's input
    only the norms are changed. The model is not to be given other adapters afterwards.

    Args:
        model: A causal language model on a CPU, with or without an adapter.

    Returns:
        How many modules are computed so.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not is_known_family(base):
        return 0
    found = 0
    for module in base.modules():
        if type(module).__module__ == type(base).__module__ and (forward := _fused_forward(module)) is not None:
            module.forward = forward
            found += 1
    return found


def fuse_linear_layers(model: Any) -> int:
    """Let each linear layer that has a LoRA adapter be one function with it, where its own weights are frozen.

    Layers with dropout on the adapter's input, in 4 bits or in shards are left as they are.

    Args:
        model: A causal language model with an adapter; it is not to be given other adapters afterwards.

    Returns:
        How many layers are computed so.
    """
    found = 0
    for module in model.modules():
        if (fused := FusedLinear.from_module(module)) is not None:
            module.forward = fused
            found += 1
    return found


def _fused_forward(module: torch.nn.Module) -> Callable[..., Any] | None:
    """Return what computes a module in fewer operations, if anything does."""
    kinds: dict[str, Callable[[Any], Callable[..., Any] | None]] = {
        "RMSNorm": FusedNorm.from_module,
        "Attention": FusedAttention.from_module,
        "MLP": FusedFeedForward.from_module,
    }
    name = type(module).__name__
    return next((fuse(module) for end, fuse in kinds.items() if name.endswith(end)), None)
