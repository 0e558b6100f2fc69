"""Keys and values of a batch that is being completed: what all prompts begin with, the prompts, and what rows add.

Prompts of one template begin with the same worked examples, and all samples of a prompt see the same prompt. Each is
computed and kept once, and attention takes all three together. A prompt of 330 tokens, 290 of them worked examples,
that is completed ten times with 32 tokens takes 40 + 10 * 32 positions so, instead of 10 * 362.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache

from valign.models import attention
from valign.models.packing import can_share

FULLEST = 0.75
BLOCK = 16
SCORES = 2**20  # attention scores that are computed at once, few enough for a processor's own memory

KeysAndValues = tuple[torch.Tensor, torch.Tensor]


class Decoding(Protocol):
    """A batch under way; ``logits`` are those of each row's next token, (rows, vocabulary)."""

    logits: torch.Tensor

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but those whose numbers are given."""
        ...

    def take(self, token: torch.Tensor) -> None:
        """Add a token to each row, (rows,), and compute the logits of the next."""
        ...


def can_branch(model: Any) -> bool:
    """Tell whether ``Branching`` is for this model: the grouped attention in every layer, and rotary positions."""
    if model.config._attn_implementation != attention.NAME or not can_share(model):
        return False
    return hasattr(model.get_decoder(), "rotary_emb")


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with; each keeps one of its own."""
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    longest = min(map(len, prompts)) - 1
    return next((i for i in range(longest) if first[i] != last[i]), longest)


