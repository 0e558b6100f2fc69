"""Batches that are completed token by token: each row by itself, or with what rows share computed once.

Prompts of one template begin with the same worked examples, and all samples of a prompt see the same prompt. Each is
computed and kept once, and attention takes all three together. A prompt of 330 tokens, 290 of them worked examples,
that is completed ten times with 32 tokens takes 40 + 10 * 32 positions so, instead of 10 * 362.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from transformers import DynamicCache, PreTrainedModel

from valign.core.errors import ValignError
from valign.generation.kv_cache import BLOCK, SharedPrefixCache
from valign.generation.prefix_attention import KeysAndValues
from valign.models import attention
from valign.models.packing import supports_custom_masks, to_attention_mask


class DecodingBatch(Protocol):
    """A batch that is being completed, token by token.

    Attributes:
        logits: Of each row's next token, (rows, vocabulary).
    """

    logits: torch.Tensor

    def select_rows(self, rows: torch.Tensor) -> None:
        """Drop all rows but those whose numbers are given."""
        ...

    def append(self, token: torch.Tensor) -> None:
        """Add a token to each row, (rows,), and compute the logits of the next."""
        ...


def can_share_prefix(model: Any) -> bool:
    """Tell whether ``SharedPrefixBatch`` is for a model: grouped attention in every layer, and rotary positions.

    Keys and values of different sizes, as DeepSeek's, are for ``PerRowBatch``.
    """
    is_grouped = model.config._attn_implementation == attention.GROUPED
    return is_grouped and supports_custom_masks(model) and attention.has_equal_heads(model.config)


def shared_prefix_length(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all prompts begin with; each keeps one of its own."""
    first, last = min(map(tuple, prompts)), max(map(tuple, prompts))
    longest = min(map(len, prompts)) - 1
    return next((i for i in range(longest) if first[i] != last[i]), longest)


class PerRowBatch:
    """Each row has its prompt's keys and values, in transformers' own cache; for any model.

    Args:
        model: A causal language model.
        prompts: Token ids of each prompt.
        samples: Completions of each prompt.
        padding: Token id to pad with.

    Raises:
        ValignError: The model, such as Mamba, has no such cache.
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], samples: int, padding: int) -> None:
        if samples > 1 and getattr(model, "_is_stateful", False):  # of a recurrence there is nothing to be repeated
            prompts, samples = [prompt for prompt in prompts for _ in range(samples)], 1
        ids, mask = (t.to(model.device) for t in pad_left(prompts, padding))
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        state = {"attention_mask": mask, "position_ids": positions, "logits_to_keep": _last_position(ids)}
        out: Any = model(ids, **state, use_cache=True)
        self.model, self.cache = model, cast("Any", getattr(out, "past_key_values", None))
        if self.cache is None:
            raise ValignError(
                f"{type(model).__name__} keeps no keys and values, and valign answers with transformers alone; choose "
                "one as base_model.model."
            )
        if samples > 1:
            self.cache.batch_repeat_interleave(samples)
        self.logits = out.logits[:, -1].repeat_interleave(samples, 0)
        self.mask, self.length = mask.repeat_interleave(samples, 0).bool(), mask.shape[1]
        self.position = positions[:, -1:].repeat_interleave(samples, 0)
        self.keeps_masks = supports_custom_masks(model)

    def select_rows(self, rows: torch.Tensor) -> None:
        """Drop all rows but those whose numbers are given."""
        self.mask, self.position = self.mask[rows], self.position[rows]
        self.cache.batch_select_indices(rows)

    def append(self, token: torch.Tensor) -> None:
        """Add a token to each row, (rows,), and compute the logits of the next."""
        self.position = self.position + 1
        self.length += 1
        if self.length > self.mask.shape[1]:
            self.mask = torch.nn.functional.pad(self.mask, (0, BLOCK), value=True)
        seen = self.mask[:, : self.length]
        if self.keeps_masks:  # as it is; of a mask with two dimensions transformers makes such a one, and waits for it
            seen = to_attention_mask(self.model, seen[:, None, None])
        state = {"attention_mask": seen, "position_ids": self.position, "past_key_values": self.cache}
        out: Any = self.model(token[:, None], **state, use_cache=True)
        self.logits = out.logits[:, -1]


class SharedPrefixBatch:
    """What all prompts begin with is computed once, and each prompt once for all its samples.

    For models that ``can_share_prefix`` is true of.

    Args:
        model: A causal language model with the grouped attention.
        prompts: Token ids of each prompt.
        samples: Completions of each prompt.
        padding: Token id to pad with.
        fast: Computes the same in fewer operations, where there is a ``FastDecoder`` for the model; None otherwise.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        samples: int,
        padding: int,
        fast: Callable[[torch.Tensor, torch.Tensor, SharedPrefixCache], torch.Tensor] | None = None,
    ) -> None:
        prefix = shared_prefix_length(prompts)
        ids, mask = (t.to(model.device) for t in pad_left([prompt[prefix:] for prompt in prompts], padding))
        positions = (mask.cumsum(1) - 1).clamp(min=0) + prefix
        shared = _keys_and_values(model, prompts[0][:prefix]) if prefix else []
        self.model, self.fast, self.cache = model, fast, SharedPrefixCache(shared, mask, samples)
        self.logits = self._run(ids, positions).repeat_interleave(samples, 0)
        self.cache.start_rows()
        self.position = positions[:, -1:].repeat_interleave(samples, 0)

    def select_rows(self, rows: torch.Tensor) -> None:
        """Drop all rows but those whose numbers are given."""
        self.position = self.position[rows]
        self.cache.select_rows(rows)

    def append(self, token: torch.Tensor) -> None:
        """Add a token to each row, (rows,), and compute the logits of the next."""
        self.position = self.position + 1
        self.logits = self._run(token[:, None], self.position)
        self.cache.advance()

    def _run(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Run the model; the cache masks by itself, and the mask given here only keeps transformers from making one."""
        if self.fast is not None:
            return self.fast(ids, positions, self.cache)
        state = {"attention_mask": ids.new_zeros(1, 1, 1, 1), "position_ids": positions, "past_key_values": self.cache}
        out: Any = self.model(ids, **state, use_cache=True, logits_to_keep=_last_position(ids))
        logits: torch.Tensor = out.logits[:, -1]
        return logits


def _last_position(ids: torch.Tensor) -> torch.Tensor:
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
