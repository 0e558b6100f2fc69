"""The batches of a training: examples in rows, and each device's batches in the plan's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from valign.models.chat_template import Rendered
from valign.models.packing import CHOSEN, COMMON, REJECTED, Layout
from valign.training.examples import EncodedExample
from valign.training.plan import Plan

LayOut = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Layout]


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
        batches_in_step: Batches of the whole optimizer step, over all devices.
        weight: 1, or 0 for a batch that only fills a device's place.
        is_last: Whether the optimizer steps after it.
        tokens: Its tokens, without padding.
        is_idle: Whether no device has examples in its batch.
        layout: How the model's layers get it; None where that is found out when it is computed.
        reference: In DPO, what the reference says of both answers, (examples, 2); None before that is known.
    """

    ids: torch.Tensor
    segments: torch.Tensor
    mask: torch.Tensor
    example_ids: tuple[str, ...]
    examples_in_step: int
    tokens_in_step: int
    batches_in_step: int
    weight: float
    is_last: bool
    tokens: int
    is_idle: bool = False
    layout: Layout | None = None
    reference: torch.Tensor | None = None


def collate(
    examples: Sequence[EncodedExample], pad: int, share: bool = True
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
        pad: Token id of the padding; its value does not matter, because masks go by length.
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
    """Return ids, segments and mask of conversations in sequence, each from a position on."""
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
        share: Whether a pair is one row, in which the tokens that both answers begin with stand once.
        lay_out: Called with ids, segments and mask of a batch, returns how the model's layers get it; None for nothing.
    """

    def __init__(
        self,
        examples: Sequence[EncodedExample],
        plan: Plan,
        pad: int,
        rank: int = 0,
        world: int = 1,
        share: bool = True,
        lay_out: LayOut | None = None,
    ) -> None:
        self.examples, self.plan, self.pad, self.rank, self.world = examples, plan, pad, rank, world
        self.share, self.lay_out = share, lay_out
        self.gradient_accumulation = len(plan[0]) // world

    def __len__(self) -> int:
        """Return the number of batches of this device."""
        return len(self.plan) * self.gradient_accumulation

    def __getitem__(self, index: int) -> Batch:
        """Return a batch by its place in the training."""
        step = self.plan[index // self.gradient_accumulation]
        everyone = [self.examples[i] for part in step for i in part]
        first = index % self.gradient_accumulation * self.world
        mine = step[first + self.rank]
        examples = [self.examples[i] for i in mine] or [min(everyone, key=lambda e: e.length)]
        ids, segments, mask = collate(examples, self.pad, self.share)
        return Batch(
            ids,
            segments,
            mask,
            example_ids=tuple(e.example_id for e in examples),
            examples_in_step=len(everyone),
            tokens_in_step=sum(e.supervised for e in everyone),
            batches_in_step=len(step),
            weight=float(bool(mine)),
            is_last=(index + 1) % self.gradient_accumulation == 0,
            tokens=int((segments > 0).sum()),
            is_idle=not any(step[first : first + self.world]),
            layout=self.lay_out and self.lay_out(ids, segments, mask),
        )

    def loader(self, start: int = 0, pin_memory: bool = False) -> DataLoader[Batch]:
        """Return a loader that begins at a batch; its length is that of the whole training.

        Args:
            start: Number of the batch.
            pin_memory: Whether batches lie where a GPU can fetch them while the CPU goes on.
        """
        order = _StepSampler(start, len(self))
        return DataLoader(self, batch_size=None, sampler=order, collate_fn=_identity, pin_memory=pin_memory)


def _identity(batch: Any) -> Any:
    return batch


class _StepSampler(Sampler[int]):
    """Counts from ``start`` to ``total``, but says that it is ``total`` long, as Lightning expects after a resume."""

    def __init__(self, start: int, total: int) -> None:
        self.start, self.total = start, total

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.total))

    def __len__(self) -> int:
        return self.total