class Repeating:
    """Each row has its prompt's keys and values, in transformers' own cache; for any model.

    Args:
        model: A causal language model.
        prompts: Token ids of each prompt.
        samples: Completions of each prompt.
        padding: Token id to pad with.
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], samples: int, padding: int) -> None:
        ids, mask = (t.to(model.device) for t in pad_left(prompts, padding))
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        state = {"attention_mask": mask, "position_ids": positions, "logits_to_keep": _last(ids)}
        out: Any = model(ids, **state, use_cache=True)
        self.model, self.cache = model, out.past_key_values
        if samples > 1:
            self.cache.batch_repeat_interleave(samples)
        self.logits = out.logits[:, -1].repeat_interleave(samples, 0)
        self.mask = mask.repeat_interleave(samples, 0)
        self.position = positions[:, -1:].repeat_interleave(samples, 0)

    def keep(self, rows: torch.Tensor) -> None:
        """See ``Decoding``."""
        self.mask, self.position = self.mask[rows], self.position[rows]
        self.cache.batch_select_indices(rows)

    def take(self, token: torch.Tensor) -> None:
        """See ``Decoding``."""
        self.position = self.position + 1
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        state = {"attention_mask": self.mask, "position_ids": self.position, "past_key_values": self.cache}
        out: Any = self.model(token[:, None], **state, use_cache=True)
        self.logits = out.logits[:, -1]


class Branching:
    """Rows branch off their prompts, and prompts off what they share; see ``can_branch``.

    Args:
        model: A causal language model with the grouped attention.
        prompts: Token ids of each prompt.
        samples: Completions of each prompt.
        padding: Token id to pad with.
        fast: Computes the same in fewer operations, where there is such a thing for the model.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        samples: int,
        padding: int,
        fast: Callable[[torch.Tensor, torch.Tensor, BranchingCache], torch.Tensor] | None = None,
    ) -> None:
        prefix = shared_length(prompts)
        ids, mask = (t.to(model.device) for t in pad_left([prompt[prefix:] for prompt in prompts], padding))
        positions = (mask.cumsum(1) - 1).clamp(min=0) + prefix
        shared = _keys_and_values(model, prompts[0][:prefix]) if prefix else []
        self.model, self.fast, self.cache = model, fast, BranchingCache(shared, mask, samples)
        self.logits = self._run(ids, positions).repeat_interleave(samples, 0)
        self.cache.branch()
        self.position = positions[:, -1:].repeat_interleave(samples, 0)

    def keep(self, rows: torch.Tensor) -> None:
        """See ``Decoding``."""
        self.position = self.position[rows]
        self.cache.keep(rows)

    def take(self, token: torch.Tensor) -> None:
        """See ``Decoding``."""
        self.position = self.position + 1
        self.logits = self._run(token[:, None], self.position)
        self.cache.step()

    def _run(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Run the model; what is hidden is known to the cache, and the mask only keeps others from being made."""
        if self.fast is not None:
            return self.fast(ids, positions, self.cache)
        state = {"attention_mask": ids.new_zeros(1, 1, 1, 1), "position_ids": positions, "past_key_values": self.cache}
        out: Any = self.model(ids, **state, use_cache=True, logits_to_keep=_last(ids))
        logits: torch.Tensor = out.logits[:, -1]
        return logits


class BranchingCache(Cache):
    """Keys and values of all layers, each (batch, key-value heads, positions, head size).

    A row is a sample that has not ended. Rows have slots, laid out as prompts times samples, so that a prompt's samples
    attend to it in one product; slots whose rows have ended are given up once they are many. Rows' own tokens have room
    for a block at a time, so that products are of whole tensors and of the same shape for some steps. Prompts that are
    completed once are their row's first own tokens.

    Args:
        prefix: Keys and values of what all prompts begin with, as one row, layer by layer; none where they share
            nothing.
        mask: 0 where the prompts behind the prefix are padded, on the left, (prompts, positions).
        samples: Completions of each prompt.
    """

    def __init__(self, prefix: list[KeysAndValues], mask: torch.Tensor, samples: int) -> None:
        super().__init__(layers=[])
        self.prefix = prefix
        self.prompts: list[KeysAndValues] = []
        self.added: list[KeysAndValues] = []
        self.samples, self.filled, self.length = samples, 0, mask.shape[1]
        self.slots = torch.arange(len(mask) * samples, device=mask.device)
        self.hidden = mask == 0
        self._mask: torch.Tensor | None = None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the positions that a row has by now, padding included."""
        prefix = self.prefix[0][0].shape[2] if self.prefix else 0
        return prefix + self.length

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Any, Any]:
        """Keep what a layer has computed: the prompts' first, then a token of each row.

        Returns:
            A ``Branches`` in the keys' place, to which ``grouped_attention`` leaves the attending, and None.
        """
        opening = layer_idx == len(self.prompts)
        if opening:
            self.prompts.append((key_states.contiguous(), value_states.contiguous()))
            if layer_idx == len(self.prefix):
                self.prefix.append((key_states[:1, :, :0], value_states[:1, :, :0]))
            return Branches(self, layer_idx, opening), None
        if self.filled == self.added[layer_idx][0].shape[2]:
            key, value = (torch.nn.functional.pad(kept, (0, 0, 0, BLOCK)) for kept in self.added[layer_idx])
            self.added[layer_idx] = key, value
        for kept, new in zip(self.added[layer_idx], (key_states, value_states), strict=True):
            if len(self.slots) == len(kept):
                kept[:, :, self.filled] = new[:, :, 0]
            else:
                kept[self.slots, :, self.filled] = new[:, :, 0]
        return Branches(self, layer_idx, opening), None

    def branch(self) -> None:
        """Begin the rows, when all layers have the prompts."""
        self._mask = None
        shape = (len(self.slots), self.prompts[0][0].shape[1], 0, self.prompts[0][0].shape[3])
        self.added = [(key.new_zeros(shape), value.new_zeros(shape)) for key, value in self.prompts]
        if self.samples == 1:
            self.prompts, self.added, self.filled = self.added, self.prompts, self.length

    def step(self) -> None:
        """Go on to the rows' next token, when all layers have this one."""
        self.filled, self.length, self._mask = self.filled + 1, self.length + 1, None

    def mask_of_prompts(self, dtype: torch.dtype) -> torch.Tensor:
        """Return what is added to the scores of prompts behind the prefix, (prompts, 1, 1, queries, positions)."""
        if self._mask is None:
            width = self.hidden.shape[1]
            later = torch.ones(width, width, dtype=torch.bool, device=self.hidden.device).triu(1)
            self._mask = _as_added(later | self.hidden[:, None, None, None, :], dtype)
        return self._mask

    def mask_of_rows(self, dtype: torch.dtype) -> torch.Tensor:
        """Return what is added to slots' scores behind the prefix for padding and room, (slots, 1, 1, positions)."""
        if self._mask is None:
            width, slots = self.hidden.shape[1], self.hidden.repeat_interleave(self.samples, 0)
            room = self.prompts[0][0].shape[2] + self.added[0][0].shape[2] - width
            later = torch.arange(room, device=slots.device) > self.length - width
            self._mask = _as_added(torch.cat([slots, later.expand(len(slots), room)], 1)[:, None, None], dtype)
        return self._mask

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but those whose numbers are given."""
        self.slots = self.slots[rows]
        prompts, place, counts = (self.slots // self.samples).unique(return_inverse=True, return_counts=True)
        samples = int(counts.max())
        if len(prompts) * samples > FULLEST * len(self.hidden) * self.samples:
            return
        before = counts.cumsum(0) - counts
        slots = place * samples + torch.arange(len(place), device=place.device) - before[place]
        source = slots.new_zeros(len(prompts) * samples).index_copy(0, slots, self.slots)
        self.hidden, self._mask = self.hidden[prompts], None
        self.prompts = [(key[prompts], value[prompts]) for key, value in self.prompts]
        self.added = [(key[source], value[source]) for key, value in self.added]
        self.slots, self.samples = slots, samples


class Branches:
    """What one layer attends to at one step.

    Args:
        cache: The batch's cache.
        layer: The layer's number.
        opening: Whether the queries are the prompts' tokens; else they are one token of each row.
    """

    def __init__(self, cache: BranchingCache, layer: int, opening: bool) -> None:
        self.cache, self.layer, self.opening = cache, layer, opening

    def attend(self, query: torch.Tensor) -> torch.Tensor:
        """Attend to the prefix, the prompts and the rows' own tokens.

        Args:
            query: Scaled, (prompts, heads, positions, head size) or (rows, heads, 1, head size).

        Returns:
            (prompts, positions, heads, head size) or (rows, 1, heads, head size).
        """
        return self._of_prompts(query) if self.opening else self._of_rows(query)

    def _of_prompts(self, query: torch.Tensor) -> torch.Tensor:
        (key, value), (shared_key, shared_value) = self.cache.prompts[self.layer], self.cache.prefix[self.layer]
        (heads, width, size), groups, prefix = query.shape[1:], key.shape[1], shared_key.shape[2]
        mask = self.cache.mask_of_prompts(query.dtype)
        few = max(1, SCORES // (heads * width * (prefix + width)))
        found = []
        for part, k, v, hidden in zip(*(x.split(few) for x in (query, key, value, mask)), strict=True):
            prompts = len(part)
            q = part.reshape(prompts, groups, -1, size)
            scores = torch.cat([_times_shared(q, shared_key.transpose(-1, -2)), q @ k.transpose(-1, -2)], -1)
            scores = scores.view(prompts, groups, -1, width, prefix + width)
            scores[..., prefix:] += hidden
            weights = scores.softmax(-1).view(prompts, groups, -1, prefix + width)
            shared, own = weights.split([prefix, width], -1)
            output = (own @ v).add_(_times_shared(shared, shared_value))
            found.append(output.view(prompts, heads, width, size).transpose(1, 2))
        return torch.cat(found)

    def _of_rows(self, query: torch.Tensor) -> torch.Tensor:
        cache, (rows, heads, _, size) = self.cache, query.shape
        (key, value), (shared_key, shared_value) = cache.prompts[self.layer], cache.prefix[self.layer]
        added_key, added_value = cache.added[self.layer]
        slots, groups = added_key.shape[:2]
        query = query.reshape(rows, groups, -1, size)
        if rows < slots:
            query = query.new_zeros(slots, *query.shape[1:]).index_copy(0, cache.slots, query)
        scores = [_times_shared(query, shared_key.transpose(-1, -2)), query @ added_key.transpose(-1, -2)]
        if apart := key.shape[2]:
            scores.insert(1, self._by_slot(self._by_prompt(query) @ key.transpose(-1, -2)))
        together, prefix = torch.cat(scores, -1), shared_key.shape[2]
        together[..., prefix:] += cache.mask_of_rows(query.dtype)
        shared, read, said = together.softmax(-1).split([prefix, apart, added_key.shape[2]], -1)
        output = said @ added_value
        if apart:
            output += self._by_slot(self._by_prompt(read) @ value)
        output += _times_shared(shared, shared_value)
        output = output if rows == slots else output[cache.slots]
        return output.reshape(rows, 1, heads, size)

    def _by_prompt(self, x: torch.Tensor) -> torch.Tensor:
        """Turn (slots, groups, heads of a group, x) into (prompts, groups, samples * heads of a group, x)."""
        prompts, (_, groups, _, last) = len(self.cache.hidden), x.shape
        samples = x.reshape(prompts, self.cache.samples, groups, -1, last)
        return samples.transpose(1, 2).reshape(prompts, groups, -1, last)

    def _by_slot(self, x: torch.Tensor) -> torch.Tensor:
        """Undo ``_by_prompt``."""
        prompts, groups, _, last = x.shape
        samples = self.cache.samples
        return x.view(prompts, groups, samples, -1, last).transpose(1, 2).reshape(prompts * samples, groups, -1, last)


def _last(ids: torch.Tensor) -> torch.Tensor:
    """Return the last position, for ``logits_to_keep``.

    A number there makes transformers slice the hidden states, and for a slice of more than one row PyTorch's linear
    layer copies the whole vocabulary's weights once for each row: 8 seconds for 73 prompts of SmolLM2-135M.
    """
    return torch.tensor([ids.shape[1] - 1], device=ids.device)


def _keys_and_values(model: PreTrainedModel, ids: Sequence[int]) -> list[KeysAndValues]:
    """Return what each layer keeps of tokens, as one row."""
    cache: Any = DynamicCache(config=model.config)
    decoder: Any = model.get_decoder()
    decoder(input_ids=torch.tensor([ids], device=model.device), past_key_values=cache, use_cache=True)
    return [(layer.keys.contiguous(), layer.values.contiguous()) for layer in cache.layers]


def _times_shared(x: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """Multiply (batch, groups, y, z) by what the whole batch shares, (1, groups, z, last), in one product a group."""
    batch, groups, y, z = x.shape
    product = x.transpose(0, 1).reshape(groups, batch * y, z) @ shared[0]
    return product.view(groups, batch, y, shared.shape[-1]).transpose(0, 1)


def _as_added(hidden: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a mask to add to scores; those of padding, which sees nothing at all, stay finite."""
    return torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min / 2)


def pad_left(sequences: Sequence[Sequence[int]], value: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad token ids on the left.

    Returns:
        Ids and attention mask, both (rows, longest), int64.
    """
    width = max(len(s) for s in sequences)
    ids = torch.full((len(sequences), width), value, dtype=torch.long)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, width - len(sequence) :] = torch.tensor(sequence, dtype=torch.long)
        mask[row, width - len(sequence) :] = 1
    return ids, mask
