"""A batch without its padding: all conversations one behind the other in a single row.

Layers that work on each token by itself, which is nearly all of the arithmetic, compute no padding so, and what all
conversations begin with only once. Attention is kept apart in one of three ways: the grouped attention puts the tokens
back in rows for itself; eager and sdpa get a mask of the whole row, whose cost grows with its length squared;
FlashAttention finds the conversations by their positions, each of which begins at 0.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from valign.core.errors import ValignError
from valign.models import attention

FLASH = "flash_attention_2"


def require_padding_free(model: Any) -> None:
    """Refuse a model that would not keep the conversations of one row apart.

    Raises:
        ValignError: Its layers do not keep to a mask or to positions given to them.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not _can_pack(base):
        raise ValignError(
            f"trainer.padding_free=true: {type(base).__name__} does not keep conversations of one row apart (windows "
            f"of attention, or code of its own); set it to false, or trainer.attention={FLASH}."
        )


def packs_by_itself(model: PreTrainedModel) -> bool:
    """Tell whether a model is computed without padding unless it is asked to be: on a CPU, where that pays."""
    return bool(model.config.get_text_config()._attn_implementation == attention.NAME and _can_pack(model))


def _can_pack(model: Any) -> bool:
    own_code = not type(model).__module__.startswith("transformers.models.")
    rotary = hasattr(model, "get_decoder") and hasattr(model.get_decoder(), "rotary_emb")
    return not own_code and rotary and (can_share(model) or uses_flash(model))


def can_share(model: Any) -> bool:
    """Tell whether a row may hold both answers of a pair: every layer has to keep to a mask of its own making."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    full = set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    keeps_masks = config._attn_implementation in ("eager", "sdpa", attention.NAME)
    return bool(full and not windowed and keeps_masks and type(base).__module__.startswith("transformers.models."))


def uses_flash(model: PreTrainedModel) -> bool:
    """Tell whether a model attends by FlashAttention, which takes no mask but positions."""
    return bool(model.config.get_text_config()._attn_implementation == FLASH)


def pack(
    model: PreTrainedModel,
    ids: torch.Tensor,
    segments: torch.Tensor,
    positions: torch.Tensor,
    before: torch.Tensor,
) -> tuple[dict[str, Any], torch.Tensor]:
    """Lay a padded batch out as one row.

    The rows ``1 2 3`` and ``1 2 4 5`` (``before`` is 2 and more) become ``1 2 3 4 5`` at the positions ``0 1 2 2 3``;
    by FlashAttention, ``1 2 3 1 2 4 5`` at ``0 1 2 0 1 2 3``.

    Args:
        model: The model that computes it.
        ids: Token ids, (rows, positions).
        segments: As in ``Batch``, (rows, positions).
        positions: Position ids, (rows, positions).
        before: Positions from which a supervised token is predicted, (supervised,).

    Returns:
        What the decoder takes: ids and positions, each (1, tokens), and what keeps conversations apart; and where each
        place of the padded batch stands in the row, (rows, positions), of padding anything.
    """
    flash = uses_flash(model)
    prefix = 0 if flash or not _draws_nothing(model) else common_length(ids, segments, before)
    kept = segments > 0
    kept[1:, :prefix] = False
    index = (kept.flatten().cumsum(0) - 1).view_as(ids)
    index[:, :prefix] = index[:1, :prefix]
    inputs: dict[str, Any] = {"input_ids": ids[kept][None], "position_ids": positions[kept][None], "use_cache": False}
    if flash:
        return inputs | {"attention_mask": None}, index
    if model.config._attn_implementation == attention.NAME:
        places = attention.Places(index, kept.flatten().nonzero().squeeze(1), bool((segments < 2).all()))
        mask = as_mask(model, seen_by(segments)) if places.masked else ids.new_zeros(1, 1, 1, 1)
        return inputs | {"attention_mask": mask, "places": places}, index
    seen = seen_by(segments)
    row, place = kept.nonzero(as_tuple=True)
    within = seen[row, 0, place][:, place] & ((row[:, None] == row) | (place < prefix))
    return inputs | {"attention_mask": as_mask(model, within[None, None])}, index


def common_length(ids: torch.Tensor, segments: torch.Tensor, before: torch.Tensor) -> int:
    """Return how many tokens all rows begin with, none from which a supervised one is predicted; see above."""
    if not before.numel():
        return 0
    same = (ids == ids[:1]).all(0) & (segments == 1).all(0)
    return min(int(same.long().cumprod(0).sum()), int(before.min()))


def _draws_nothing(model: PreTrainedModel) -> bool:
    """Tell whether a token gives the same in every row: no dropout is active."""
    dropped = any(isinstance(m, torch.nn.Dropout) and m.training and m.p > 0 for m in model.modules())
    within = bool(getattr(model.config.get_text_config(), "attention_dropout", 0)) and model.training
    return not (dropped or within)


def seen_by(segments: torch.Tensor) -> torch.Tensor:
    """Return what each token of a row sees: what stands before it in its own segment and in segment 1.

    Args:
        segments: As in ``Batch``, (rows, positions).

    Returns:
        True where a token is seen, (rows, 1, positions, positions).
    """
    query, key = segments[:, None, :, None], segments[:, None, None, :]
    width = segments.shape[1]
    earlier = torch.ones(width, width, dtype=torch.bool, device=segments.device).tril()
    return earlier & ((key == query) | (key == 1))


def as_mask(model: PreTrainedModel, seen: torch.Tensor) -> torch.Tensor:
    """Return a mask as a model's attention takes it: as it is, or as numbers that are added to the scores."""
    if model.config._attn_implementation == "sdpa":
        return seen
    return torch.zeros_like(seen, dtype=model.dtype).masked_fill(~seen, torch.finfo(model.dtype).min)
