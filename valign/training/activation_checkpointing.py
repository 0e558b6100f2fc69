"""Activation checkpointing: the backward pass computes each layer again (Chen et al., 2016, arXiv:1604.06174).

What is kept of the forward pass is the hidden states that enter each layer, at the cost of a second forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from valign.core.errors import ValignError
from valign.models.layers import is_sharded


def checkpoint_activations(model: Any) -> None:
    """Let every layer of a model's decoder be computed again in the backward pass, dropout and autocast alike.

    Whether the model is in training mode makes no difference, because DPO trains in evaluation mode.

    Args:
        model: A causal language model, with or without an adapter.

    Raises:
        ValignError: Its decoder has no list of layers.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = getattr(base.get_decoder(), "layers", None) if hasattr(base, "get_decoder") else None
    if not isinstance(layers, torch.nn.ModuleList):
        raise ValignError(
            f"trainer.activation_checkpointing=true: {type(base).__name__} has no list of layers to compute again; "
            "set it to false."
        )
    for layer in layers:
        if not is_checkpointed(layer):
            layer.forward = CheckpointedForward(layer.forward, any(is_sharded(p) for p in layer.parameters()))


def is_checkpointed(layer: torch.nn.Module) -> bool:
    """Tell whether a layer is computed again in the backward pass."""
    return isinstance(vars(layer).get("forward"), CheckpointedForward)


class CheckpointedForward:
    """A layer's forward function that keeps its input alone.

    Args:
        forward: Takes the hidden states first; gradients reach nothing else that it is given.
        sharded: Whether the layer's weights are ZeRO-3's. PyTorch's default checkpointing compares what both
            passes saved, which differs where weights are empty between their uses; the older, reentrant kind does not.
    """

    def __init__(self, forward: Callable[..., Any], sharded: bool) -> None:
        self.forward, self.sharded = forward, sharded

    def __call__(self, hidden: torch.Tensor, **rest: Any) -> Any:
        """Compute the layer."""
        if not torch.is_grad_enabled():
            return self.forward(hidden, **rest)
        if self.sharded and not hidden.requires_grad:
            # reentrant checkpointing gives weights a gradient only where its input needs one
            hidden = hidden.detach().requires_grad_()
        return checkpoint(partial(self.forward, **rest), hidden, use_reentrant=self.sharded)
