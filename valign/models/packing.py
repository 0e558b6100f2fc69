"""A batch without its padding: all conversations in sequence, in a single row.

Layers that work on each token by itself are nearly all of the arithmetic. So they compute no padding, what all
conversations begin with only once, and no token that predicts nothing, such as an answer's last. Attention keeps
conversations apart in one of three ways: the grouped attention puts the tokens back in padded rows; eager and sdpa get
a mask of the whole row, whose cost grows with its length squared; kernels for sequences of many lengths, on a GPU, are
told where each begins.

All indices are made on the CPU, where the ids come from, and move to the device together with them: an index that is
looked for on a GPU makes the CPU wait for it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from valign.core.errors import ValignError
from valign.models import attention
from valign.models.varlen import VARLEN, Sequences, find_sequences

FLASH = "flash_attention_2"
TOKENS_STEP, WIDTH_STEP = 32, 16  # a tenth less time of SFT in batches of eight rows than without
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
            "of attention, layers that pass no layout on, or code of its own); set it to false, or "
            f"trainer.attention={FLASH}."
        )


def packs_by_default(model: PreTrainedModel) -> bool:
    """Tell whether a model is computed without padding where no setting says so: where its attention needs no mask."""
    quick = (attention.GROUPED, VARLEN, FLASH)
    return model.config.get_text_config()._attn_implementation in quick and _can_pack(model)


def _can_pack(model: Any) -> bool:
    suitable = supports_custom_masks(model) or (uses_flash(model) and _goes_by_positions(model))
    kinds: set[Any] = {type(layer) for layer in model.get_decoder().modules()} if suitable else set()
    return suitable and all(attention.passes_layout_on(kind) for kind in kinds)


def supports_custom_masks(model: Any) -> bool:
    """Tell whether every layer of a model keeps to any attention mask, and to any positions, that it is given.

    Only then may a row hold both answers of a pair.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    keeps_masks = config._attn_implementation in ("eager", "sdpa", attention.GROUPED, VARLEN)
    return attention.has_full_attention(config) and keeps_masks and _goes_by_positions(base)


def _goes_by_positions(model: Any) -> bool:
    """Tell whether a model puts a token where its position id says; recurrences and ALiBi go by its place in a row."""
    own_code = not type(model).__module__.startswith("transformers.models.")
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    return not own_code and hasattr(decoder, "rotary_emb") and not getattr(model.config, "alibi", False)


def uses_flash(model: PreTrainedModel) -> bool:
    """Tell whether a model attends by FlashAttention, which takes no mask but positions."""
    return bool(model.config.get_text_config()._attn_implementation == FLASH)


class Layout(NamedTuple):
    """A batch as a model's layers get it: what they compute, and what keeps its conversations apart.

    Attributes:
        ids: Token ids, (rows, positions), or (1, tokens) where it is packed.
        at: Where the hidden states that predict a supervised token stand, as indices into all of them, (supervised,).
        targets: The ids of the supervised tokens, row after row, (supervised,).
        positions: Position ids, as ``ids``; None for those that the model gives by itself.
        padding: 1 for tokens and 0 for padding, (rows, positions), for models that make a mask of it; None for others.
        segments: Segments of the padded rows, (rows, positions), which a mask is made of; None where none is.
        rows: For the grouped attention, the padded rows that the tokens of a packed row belong to.
        sequences: For kernels that take them, the sequences of a packed row.
        row: For a mask of a whole packed row, the padded row that each token belongs to, (tokens,).
        place: Each token's place in that row, (tokens,).
        opening: Tokens that all rows begin with, computed once.
    """

    ids: torch.Tensor
    at: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor | None = None
    padding: torch.Tensor | None = None
    segments: torch.Tensor | None = None
    rows: attention.RowLayout | None = None
    sequences: Sequences | None = None
    row: torch.Tensor | None = None
    place: torch.Tensor | None = None
    opening: int = 0


