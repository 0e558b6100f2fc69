"""Attention of conversations of many lengths in one row, without a mask and without padding, on a GPU.

PyTorch's kernel takes, beside the tokens of the row, where each sequence of queries begins and which keys belong to it.
Both answers of a pair follow what they have in common: the chosen one's queries are the common tokens and its own; the
rejected one's are its own alone, and its keys are the common tokens and its own, which are gathered for it.
"""

from __future__ import annotations

import inspect
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from valign.models.attention import (
    OWN_ATTENTION,
    has_equal_heads,
    has_full_attention,
    require_options,
    suitable_implementation,
)

if TYPE_CHECKING:
    import torch

VARLEN = "valign_varlen"
LARGEST_HEAD = 256  # of FlashAttention's kernels
OLDEST_GPU = (8, 0)  # compute capability that they need


class Sequences(NamedTuple):
    """The sequences of a packed row, as attention takes them that has a kernel for them.

    Attributes:
        queries: Where each sequence's queries begin in the row, and the end of the last, (sequences + 1,), int32.
        keys: The same of their keys, in the row or, where there is ``token``, in what it gathers.
        longest_query: Most queries of a sequence.
        longest_key: Most keys of a sequence.
        token: Which token of the row each key is, (keys,); None where the keys are the row's tokens, in order.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    longest_query: int
    longest_key: int
    token: torch.Tensor | None = None


def find_sequences(common: list[int], chosen: list[int], rejected: list[int]) -> Sequences:
    """Return the sequences of rows that are laid out one after the other.

    Rows of 2 common tokens, 1 chosen and 3 rejected ones, and of 4 common tokens have the sequences of queries
    ``0 1 2``, ``3 4 5`` and ``6 7 8 9``, with the keys ``0 1 2``, ``0 1 3 4 5`` and ``6 7 8 9``.

    Args:
        common: Tokens of each row that both answers see.
        chosen: Tokens of each row's chosen answer after them, none where the row holds one conversation.
        rejected: The same of the rejected answer.
    """
    import torch

    queries, keys, tokens, start = [0], [0], [], 0
    for shared, first, second in zip(common, chosen, rejected, strict=True):
        middle, end = start + shared + first, start + shared + first + second
        for begin, stop, seen in ((start, middle, ()), (middle, end, range(start, start + shared))):
            if begin < stop:
                tokens += [*seen, *range(begin, stop)]
                queries.append(stop)
                keys.append(len(tokens))
        start = end
    return Sequences(
        torch.tensor(queries, dtype=torch.int32),
        torch.tensor(keys, dtype=torch.int32),
        max(b - a for a, b in pairwise(queries)),
        max(b - a for a, b in pairwise(keys)),
        None if len(tokens) == start else torch.tensor(tokens),
    )


def training_implementation(config: Any, device: str, compute: torch.dtype, padding_free: bool | None) -> str:
    """Return the name of the attention that a model is trained with where none is asked for.

    On a GPU that is PyTorch's kernel for sequences of many lengths, where it computes what the model does: in bfloat16,
    without windows or dropout of attention, on GPUs since Ampere.

    Args:
        config: The model's config.
        device: Where it is trained.
        compute: dtype of matrix products.
        padding_free: Whether batches are packed; None where it is quicker for sure.
    """
    import torch

    usual = suitable_implementation(config, device)
    if usual != "sdpa" or padding_free is False or compute != torch.bfloat16:
        return usual
    text = config.get_text_config()
    try:
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    except (AttributeError, RuntimeError):  # layers with heads of several sizes, or none
        return usual
    plain = not getattr(text, "attention_dropout", 0) and not getattr(config, "auto_map", None)
    plain = plain and has_equal_heads(config) and text.model_type not in OWN_ATTENTION
    fits = has_full_attention(config) and plain and size <= LARGEST_HEAD and size % 8 == 0
    return register_varlen() if fits and _has_kernel() else usual


def _has_kernel() -> bool:
    """Tell whether this PyTorch and this GPU have the kernel, for key-value heads that are fewer than queries'."""
    import torch

    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    grouped = "enable_gqa" in inspect.signature(varlen_attn).parameters
    return grouped and torch.cuda.get_device_capability() >= OLDEST_GPU


def register_varlen() -> str:
    """Make the attention known to transformers, without a mask of its own, and return its name."""
    from transformers import AttentionInterface

    AttentionInterface.register(VARLEN, varlen_attention)
    return VARLEN


def varlen_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    sequences: Sequences | None = None,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend within each sequence of a packed row; rows that are padded get PyTorch's usual attention.

    Args:
        module: The attention layer.
        query: (batch, heads, queries, head size); where there are sequences, batch is 1.
        key: (batch, key-value heads, keys, head size).
        value: As key.
        attention_mask: Of padded rows; a mask of one element stands for sequences, which have none.
        scaling: Factor of the scores.
        dropout: Probability of dropping an attention weight of padded rows.
        sequences: Of the packed row; None for padded rows.

    Returns:
        The output (batch, queries, heads, head size), and no weights.

    Raises:
        ValignError: The model has not passed the sequences on.
    """
    import torch
    from torch.nn.attention import varlen
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if sequences is None:
        require_options(module, attention_mask, key)
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling
        )
        return plain
    device, dtype = query.device.type, query.dtype
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
    q, k, v = (states.squeeze(0).transpose(0, 1).to(dtype) for states in (query, key, value))
    if sequences.token is not None:
        k, v = (states.index_select(0, sequences.token) for states in (k, v))
    # a window of (-1, 0) is causal; a sequence's last query sees its last key
    options: dict[str, Any] = {"scale": scaling, "window_size": (-1, 0), "enable_gqa": True}
    output: Any = varlen.varlen_attn(q, k, v, *sequences[:4], **options)
    return output[None], None
