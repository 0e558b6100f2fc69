"""A batch without its padding: all conversations in sequence, in a single row.

Layers that work on each token by itself are nearly all of the arithmetic. So they compute no padding, and what all
conversations begin with only once. Attention keeps conversations apart in one of three ways: the grouped attention puts
the tokens back in padded rows; eager and sdpa get a mask of the whole row, whose cost grows with its length squared;
FlashAttention finds the conversations by their positions, each of which begins at 0.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from valign.core.errors import ValignError
from valign.models import attention

FLASH = "flash_attention_2"
PADDING, COMMON, CHOSEN, REJECTED = 0, 1, 2, 3  # segments of a row: what both answers begin with, and the rest of each


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


def packs_by_default(model: PreTrainedModel) -> bool:
    """Tell whether a model is computed without padding where no setting says so: on a CPU, where it is quicker."""
    return bool(model.config.get_text_config()._attn_implementation == attention.GROUPED and _can_pack(model))


def _can_pack(model: Any) -> bool:
    own_code = not type(model).__module__.startswith("transformers.models.")
    rotary = hasattr(model, "get_decoder") and hasattr(model.get_decoder(), "rotary_emb")
    return not own_code and rotary and (supports_custom_masks(model) or uses_flash(model))


def supports_custom_masks(model: Any) -> bool:
    """Tell whether every layer of a model keeps to any attention mask it is given.

    Only then may a row hold both answers of a pair.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    full = set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    keeps_masks = config._attn_implementation in ("eager", "sdpa", attention.GROUPED)
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
        segments: Segment of each token, (rows, positions): 0 for padding; in a row with two answers, 1 for what they
            have in common, 2 and 3 for the rest of each; 1 elsewhere.
        positions: Position ids, (rows, positions).
        before: Positions from which a supervised token is predicted, (supervised,).

    Returns:
        What the decoder takes: ids and positions, each (1, tokens), and what keeps conversations separate. And, of each
        place of the padded batch, the index in the row, (rows, positions); that of padding means nothing.
    """
    flash = uses_flash(model)
    prefix = 0 if flash or not _is_deterministic(model) else common_prefix_length(ids, segments, before)
    kept = segments > PADDING
    kept[1:, :prefix] = False
    index = (kept.flatten().cumsum(0) - 1).view_as(ids)
    index[:, :prefix] = index[:1, :prefix]
    inputs: dict[str, Any] = {"input_ids": ids[kept][None], "position_ids": positions[kept][None], "use_cache": False}
    if flash:
        return inputs | {"attention_mask": None}, index
    if model.config._attn_implementation == attention.GROUPED:
        layout = attention.RowLayout(index, kept.flatten().nonzero().squeeze(1), bool((segments < CHOSEN).all()))
        mask = to_attention_mask(model, visible_positions(segments)) if layout.needs_mask else ids.new_zeros(1, 1, 1, 1)
        return inputs | {"attention_mask": mask, "layout": layout}, index
    seen = visible_positions(segments)
    row, place = kept.nonzero(as_tuple=True)
    within = seen[row, 0, place][:, place] & ((row[:, None] == row) | (place < prefix))
    return inputs | {"attention_mask": to_attention_mask(model, within[None, None])}, index


def common_prefix_length(ids: torch.Tensor, segments: torch.Tensor, before: torch.Tensor) -> int:
    """Return how many tokens all rows begin with, none from which a supervised one is predicted."""
    if not before.numel():
        return 0
    same = (ids == ids[:1]).all(0) & (segments == COMMON).all(0)
    return min(int(same.long().cumprod(0).sum()), int(before.min()))


def _is_deterministic(model: PreTrainedModel) -> bool:
    """Tell whether no dropout is active, so that what rows have in common is computed alike for each."""
    dropped = any(isinstance(m, torch.nn.Dropout) and m.training and m.p > 0 for m in model.modules())
    within = bool(getattr(model.config.get_text_config(), "attention_dropout", 0)) and model.training
    return not (dropped or within)


def visible_positions(segments: torch.Tensor) -> torch.Tensor:
    """Return what each token of a row sees: what stands before it in its own segment and in segment 1.

    Args:
        segments: Segment of each token, (rows, positions): 0 for padding; in a row with two answers, 1 for what they
            have in common, 2 and 3 for the rest of each; 1 elsewhere.

    Returns:
        True where a token is seen, (rows, 1, positions, positions).
    """
    query, key = segments[:, None, :, None], segments[:, None, None, :]
    width = segments.shape[1]
    earlier = torch.ones(width, width, dtype=torch.bool, device=segments.device).tril()
    return earlier & ((key == query) | (key == COMMON))


def to_attention_mask(model: PreTrainedModel, seen: torch.Tensor) -> torch.Tensor:
    """Return a mask as a model's attention takes it: as it is, or as numbers that are added to the scores."""
    if model.config._attn_implementation == "sdpa":
        return seen
    return torch.zeros_like(seen, dtype=model.dtype).masked_fill(~seen, torch.finfo(model.dtype).min)