def lay_out(
    model: Any, ids: torch.Tensor, segments: torch.Tensor, mask: torch.Tensor, padding_free: bool | None = None
) -> Layout:
    """Return how a model's layers get a batch; all of it is on the CPU.

    Args:
        model: A causal language model, with or without an adapter.
        ids: Token ids, padded on the right, (rows, positions).
        segments: (rows, positions): 0 for padding; in a row with two answers, 1 for what they have in common, 2 and 3
            for the rest of each; 1 elsewhere.
        mask: 1 where a token is supervised, (rows, positions); never at position 0, which nothing predicts.
        padding_free: Whether the layers get all rows as one, without padding; None where it is quicker for sure.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    row, target = mask.bool().nonzero(as_tuple=True)
    before = target - 1
    skipped = (segments == CHOSEN).sum(1)
    paired = bool(((segments == CHOSEN).any(1) & (segments == REJECTED).any(1)).any())
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    if paired:
        positions = positions - (segments == REJECTED) * skipped[:, None]
        first = (segments[row, target] == REJECTED) & (segments[row, before] != REJECTED)
        before = before - first * skipped[row]
    targets = ids[row, target]
    if packs_by_default(base) if padding_free is None else padding_free:
        return pack(base, ids, segments, positions, (row, before), targets)
    found = Layout(ids, row * ids.shape[1] + before, targets)
    if paired:
        return found._replace(positions=positions, segments=segments)
    # no token sees the padding, which is behind all; without a mask PyTorch's quicker kernels attend
    return found if supports_custom_masks(base) else found._replace(padding=(segments > PADDING).long())


def pack(
    model: PreTrainedModel,
    ids: torch.Tensor,
    segments: torch.Tensor,
    positions: torch.Tensor,
    predicting: tuple[torch.Tensor, torch.Tensor],
    targets: torch.Tensor,
) -> Layout:
    """Lay a padded batch out as one row.

    The rows ``1 2 3 4`` and ``1 2 5 6 7``, of which the last two tokens are supervised, become ``1 2 3 5 6`` at the
    positions ``0 1 2 2 3``; for a kernel that takes sequences, they stay whole, one behind the other.

    Args:
        model: The model that computes it.
        ids: Token ids, (rows, positions).
        segments: Segment of each token, (rows, positions), as in ``lay_out``.
        positions: Position ids, (rows, positions).
        predicting: Row and position from which each supervised token is predicted, (supervised,) each.
        targets: The ids of the supervised tokens, (supervised,).
    """
    implementation = model.config.get_text_config()._attn_implementation
    by_sequences = implementation == VARLEN or uses_flash(model)
    opening = 0 if by_sequences or not _is_deterministic(model) else common_prefix_length(ids, segments, predicting[1])
    kept = segments > PADDING
    if not by_sequences:
        last = int(positions.where(kept, -1).argmax())  # by whose number some rotary embeddings go
        kept &= _is_needed(segments, predicting)
        kept[0, :opening] = True
        kept.view(-1)[last] = True
    kept[1:, :opening] = False
    index = (kept.flatten().cumsum(0) - 1).view_as(ids)
    index[:, :opening] = index[:1, :opening]
    found = Layout(ids[kept][None], index[predicting], targets, positions[kept][None], opening=opening)
    if by_sequences:
        counts = [(segments == part).sum(1).tolist() for part in (COMMON, CHOSEN, REJECTED)]
        return found._replace(sequences=find_sequences(*counts))
    if implementation == attention.GROUPED:
        place = kept.flatten().nonzero().squeeze(1)
        rows = attention.RowLayout(index, place, bool((segments < CHOSEN).all()))
        found = found._replace(rows=rows, segments=segments)
        return _fill_up(found) if _compiles_by_size(model) else found
    row, place = kept.nonzero(as_tuple=True)
    return found._replace(segments=segments, row=row, place=place)


def _compiles_by_size(model: PreTrainedModel) -> bool:
    """Tell whether a CPU's products are compiled for each new size: oneDNN's are, in bfloat16."""
    return model.dtype == torch.bfloat16


def _fill_up(layout: Layout) -> Layout:
    """Fill a packed row, and the padded rows that it belongs to, up to sizes that come again in other batches.

    What is added stands behind all else, where nothing sees it.
    """
    rows, segments, positions = layout.rows, layout.segments, layout.positions
    assert rows is not None and segments is not None and positions is not None
    more, wider = -layout.ids.shape[1] % TOKENS_STEP, -rows.token.shape[1] % WIDTH_STEP
    place = rows.place + rows.place // rows.token.shape[1] * wider
    rows = rows._replace(token=F.pad(rows.token, (0, wider)), place=F.pad(place, (0, more)))
    ids, positions = F.pad(layout.ids, (0, more)), F.pad(positions, (0, more))
    return layout._replace(ids=ids, positions=positions, rows=rows, segments=F.pad(segments, (0, wider)))


def decoder_inputs(model: PreTrainedModel, layout: Layout) -> dict[str, Any]:
    """Return what a model's decoder is called with, on the device that the layout is on; nothing waits for a GPU.

    Args:
        model: The model that computes it, without its adapter's wrapping.
        layout: What ``lay_out`` returned for it.
    """
    inputs: dict[str, Any] = {"input_ids": layout.ids, "attention_mask": layout.padding, "use_cache": False}
    if layout.positions is not None:
        inputs["position_ids"] = layout.positions
    none = layout.ids.new_zeros(1, 1, 1, 1)  # in the place of a mask that models would make otherwise
    if layout.sequences is not None:
        if not uses_flash(model):
            return inputs | {"attention_mask": none, "sequences": layout.sequences}
        queries, keys, longest_query, longest_key, _ = layout.sequences
        lengths = {"cu_seq_lens_q": queries, "cu_seq_lens_k": keys}
        return inputs | lengths | {"max_length_q": longest_query, "max_length_k": longest_key}
    if layout.rows is not None and not layout.rows.needs_mask:
        return inputs | {"attention_mask": none, "layout": layout.rows}
    if layout.segments is None:
        return inputs
    seen = visible_positions(layout.segments)
    if layout.rows is not None:
        inputs["layout"] = layout.rows
    elif layout.row is not None and layout.place is not None:
        row, place = layout.row, layout.place
        within = seen[row, 0, place][:, place] & ((row[:, None] == row) | (place < layout.opening))
        seen = within[None, None]
    return inputs | {"attention_mask": to_attention_mask(model, seen)}


def common_prefix_length(ids: torch.Tensor, segments: torch.Tensor, before: torch.Tensor) -> int:
    """Return how many tokens all rows begin with, none from which a supervised one is predicted."""
    if not before.numel():
        return 0
    same = (ids == ids[:1]).all(0) & (segments == COMMON).all(0)
    return min(int(same.long().cumprod(0).sum()), int(before.min()))


def _is_needed(segments: torch.Tensor, predicting: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Tell which tokens a prediction depends on: none behind a segment's last one that predicts."""
    predicts = torch.zeros_like(segments, dtype=torch.bool)
    predicts[predicting] = True
    needed = torch.zeros_like(predicts)
    for part in (COMMON, CHOSEN, REJECTED):
        asks = predicts if part == COMMON else predicts & (segments == part)  # what is in common is seen by all
        needed |= (segments == part) & asks.flip(1).cummax(1).values.flip(1)
    return needed


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
    if model.config._attn_implementation in ("sdpa", VARLEN):
        return seen
    return torch.zeros_like(seen, dtype=model.dtype).masked_fill(~seen, torch.finfo(model.dtype).min)
