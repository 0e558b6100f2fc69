"""Batches: what is in them, and that the plan of a training is fixed by its arguments."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import tiny

from valign.core.errors import ValignError
from valign.models.chat_template import Rendered
from valign.models.random_model import byte_tokenizer
from valign.training.batches import PlannedBatches, collate
from valign.training.examples import EncodedExample, encode_instructions, encode_preferences
from valign.training.plan import Plan, make_plan, redistribute


def example(name: str, length: int = 3) -> EncodedExample:
    return EncodedExample(name, (Rendered((7,) * length, (0,) * (length - 1) + (1,)),))


def test_collate_is_its_docstrings_example() -> None:
    first = EncodedExample("a", (Rendered((1, 2, 3), (0, 1, 1)),))
    second = EncodedExample("b", (Rendered((4, 5), (0, 1)),))
    ids, segments, mask = collate([first, second], 9)
    assert ids.tolist() == [[1, 2, 3], [4, 5, 9]]
    assert segments.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert mask.tolist() == [[0, 1, 1], [0, 1, 0]]
    pair = EncodedExample("c", (Rendered((1, 2, 3, 4), (0, 0, 1, 1)), Rendered((1, 2, 5), (0, 0, 1))))
    assert [part.tolist() for part in collate([pair], 9)] == [[[1, 2, 3, 4, 5]], [[1, 1, 2, 2, 3]], [[0, 0, 1, 1, 1]]]
    ids, segments, mask = collate([pair], 9, share=False)
    assert ids.tolist() == [[1, 2, 3, 4], [1, 2, 5, 9]]
    assert segments.tolist() == [[2, 2, 2, 2], [3, 3, 3, 0]]
    assert mask.tolist() == [[0, 0, 1, 1], [0, 0, 1, 0]]


def test_what_both_answers_begin_with_stands_once() -> None:
    """Answers that differ in their last word alone share the words before it; one may be the other's beginning."""
    chosen, rejected = Rendered((7, 1, 2, 3, 9), (0, 1, 1, 1, 1)), Rendered((7, 1, 2, 9), (0, 1, 1, 1))
    ids, segments, mask = collate([EncodedExample("a", (chosen, rejected))], 0)
    assert ids.tolist() == [[7, 1, 2, 3, 9, 9]]
    assert segments.tolist() == [[1, 1, 1, 2, 2, 3]]
    assert mask.tolist() == [[0, 1, 1, 1, 1, 1]]
    ids, segments, _ = collate([EncodedExample("b", (chosen, Rendered((7, 1, 2), (0, 1, 1))))], 0)
    assert (ids.tolist(), segments.tolist()) == ([[7, 1, 2, 3, 9]], [[1, 1, 1, 2, 2]])


def test_pairs_of_a_row_each_are_chosen_rows_then_rejected_rows() -> None:
    pairs, dropped = encode_preferences(byte_tokenizer(), tiny.preferences(2), "Rules.", 200)
    tokenizer = byte_tokenizer()
    ids, _, mask = collate(pairs, 0, share=False)
    answers = [tokenizer.decode(row[kept.bool()]) for row, kept in zip(ids, mask, strict=True)]
    assert answers == ["Yes<|im_end|>", "Yes!<|im_end|>", "No<|im_end|>", "No?<|im_end|>"]
    assert dropped == 0 and "system\nRules." in tokenizer.decode(ids[0])


def test_a_pair_at_its_pivotal_token_is_the_first_one_that_differs() -> None:
    """Answers: "Rule one holds." and "Rule two is long."; a character is a token, and both begin with "Rule "."""
    row = replace(tiny.preferences(1)[0], chosen="Rule one holds.", rejected="Rule two is long.", verdict="yes")
    tokenizer = byte_tokenizer()
    (pair,), dropped = encode_preferences(tokenizer, [row], None, 200, pivotal=True)
    (whole,), _ = encode_preferences(tokenizer, [row], None, 200)
    chosen, rejected = pair.conversations
    assert tokenizer.decode(chosen.ids).endswith("assistant\nRule o")
    assert tokenizer.decode(rejected.ids).endswith("assistant\nRule t")
    assert chosen.mask == rejected.mask == (0,) * (len(chosen.ids) - 1) + (1,)
    assert chosen.ids == whole.conversations[0].ids[: len(chosen.ids)]
    assert (pair.example_id, dropped) == (row.example_id, 0)
    ids, segments, mask = collate([pair], 0)
    assert (len(ids), segments[0, -2:].tolist(), int(mask.sum())) == (1, [2, 3], 2)
    with pytest.raises(ValignError, match="none of 1 training examples has at most"):
        encode_preferences(tokenizer, [row], None, whole.length - 1, pivotal=True)


def test_pairs_without_a_verdict_have_no_pivotal_token() -> None:
    with pytest.raises(ValignError, match=r"none of the pairs has a verdict, yes or no; set dpo\.tokens=all"):
        encode_preferences(byte_tokenizer(), tiny.preferences(2), None, 200, pivotal=True)


