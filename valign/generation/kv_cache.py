"""Keys and values of a batch whose rows share a prefix and prompts, each kept once."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache

from valign.generation.prefix_attention import KeysAndValues, attend_prompts, attend_rows

FULLEST = 0.75  # rows get fewer slots once they need at most this share of those that there are
BLOCK = 16  # positions that rows' own tokens get room for at once


class SharedPrefixCache(Cache):
    """Keys and values of all layers, each (batch, key-value heads, positions, head size).

    The first pass (prefill) computes the prompts, each once; from then on there is one row for each sample that has not
    ended. Rows have slots, laid out as prompts times samples, so that a prompt's samples attend to it in one product;
    slots of ended rows are given up once they are many. Rows' own tokens have room for a block at a time, so that
    products are of whole tensors and of the same shape for some steps. Where each prompt is completed once, nothing of
    it is shared, and its keys and values are kept as the first of its row.

    Args:
        prefix: Keys and values of what all prompts begin with, as one row, layer by layer; none where they share
            nothing.
        mask: 0 where the prompts after the prefix are padded, on the left, (prompts, positions).
        samples: Completions of each prompt.
    """

    def __init__(self, prefix: list[KeysAndValues], mask: torch.Tensor, samples: int) -> None:
        super().__init__(layers=[])
        self.prefix = prefix
        self.prompts: list[KeysAndValues] = []
        self.rows: list[KeysAndValues] = []
        self.samples, self.filled, self.length = samples, 0, mask.shape[1]
        self.slots = torch.arange(len(mask) * samples, device=mask.device)
        self.padded = mask == 0
        self._mask: torch.Tensor | None = None  # the same for all layers of a step

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the positions that a row has by now, padding included."""
        prefix = self.prefix[0][0].shape[2] if self.prefix else 0
        return prefix + self.length

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Any, Any]:
        """Keep what a layer has computed: the prompts' first, then a token of each row.

        Returns:
            A ``LayerAttention`` in the keys' place, to which ``grouped_attention`` leaves the attending, and None.
        """
        is_prefill = layer_idx == len(self.prompts)
        if is_prefill:
            self.prompts.append((key_states.contiguous(), value_states.contiguous()))
            if layer_idx == len(self.prefix):  # nothing is shared: a prefix of no positions
                self.prefix.append((key_states[:1, :, :0], value_states[:1, :, :0]))
            return LayerAttention(self, layer_idx, is_prefill), None
        if self.filled == self.rows[layer_idx][0].shape[2]:
            key, value = (torch.nn.functional.pad(kept, (0, 0, 0, BLOCK)) for kept in self.rows[layer_idx])
            self.rows[layer_idx] = key, value
        for kept, new in zip(self.rows[layer_idx], (key_states, value_states), strict=True):
            if len(self.slots) == len(kept):
                kept[:, :, self.filled] = new[:, :, 0]
            else:
                kept[self.slots, :, self.filled] = new[:, :, 0]
        return LayerAttention(self, layer_idx, is_prefill), None

    def start_rows(self) -> None:
        """Begin the rows, when all layers have the prompts."""
        self._mask = None
        shape = (len(self.slots), self.prompts[0][0].shape[1], 0, self.prompts[0][0].shape[3])
        self.rows = [(key.new_zeros(shape), value.new_zeros(shape)) for key, value in self.prompts]
        if self.samples == 1:  # a prompt is its only row's own: from here on prompts have no positions
            self.prompts, self.rows, self.filled = self.rows, self.prompts, self.length

    def advance(self) -> None:
        """Go on to the rows' next token, when all layers have this one."""
        self.filled, self.length, self._mask = self.filled + 1, self.length + 1, None

    def prompt_mask(self, dtype: torch.dtype) -> torch.Tensor:
        """Return what is added to prompts' scores after the prefix's, (prompts, 1, 1, queries, positions)."""
        if self._mask is None:
            width = self.padded.shape[1]
            later = torch.ones(width, width, dtype=torch.bool, device=self.padded.device).triu(1)
            self._mask = _added_mask(later | self.padded[:, None, None, None, :], dtype)
        return self._mask

    def row_mask(self, dtype: torch.dtype) -> torch.Tensor:
        """Return what is added to rows' scores after the prefix's, for padding and free room.

        Returns:
            (slots, 1, 1, positions).
        """
        if self._mask is None:
            width, padded = self.padded.shape[1], self.padded.repeat_interleave(self.samples, 0)
            room = self.prompts[0][0].shape[2] + self.rows[0][0].shape[2] - width
            unused = torch.arange(room, device=padded.device) > self.length - width
            self._mask = _added_mask(torch.cat([padded, unused.expand(len(padded), room)], 1)[:, None, None], dtype)
        return self._mask

    def select_rows(self, rows: torch.Tensor) -> None:
        """Drop all rows but those whose numbers are given, (rows,).

        Their slots are given up where that lowers the number of prompts, or of the samples of the prompt with most.
        """
        self.slots = self.slots[rows]
        prompts, place, counts = (self.slots // self.samples).unique(return_inverse=True, return_counts=True)
        samples = int(counts.max())
        if len(prompts) * samples > FULLEST * len(self.padded) * self.samples:
            return
        before = counts.cumsum(0) - counts
        slots = place * samples + torch.arange(len(place), device=place.device) - before[place]
        source = slots.new_zeros(len(prompts) * samples).index_copy(0, slots, self.slots)
        self.padded, self._mask = self.padded[prompts], None
        self.prompts = [(key[prompts], value[prompts]) for key, value in self.prompts]
        self.rows = [(key[source], value[source]) for key, value in self.rows]
        self.slots, self.samples = slots, samples


class LayerAttention:
    """What one layer attends to at one step; it stands in the place of that layer's keys.

    Args:
        cache: The batch's cache.
        layer: The layer's number.
        is_prefill: Whether the queries are the prompts' tokens; else they are one token of each row.
    """

    def __init__(self, cache: SharedPrefixCache, layer: int, is_prefill: bool) -> None:
        self.cache, self.layer, self.is_prefill = cache, layer, is_prefill

    def attend(self, query: torch.Tensor) -> torch.Tensor:
        """Attend to the prefix, the prompts and the rows' own tokens.

        Args:
            query: Scaled, (prompts, heads, positions, head size) or (rows, heads, 1, head size).

        Returns:
            (prompts, positions, heads, head size) or (rows, 1, heads, head size).
        """
        cache = self.cache
        prefix, prompts = cache.prefix[self.layer], cache.prompts[self.layer]
        if self.is_prefill:
            return attend_prompts(query, prefix, prompts, cache.prompt_mask(query.dtype))
        mask, rows = cache.row_mask(query.dtype), cache.rows[self.layer]
        return attend_rows(query, prefix, prompts, rows, mask, cache.slots, cache.samples)


def _added_mask(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a mask to add to scores; half of the lowest number, so that padding that sees nothing stays finite."""
    return torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min / 2)
