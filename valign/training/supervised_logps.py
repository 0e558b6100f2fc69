"""Log-probabilities of supervised tokens: the one place that computes them from a model, for policy and reference."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from valign.models.logprobs import has_plain_head, token_logps
from valign.models.packing import (
    CHOSEN,
    REJECTED,
    pack,
    packs_by_default,
    supports_custom_masks,
    to_attention_mask,
    visible_positions,
)


def supervised_logps(
    model: Any, ids: torch.Tensor, segments: torch.Tensor, mask: torch.Tensor, padding_free: bool | None = None
) -> torch.Tensor:
    """Return the log-probability of each supervised token, given those before it in its conversation.

    The output layer runs only at the positions that predict a supervised token, in chunks (``token_logps``), so that
    logits of the whole batch never exist. A model that changes its logits after the output layer computes all of them.

    Args:
        model: A causal language model, with or without an adapter.
        ids: Token ids, padded on the right, (rows, positions).
        segments: (rows, positions): 0 for padding, 1 elsewhere, and 2 and 3 where a row holds both
            answers of a pair after what they have in common.
        mask: 1 where a token is supervised, (rows, positions); never at position 0, which nothing predicts.
        padding_free: Whether the layers get all rows as one, without padding (``valign.models.packing``); None
            where it is quicker for sure: with the grouped attention of a CPU.

    Returns:
        (supervised,) in float32, row after row.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    row, target = mask.bool().nonzero(as_tuple=True)
    before = target - 1
    skipped = (segments == CHOSEN).sum(1)
    paired = bool(((segments == CHOSEN).any(1) & (segments == REJECTED).any(1)).any())
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    if paired:
        positions = positions - (segments == REJECTED) * skipped[:, None]
        first = (segments[row, target] == REJECTED) & (segments[row, before] != REJECTED)
        before = before - first * skipped[row]
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": (segments > 0).long(), "use_cache": False}
    if packs_by_default(base) if padding_free is None else padding_free:
        inputs, index = pack(base, ids, segments, positions, before)
        at = torch.zeros_like(row), index[row, before]
    else:
        at = row, before
        if paired:
            inputs |= {
                "attention_mask": to_attention_mask(base, visible_positions(segments)),
                "position_ids": positions,
            }
        elif supports_custom_masks(base):
            # no token sees the padding, which is behind all; without a mask PyTorch's quicker kernels attend
            inputs["attention_mask"] = None
    if not has_plain_head(base):
        logits = model(**inputs).logits[at]
        return -F.cross_entropy(logits.float(), ids[row, target], reduction="none")
    hidden = base.get_decoder()(**inputs).last_hidden_state[at]
    return token_logps(base.get_output_embeddings(), hidden, ids[row, target])


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
    rows = token_logps.new_zeros(mask.shape).masked_scatter(mask.bool(), token_logps)
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
    return pair_logps(mask[mask.bool()], segments, mask, pairs)
