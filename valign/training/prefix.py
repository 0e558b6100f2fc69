"""What every row of a batch begins with, the system prompt above all, computed once for all rows.

A batch of 16 rows of 92 tokens, of which 24 are the chat template's opening, has 24% fewer tokens to compute so. It is
done on a CPU, whose time goes by tokens; on a GPU the second pass may cost more than it spares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from valign.training.recompute import is_recomputed
from valign.training.zero import is_sharded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FEWEST_TOKENS = 32


def shared_prefix(model: PreTrainedModel, ids: torch.Tensor, segments: torch.Tensor, before: torch.Tensor) -> int:
    """Return how many leading tokens are to be computed once for all rows; 0 where that does not pay or is not exact.

    Args:
        model: A model whose layers keep to a mask of the caller's making; no dropout may be active.
        ids: Token ids, (rows, positions).
        segments: As in ``Batch``, (rows, positions).
        before: Positions from which a supervised token is predicted; they stay in the rows.
    """
    if ids.device.type != "cpu" or not before.numel() or not _runs_alike(model):
        return 0
    length = common_length(ids, segments, before)
    return length if length * (len(ids) - 1) >= FEWEST_TOKENS else 0


def common_length(ids: torch.Tensor, segments: torch.Tensor, before: torch.Tensor) -> int:
    """Return how many tokens all rows begin with, none from which a supervised one is predicted; see above."""
    if not before.numel():
        return 0
    same = (ids == ids[:1]).all(0) & (segments == 1).all(0)
    return min(int(same.long().cumprod(0).sum()), int(before.min()))


def draws_nothing(model: PreTrainedModel) -> bool:
    """Tell whether a token gives the same in every row: no dropout is active."""
    dropped = any(isinstance(m, torch.nn.Dropout) and m.training and m.p > 0 for m in model.modules())
    attention = bool(getattr(model.config.get_text_config(), "attention_dropout", 0)) and model.training
    return not (dropped or attention)


def _runs_alike(model: PreTrainedModel) -> bool:
    """Tell whether a token gives the same in every row, and layers may run twice, with keys and values between.

    No dropout, nothing recomputed or sharded, and rotary positions, whose models keep to masks and caches given them.
    """
    recomputed = any(is_recomputed(m) or getattr(m, "gradient_checkpointing", False) for m in model.modules())
    sharded = is_sharded(next(model.parameters()))
    return hasattr(model.get_decoder(), "rotary_emb") and draws_nothing(model) and not (recomputed or sharded)


def hidden_behind(
    model: PreTrainedModel, length: int, ids: torch.Tensor, seen: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """Return the last hidden states behind a prefix that all rows share, which is computed as one row.

    Args:
        model: The model.
        length: Tokens of the prefix, at least 1.
        ids: Token ids, prefix included, (rows, positions).
        seen: Attention mask, (rows, 1, positions, positions).
        positions: Position ids, (rows, positions).

    Returns:
        (rows, positions - length, hidden size); gradients reach the prefix through its keys and values.
    """
    from transformers import DynamicCache

    decoder: Any = model.get_decoder()
    cache: Any = DynamicCache(config=model.config)
    decoder(input_ids=ids[:1, :length], past_key_values=cache, use_cache=True)
    for layer in cache.layers:
        layer.keys = layer.keys.expand(len(ids), -1, -1, -1)
        layer.values = layer.values.expand(len(ids), -1, -1, -1)
    inputs = {"attention_mask": seen[:, :, length:], "position_ids": positions[:, length:], "use_cache": True}
    hidden: torch.Tensor = decoder(input_ids=ids[:, length:], past_key_values=cache, **inputs).last_hidden_state
    return hidden
