"""The plan of a training: all its optimizer steps, and which examples each batch of a step has."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from itertools import pairwise

CHUNK_STEPS = 16  # steps within which examples are sorted by length
MOST_PADDED = 2  # times the tokens of a batch, where its rows are padded

Plan = list[list[tuple[int, ...]]]


def make_plan(
    lengths: Sequence[int], batch_size: int, gradient_accumulation: int, world: int, epochs: float, seed: int
) -> Plan:
    """Lay out a whole training: optimizer steps, and the examples of each of a step's batches.

    Each epoch is shuffled, sorted by length within chunks of 16 steps, cut into steps, and the steps are shuffled. A
    step's examples are distributed over ``gradient_accumulation * world`` batches; batch ``i`` is computed by device
    ``i % world``. The plan depends on the arguments alone, so a training that stopped after k steps goes on at
    ``plan[k:]``.

    Args:
        lengths: Tokens of each example.
        batch_size: Examples a device holds at once.
        gradient_accumulation: Batches of a device in one optimizer step.
        world: Number of devices.
        epochs: Passes over the data; a fraction takes that share of the last epoch's steps.
        seed: Of the shuffling.
    """
    size = batch_size * gradient_accumulation * world
    in_epoch = -(-len(lengths) // size)
    total = max(1, round(epochs * in_epoch))
    plan: Plan = []
    for epoch in range(-(-total // in_epoch)):
        source = random.Random(f"{seed}/{epoch}")
        order = list(range(len(lengths)))
        source.shuffle(order)
        steps: list[list[int]] = []
        for start in range(0, len(order), size * CHUNK_STEPS):
            chunk = sorted(order[start : start + size * CHUNK_STEPS], key=lambda i: lengths[i])
            steps += [chunk[i : i + size] for i in range(0, len(chunk), size)]
        source.shuffle(steps)
        plan += [_distribute(step, gradient_accumulation * world) for step in steps]
    return plan[:total]


def plan_one_step(lengths: Sequence[int], batch_size: int, world: int) -> Plan:
    """Lay everything out as one optimizer step of batches of at most ``batch_size``.

    Args:
        lengths: Tokens of each example.
        batch_size: Examples a device holds at once, at most.
        world: Number of devices.
    """
    return make_plan(lengths, batch_size, -(-len(lengths) // (batch_size * world)), world, 1, 0)


def _distribute(step: list[int], parts: int) -> list[tuple[int, ...]]:
    """Distribute a step's examples over batches whose sizes differ by one at most; a batch may get none.

    ``_distribute([7, 3, 5, 1, 2], 2)`` is ``[(7, 3, 5), (1, 2)]``.
    """
    size, larger = divmod(len(step), parts)
    bounds = [i * size + min(i, larger) for i in range(parts + 1)]
    return [tuple(step[start:end]) for start, end in pairwise(bounds)]


def redistribute(plan: Plan, batch_size: int, world: int) -> Plan:
    """Distribute a plan's steps over another number of devices; each step keeps its examples, and so its loss.

    Args:
        plan: What ``make_plan`` returned for the number of devices on which the training began.
        batch_size: Examples that a device holds at once, at most.
        world: Number of devices that go on.
    """
    largest = max(sum(len(part) for part in step) for step in plan)
    parts = -(-largest // (batch_size * world)) * world
    return [_distribute([i for part in step for i in part], parts) for step in plan]


def fill_batches(plan: Plan, tokens: Sequence[int], batch_tokens: int, world: int) -> Plan:
    """Fill batches by tokens instead of examples; each step keeps its examples, and so its loss.

    A step has the fewest batches, a multiple of ``world``, into which its examples go, the longest first and each into
    the batch with the fewest tokens so far, so that devices have nearly the same to do. With the padding that rows of
    one length take, a batch is at most twice as large. An example of more than ``batch_tokens`` is a batch by itself.
    Lightning wants the same number of batches in every step: those that a step
    does not need are empty on all devices, and come first, because the last one sums the gradients up.

    Args:
        plan: What ``make_plan`` returned, for any number of devices.
        tokens: Tokens that each example adds to a batch.
        batch_tokens: Most tokens in a batch.
        world: Number of devices.
    """
    filled = [_fill([i for part in step for i in part], tokens, batch_tokens, world) for step in plan]
    most = max(map(len, filled))
    return [[()] * (most - len(step)) + step for step in filled]


def _fill(step: Sequence[int], tokens: Sequence[int], batch_tokens: int, world: int) -> list[tuple[int, ...]]:
    """Fill one step's batches, those with the most tokens first.

    >>> _fill([0, 1, 2, 3], [5, 4, 3, 9], batch_tokens=9, world=1)
    [(3,), (1, 2), (0,)]
    >>> _fill([0, 1, 2, 3], [9, 1, 1, 1], batch_tokens=15, world=1)  # and not 4 rows of 9
    [(0,), (1, 2, 3)]
    """
    order = sorted(step, key=lambda i: -tokens[i])
    parts = -(-sum(min(tokens[i], batch_tokens) for i in step) // (batch_tokens * world)) * world
    while True:
        batches: list[list[int]] = [[] for _ in range(parts)]
        filled = [(0, place) for place in range(parts)]  # a heap: the tokens of each batch
        for i in order:
            held, place = heapq.heappop(filled)
            batches[place].append(i)
            heapq.heappush(filled, (held + tokens[i], place))
        padded = [len(batch) * max((tokens[i] for i in batch), default=0) for batch in batches]
        if all(
            len(batches[place]) == 1 or (held <= batch_tokens and padded[place] <= MOST_PADDED * batch_tokens)
            for held, place in filled
        ):
            return [tuple(batches[place]) for _, place in sorted(filled, key=lambda pair: (-pair[0], pair[1]))]
        parts += world
