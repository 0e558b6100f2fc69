"""Log-probabilities of supervised tokens: the one place that computes them from a model, for policy and reference."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric.utilities import move_data_to_device

from valign.models.logprobs import has_known_head, output_layer, token_logps
from valign.models.packing import CHOSEN, REJECTED, Layout, decoder_inputs, lay_out


def supervised_logps(
    model: Any, ids: torch.Tensor, segments: torch.Tensor, mask: torch.Tensor, padding_free: bool | None = None
) -> torch.Tensor:
    """Return the log-probability of each supervised token, given those before it in its conversation.

    Args:
        model: A causal language model, with or without an adapter.
        ids: Token ids, padded on the right, (rows, positions).
        segments: (rows, positions): 0 for padding, 1 elsewhere, and 2 and 3 where a row holds both
            answers of a pair after what they have in common.
        mask: 1 where a token is supervised, (rows, positions); never at position 0, which nothing predicts.
        padding_free: Whether the layers get all rows as one, without padding (``valign.models.packing``); None
            where it is quicker for sure.

    Returns:
        (supervised,) in float32, row after row.
    """
    layout = lay_out(model, ids.cpu(), segments.cpu(), mask.cpu(), padding_free)
    return layout_logps(model, move_data_to_device(layout, ids.device))


def layout_logps(model: Any, layout: Layout) -> torch.Tensor:
    """Return the log-probability of each supervised token of a batch that is laid out; nothing waits for a GPU.

    The output layer runs only at the positions that predict a supervised token, in chunks (``token_logps``), so that
    logits of the whole batch never exist; those of a model that scales or caps them exist at these positions. A model
    with code of its own computes all of them.

    Args:
        model: A causal language model, with or without an adapter.
        layout: What ``lay_out`` returned for it, on its device.

    Returns:
        (supervised,) in float32, row after row.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    inputs = decoder_inputs(base, layout)
    if not has_known_head(base):
        if getattr(base.config.get_text_config(), "output_router_logits", False):
            inputs["output_router_logits"] = False  # whose loss wants a mask of padded rows, and is not asked for
        logits = model(**inputs).logits.flatten(0, 1).index_select(0, layout.at)
        return -F.cross_entropy(logits.float(), layout.targets, reduction="none")
    hidden = base.get_decoder()(**inputs).last_hidden_state.flatten(0, 1).index_select(0, layout.at)
    return token_logps(output_layer(base), hidden, layout.targets)


def pair_logps(
    token_logps: torch.Tensor, segments: torch.Tensor, mask: torch.Tensor, pairs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum the log-probabilities of both answers of each pair; a sum is never divided by a length here.

    Args:
        token_logps: (supervised,), row after row, as ``supervised_logps`` returns them.
        segments: As ``supervised_logps`` takes them, (rows, positions); row ``i`` belongs to pair ``i % pairs``.
        mask: 1 where a token is supervised, (rows, positions).
        pairs: Number of pairs: as many rows, or half as many where each answer has a row of its own.

    Returns:
        Sums of the chosen and of the rejected answers, each (pairs,) in nats.
    """
    # each place's log-probability by the count of supervised tokens up to it, which no CPU has to know
    place = (mask.flatten().cumsum(0) - 1).clamp(min=0)
    rows = token_logps.index_select(0, place).view(mask.shape).where(mask.bool(), 0.0)
    chosen = (rows * (segments != REJECTED)).sum(-1)
    rejected = (rows * (segments != CHOSEN)).sum(-1)
    return chosen.view(-1, pairs).sum(0), rejected.view(-1, pairs).sum(0)


def pair_lengths(segments: torch.Tensor, mask: torch.Tensor, pairs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the number of supervised tokens of the chosen and of the rejected answers, each (pairs,).

    Args:
        segments: As ``supervised_logps`` takes them, (rows, positions).
        mask: 1 where a token is supervised, (rows, positions).
        pairs: Number of pairs.
    """
    chosen, rejected = (((segments != other) * mask).sum(-1) for other in (REJECTED, CHOSEN))
    return chosen.view(-1, pairs).sum(0), rejected.view(-1, pairs).sum(0)
