"""How many positions a generation batch may have: as set, or as many as a GPU's free memory holds."""

from __future__ import annotations

from typing import Any

import torch

CPU_TOKENS = 16384  # more are no quicker there
LEAST_POSITIONS, MOST_POSITIONS = 2048, 2**18
USED_MEMORY = 0.8  # share of the free memory; the rest is for logits, masks and what the allocator cannot join
HIDDEN_STATES = 8  # of a token that are held at once while a prompt is computed, beside two of its feed-forward layer


def batch_limit(model: Any, batch_tokens: int | None) -> int:
    """Return the most positions of the key-value cache of one batch.

    Args:
        model: The language model, on its device.
        batch_tokens: As set; None for as many as fit on a GPU, and 16,384 on a CPU.
    """
    if batch_tokens is not None:
        return batch_tokens
    if model.device.type != "cuda":
        return CPU_TOKENS
    cached = torch.cuda.memory_reserved(model.device) - torch.cuda.memory_allocated(model.device)
    free = torch.cuda.mem_get_info(model.device)[0] + cached
    return positions_in(free, model.config.get_text_config(), model.dtype.itemsize)


def positions_in(free: int, config: Any, number_bytes: int) -> int:
    """Return how many positions fit into free memory, a power of two, so that a little less makes no other batches.

    A position takes its keys and values in all layers, and what a layer computes of a prompt.

    >>> from types import SimpleNamespace
    >>> mistral = SimpleNamespace(num_hidden_layers=32, hidden_size=4096, intermediate_size=14336,
    ...                           num_attention_heads=32, num_key_value_heads=8, head_dim=128)
    >>> positions_in(8 * 2**30, mistral, 2), positions_in(60 * 2**30, mistral, 2)
    (16384, 131072)

    Args:
        free: Bytes.
        config: The language model's config.
        number_bytes: Bytes of a number in it.
    """
    heads, hidden = config.num_attention_heads, config.hidden_size
    groups = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or hidden // heads
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    numbers = 2 * config.num_hidden_layers * groups * size + HIDDEN_STATES * hidden + 2 * inner
    fitting = int(USED_MEMORY * free / (numbers * number_bytes))
    return min(max(1 << max(0, fitting.bit_length() - 1), LEAST_POSITIONS), MOST_POSITIONS)
