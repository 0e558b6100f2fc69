"""Training data: rows to token ids and masks, and the whole training laid out as one list of batches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import PreTrainedTokenizerBase

from valign.core.errors import ValignError
from valign.core.records import Instruction, Message, Preference
from valign.models.chat_template import Rendered, render
from valign.training.losses import CHOSEN, COMMON, REJECTED

CHUNK = 16

Plan = list[list[tuple[int, ...]]]


@dataclass(frozen=True)
class Example:
    """A training example as tokens: one conversation in SFT; chosen and rejected in DPO."""

    example_id: str
    conversations: tuple[Rendered, ...]

    @property
    def length(self) -> int:
        """Tokens of the longest conversation."""
        return max(len(c.ids) for c in self.conversations)

    @property
    def supervised(self) -> int:
        """Supervised tokens of the first conversation (in DPO, the chosen answer)."""
        return sum(self.conversations[0].mask)


class Batch(NamedTuple):
    """What one device computes at once.

    Attributes:
        ids: Token ids, padded on the right, (rows, longest), int64.
        segments: 0 for padding, 1 for a conversation's tokens; in DPO, 1 for tokens that both conversations begin
            with, 2 for the rest of the chosen one, 3 for the rest of the rejected one, (rows, longest), int64.
        mask: 1 where a token is supervised, (rows, longest), int64.
        example_ids: Examples in it; in DPO row ``i`` belongs to example ``i % len(example_ids)``.
        examples_in_step: Examples of the whole optimizer step, over all devices.
        tokens_in_step: Supervised tokens (of chosen answers in DPO) of the whole optimizer step.
        parts: Number of batches of the optimizer step, over all devices.
        weight: 1, or 0 for a batch that only fills a device's place.
        last: Whether the optimizer steps after it.
    """

    ids: torch.Tensor
    segments: torch.Tensor
    mask: torch.Tensor
    example_ids: tuple[str, ...]
    examples_in_step: int
    tokens_in_step: int
    parts: int
    weight: float
    last: bool


def encode_instructions(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Instruction], system_prompt: str | None, max_length: int
) -> tuple[list[Example], int]:
    """Render D_sft; return the examples, and how many were dropped as longer than ``max_length`` tokens.

    Raises:
        ValignError: An id occurs twice, or no example is short enough.
    """
    found = [Example(r.example_id, (_render(tokenizer, system_prompt, r.question, r.answer),)) for r in rows]
    return _short_enough(found, max_length)


def encode_preferences(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Preference], system_prompt: str | None, max_length: int
) -> tuple[list[Example], int]:
    """Render D_pref; return the pairs, and how many were dropped because either answer makes them too long.

    Raises:
        ValignError: An id occurs twice, or no pair is short enough.
    """
    found = []
    for row in rows:
        chosen, rejected = (
            _render(tokenizer, system_prompt, row.question, text) for text in (row.chosen, row.rejected)
        )
        found.append(Example(row.example_id, (chosen, rejected)))
    return _short_enough(found, max_length)


def _render(tokenizer: PreTrainedTokenizerBase, system_prompt: str | None, question: str, answer: str) -> Rendered:
    messages: list[Message] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return render(tokenizer, messages)


def _short_enough(examples: list[Example], max_length: int) -> tuple[list[Example], int]:
    ids = {e.example_id for e in examples}
    if len(ids) < len(examples):
        raise ValignError("two training examples have the same example_id; give each its own.")
    kept = [e for e in examples if e.length <= max_length]
    if not kept:
        raise ValignError(
            f"none of {len(examples)} training examples has at most max_length={max_length} tokens; "
            "raise max_length or make more data."
        )
    return kept, len(examples) - len(kept)


def make_plan(lengths: Sequence[int], batch_size: int, accumulate: int, world: int, epochs: float, seed: int) -> Plan:
    """Lay out a whole training: optimizer steps, and the examples of each of a step's batches.

    Each epoch is shuffled, sorted by length within chunks of 16 steps, cut into steps, and the steps are shuffled. A
    step's examples are dealt to ``accumulate * world`` batches; batch ``i`` is computed by device ``i % world``. The
    plan depends on the arguments alone, so a training that stopped after k steps goes on at ``plan[k:]``.

    Args:
        lengths: Tokens of each example.
        batch_size: Examples a device holds at once.
        accumulate: Batches of a device in one optimizer step.
        world: Number of devices.
        epochs: Passes over the data; a fraction takes that share of the last epoch's steps.
        seed: Of the shuffling.
    """
    size = batch_size * accumulate * world
    in_epoch = -(-len(lengths) // size)
    total = max(1, round(epochs * in_epoch))
    plan: Plan = []
    for epoch in range(-(-total // in_epoch)):
        source = random.Random(f"{seed}/{epoch}")
        order = list(range(len(lengths)))
        source.shuffle(order)
        steps: list[list[int]] = []
        for start in range(0, len(order), size * CHUNK):
            chunk = sorted(order[start : start + size * CHUNK], key=lambda i: lengths[i])
            steps += [chunk[i : i + size] for i in range(0, len(chunk), size)]
        source.shuffle(steps)
        plan += [_deal(step, accumulate * world) for step in steps]
    return plan[:total]


def one_step(lengths: Sequence[int], batch_size: int, world: int) -> Plan:
    """Lay everything out as one optimizer step of batches of at most ``batch_size``; arguments as in ``make_plan``."""
    return make_plan(lengths, batch_size, -(-len(lengths) // (batch_size * world)), world, 1, 0)


def _deal(step: list[int], parts: int) -> list[tuple[int, ...]]:
    """Deal a step's examples to batches whose sizes differ by one at most; a batch may get none.

    ``_deal([7, 3, 5, 1, 2], 2)`` is ``[(7, 3, 5), (1, 2)]``.
    """
    size, larger = divmod(len(step), parts)
    bounds = [i * size + min(i, larger) for i in range(parts + 1)]
    return [tuple(step[start:end]) for start, end in pairwise(bounds)]


def deal_again(plan: Plan, batch_size: int, world: int) -> Plan:
    """Deal a plan's steps to another number of devices; each step keeps its examples, and so its loss.

    Args:
        plan: What ``make_plan`` returned for the number of devices that a training was begun on.
        batch_size: Examples that a device holds at once, at most.
        world: Number of devices that go on.
    """
    largest = max(sum(len(part) for part in step) for step in plan)
    parts = -(-largest // (batch_size * world)) * world
    return [_deal([i for part in step for i in part], parts) for step in plan]


def collate(
    examples: Sequence[Example], pad: int, share: bool = True
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lay conversations out in rows, padded on the right.

    With the conversations ``ids (1, 2, 3), mask (0, 1, 1)`` and ``ids (4, 5), mask (0, 1)``, and ``pad`` 9::

        ids         [[1, 2, 3], [4, 5, 9]]
        segments    [[1, 1, 1], [1, 1, 0]]
        mask        [[0, 1, 1], [0, 1, 0]]

    A pair of the chosen ``ids (1, 2, 3, 4), mask (0, 0, 1, 1)`` and the rejected ``ids (1, 2, 5), mask (0, 0, 1)`` is
    one row, in which the two tokens that they begin with stand once::

        ids         [[1, 2, 3, 4, 5]]
        segments    [[1, 1, 2, 2, 3]]
        mask        [[0, 0, 1, 1, 1]]

    Args:
        examples: At least one; all with the same number of conversations, one or two.
        pad: Token id of the padding; what it is does not matter, because masks go by length.
        share: Whether a pair is one row; otherwise every pair's chosen conversation is a row, then every pair's
            rejected one, with the segments 2 and 3.

    Returns:
        Ids, segments and supervised mask, each (rows, longest), int64.
    """
    if len(examples[0].conversations) == 1:
        rows = [_row([(e.conversations[0], COMMON, 0)]) for e in examples]
    elif share:
        rows = [_shared_row(*e.conversations) for e in examples]
    else:
        sides = enumerate((CHOSEN, REJECTED))
        rows = [_row([(e.conversations[turn], segment, 0)]) for turn, segment in sides for e in examples]
    width = max(len(ids) for ids, _, _ in rows)
    ids, segments, mask = (
        torch.tensor([[*row[i], *[padding] * (width - len(row[i]))] for row in rows])
        for i, padding in enumerate((pad, 0, 0))
    )
    return ids, segments, mask


