"""Attention to keys that several rows share: a prefix of the whole batch, then prompts, then each row's own tokens.

Scores of one query against all three are put side by side, so that one softmax covers them. What is shared is read once
for all its rows: a prefix in one matrix product for the batch, a prompt in one for all of its samples (as in Hydragen;
Juravsky et al., 2024, arXiv:2402.05099).
"""

from __future__ import annotations

import torch

SCORES = 2**20  # attention scores that are computed at once, few enough for a processor's cache

KeysAndValues = tuple[torch.Tensor, torch.Tensor]


def attend_prompts(
    query: torch.Tensor, prefix: KeysAndValues, prompts: KeysAndValues, mask: torch.Tensor
) -> torch.Tensor:
    """Attend from the prompts' tokens to the prefix and to the prompts themselves.

    Args:
        query: Scaled, (prompts, heads, positions, head size).
        prefix: Keys and values, each (1, key-value heads, prefix, head size).
        prompts: Keys and values, each (prompts, key-value heads, positions, head size).
        mask: Added to the scores after the prefix's, (prompts, 1, 1, positions, positions).

    Returns:
        (prompts, positions, heads, head size).
    """
    (key, value), (shared_key, shared_value) = prompts, prefix
    (heads, width, size), groups, shared_width = query.shape[1:], key.shape[1], shared_key.shape[2]
    few = max(1, SCORES // (heads * width * (shared_width + width)))
    found = []
    for part, k, v, added in zip(*(x.split(few) for x in (query, key, value, mask)), strict=True):
        count = len(part)
        q = part.reshape(count, groups, -1, size)
        scores = torch.cat([_multiply_shared(q, shared_key.transpose(-1, -2)), q @ k.transpose(-1, -2)], -1)
        scores = scores.view(count, groups, -1, width, shared_width + width)
        scores[..., shared_width:] += added
        weights = scores.softmax(-1).view(count, groups, -1, shared_width + width)
        shared, own = weights.split([shared_width, width], -1)
        output = (own @ v).add_(_multiply_shared(shared, shared_value))
        found.append(output.view(count, heads, width, size).transpose(1, 2))
    return torch.cat(found)


def attend_rows(
    query: torch.Tensor,
    prefix: KeysAndValues,
    prompts: KeysAndValues,
    rows: KeysAndValues,
    mask: torch.Tensor,
    slots: torch.Tensor,
    samples: int,
) -> torch.Tensor:
    """Attend from one token of each row to the prefix, the row's prompt and the row's own tokens.

    Args:
        query: Scaled, (rows, heads, 1, head size).
        prefix: Keys and values, each (1, key-value heads, prefix, head size).
        prompts: Keys and values, each (prompts, key-value heads, positions, head size).
        rows: Keys and values, each (slots, key-value heads, positions, head size), with ``samples`` slots a prompt.
        mask: Added to the scores after the prefix's, (slots, 1, 1, positions of prompt and row).
        slots: The slot of each row, (rows,); the others are idle.
        samples: Slots of each prompt.

    Returns:
        (rows, 1, heads, head size).
    """
    (key, value), (shared_key, shared_value), (own_key, own_value) = prompts, prefix, rows
    count, heads, _, size = query.shape
    places, groups = own_key.shape[:2]
    query = query.reshape(count, groups, -1, size)
    if count < places:  # idle slots compute along, so that a prompt's samples stay one product
        query = query.new_zeros(places, *query.shape[1:]).index_copy(0, slots, query)
    scores = [_multiply_shared(query, shared_key.transpose(-1, -2)), query @ own_key.transpose(-1, -2)]
    if prompt_width := key.shape[2]:
        scores.insert(1, _by_slot(_by_prompt(query, samples) @ key.transpose(-1, -2), samples))
    together, shared_width = torch.cat(scores, -1), shared_key.shape[2]
    together[..., shared_width:] += mask
    shared, of_prompt, own = together.softmax(-1).split([shared_width, prompt_width, own_key.shape[2]], -1)
    output = own @ own_value
    if prompt_width:
        output += _by_slot(_by_prompt(of_prompt, samples) @ value, samples)
    output += _multiply_shared(shared, shared_value)
    output = output if count == places else output[slots]
    return output.reshape(count, 1, heads, size)


def _by_prompt(x: torch.Tensor, samples: int) -> torch.Tensor:
    """Turn (slots, groups, heads of a group, x) into (prompts, groups, samples * heads of a group, x)."""
    slots, groups, _, last = x.shape
    by_sample = x.reshape(slots // samples, samples, groups, -1, last)
    return by_sample.transpose(1, 2).reshape(slots // samples, groups, -1, last)


def _by_slot(x: torch.Tensor, samples: int) -> torch.Tensor:
    """Undo ``_by_prompt``."""
    prompts, groups, _, last = x.shape
    return x.view(prompts, groups, samples, -1, last).transpose(1, 2).reshape(prompts * samples, groups, -1, last)


def _multiply_shared(x: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
    """Multiply (batch, groups, y, z) by what the whole batch shares, (1, groups, z, last), in one product a group."""
    batch, groups, y, z = x.shape
    product = x.transpose(0, 1).reshape(groups, batch * y, z) @ shared[0]
    return product.view(groups, batch, y, shared.shape[-1]).transpose(0, 1)