def test_one_answer_that_begins_the_other_differs_in_its_end_token() -> None:
    row = replace(tiny.preferences(1)[0], chosen="Yes", rejected="Yes, sir", verdict="yes")
    tokenizer = byte_tokenizer()
    (pair,), _ = encode_preferences(tokenizer, [row], None, 200, pivotal=True)
    assert [tokenizer.decode(c.ids[-1:]) for c in pair.conversations] == ["<|im_end|>", ","]


def test_long_examples_are_dropped_and_counted() -> None:
    """The question has 7 characters, the answers 6, 16, 26, ...; a mark, a line break and a character are a token each.

    The user turn has 1 + 4 + 1 + 7 + 1 + 1 = 15 tokens, the answer's 1 + 9 + 1 + 6 + 1 = 18 with 6 characters: 33 in
    all, of which 6 and the end token are supervised; the next has 10 more.
    """
    rows = tiny.instructions(5)
    examples, dropped = encode_instructions(byte_tokenizer(), rows, None, 43)
    assert [e.length for e in examples] == [33, 43]
    assert [e.supervised for e in examples] == [7, 17]
    assert dropped == 3
    with pytest.raises(ValignError, match="none of 5 training examples has at most max_length=5"):
        encode_instructions(byte_tokenizer(), rows, None, 5)


def test_an_id_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValignError, match="same example_id"):
        encode_instructions(byte_tokenizer(), tiny.instructions(2) * 2, None, 200)


def test_every_epoch_of_a_plan_holds_every_example_once() -> None:
    """23 examples in steps of 2 x 3 are 4 steps an epoch, the last with 5 examples; 2.5 epochs are 10 steps."""
    plan = make_plan(list(range(23)), 2, 3, 1, 2.5, seed=1)
    assert len(plan) == 10 and all(len(step) == 3 for step in plan)
    seen = Counter(i for step in plan[:8] for part in step for i in part)
    assert seen == dict.fromkeys(range(23), 2)
    assert plan == make_plan(list(range(23)), 2, 3, 1, 2.5, seed=1)
    assert plan != make_plan(list(range(23)), 2, 3, 1, 2.5, seed=2)
    assert plan[:4] != plan[4:8]


def test_a_steps_examples_do_not_depend_on_accumulation_or_devices() -> None:
    def steps(batch_size: int, accumulate: int, world: int) -> list[list[int]]:
        plan = make_plan([i % 7 for i in range(40)], batch_size, accumulate, world, 2, 0)
        return [[i for part in step for i in part] for step in plan]

    assert steps(8, 1, 1) == steps(1, 8, 1) == steps(2, 2, 2)


def test_other_devices_get_the_same_steps_in_batches_that_are_not_larger() -> None:
    """Two batches of two are two that one device accumulates; on four devices there is one example for each."""
    plan: Plan = [[(7, 3), (5, 1)], [(2, 6), (4,)]]
    assert redistribute(plan, 2, 1) == redistribute(plan, 2, 2) == plan
    assert redistribute(plan, 2, 4) == [[(7,), (3,), (5,), (1,)], [(2,), (6,), (4,), ()]]
    assert redistribute(plan, 4, 1) == [[(7, 3, 5, 1)], [(2, 6, 4)]]


def test_steps_hold_examples_of_similar_length() -> None:
    """Within one chunk of 16 steps, sorting leaves each step with consecutive lengths."""
    plan = make_plan(list(range(64)), 4, 1, 1, 1, 0)
    assert all(max(step[0]) - min(step[0]) == 3 for step in plan)


def test_devices_share_a_step_and_one_without_examples_counts_nothing() -> None:
    """Three examples on two devices that accumulate twice: 3 batches of one, and one that only fills its place."""
    examples = [example(f"e{i}", 3 + i) for i in range(3)]
    plan = make_plan([e.length for e in examples], 1, 2, 2, 1, 0)
    ranks = [PlannedBatches(examples, plan, 0, rank, 2) for rank in (0, 1)]
    batches = [batch for rank in ranks for batch in rank.loader()]
    assert sorted(name for b in batches if b.weight for name in b.example_ids) == ["e0", "e1", "e2"]
    assert [b.weight for b in batches] == [1.0, 1.0, 1.0, 0.0]
    assert [b.is_last for b in batches] == [False, True, False, True]
    assert {(b.examples_in_step, b.tokens_in_step, b.batches_in_step) for b in batches} == {(3, 3, 4)}


def test_a_loader_that_begins_later_gives_the_rest() -> None:
    examples = [example(f"e{i}") for i in range(10)]
    batches = PlannedBatches(examples, make_plan([3] * 10, 2, 1, 1, 1, 0), 0)
    rest = batches.loader(3)
    assert len(rest) == 5
    assert [b.example_ids for b in rest] == [batches[3].example_ids, batches[4].example_ids]