def _shared_row(chosen: Rendered, rejected: Rendered) -> tuple[list[int], list[int], list[int]]:
    both = zip(zip(chosen.ids, chosen.mask, strict=True), zip(rejected.ids, rejected.mask, strict=True), strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
    head = Rendered(chosen.ids[:common], chosen.mask[:common])
    return _row([(head, COMMON, 0), (chosen, CHOSEN, common), (rejected, REJECTED, common)])


def _row(parts: Sequence[tuple[Rendered, int, int]]) -> tuple[list[int], list[int], list[int]]:
    """Return ids, segments and mask of conversations one behind the other, each from a position on."""
    ids = [token for part, _, start in parts for token in part.ids[start:]]
    segments = [segment for part, segment, start in parts for _ in part.ids[start:]]
    return ids, segments, [value for part, _, start in parts for value in part.mask[start:]]


class PlannedBatches(Dataset[Batch]):
    """The batches of one device, from the first optimizer step to the last.

    Args:
        examples: All examples.
        plan: What ``make_plan`` returned.
        pad: Token id of the padding.
        rank: This device.
        world: Number of devices.
        share: As in ``collate``.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        plan: Plan,
        pad: int,
        rank: int = 0,
        world: int = 1,
        share: bool = True,
    ) -> None:
        """Keep what the batches are made from."""
        self.examples, self.plan, self.pad, self.rank, self.world = examples, plan, pad, rank, world
        self.share = share
        self.accumulate = len(plan[0]) // world

    def __len__(self) -> int:
        """Return the number of batches of this device."""
        return len(self.plan) * self.accumulate

    def __getitem__(self, index: int) -> Batch:
        """Return a batch by its place in the training."""
        step = self.plan[index // self.accumulate]
        everyone = [self.examples[i] for part in step for i in part]
        mine = step[index % self.accumulate * self.world + self.rank]
        examples = [self.examples[i] for i in mine] or everyone[:1]
        return Batch(
            *collate(examples, self.pad, self.share),
            example_ids=tuple(e.example_id for e in examples),
            examples_in_step=len(everyone),
            tokens_in_step=sum(e.supervised for e in everyone),
            parts=len(step),
            weight=float(bool(mine)),
            last=(index + 1) % self.accumulate == 0,
        )

    def loader(self, start: int = 0) -> DataLoader[Batch]:
        """Return a loader that begins at a batch; its length is that of the whole training."""
        return DataLoader(self, batch_size=None, sampler=_From(start, len(self)), collate_fn=_unchanged)


def _unchanged(batch: Any) -> Any:
    return batch


class _From(Sampler[int]):
    """Counts from ``start`` to ``total``, and calls itself ``total`` long, as Lightning expects after a resume."""

    def __init__(self, start: int, total: int) -> None:
        self.start, self.total = start, total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))

    def __len__(self) -> int:
        return self.total
