"""What prompts and samples share is computed once, and the logits stay those of rows that hold everything."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from valign.generation.decoding_batch import PerRowBatch, SharedPrefixBatch, can_share_prefix, shared_prefix_length
from valign.generation.generator import Generator
from valign.generation.requests import Request, Sampling
from valign.models.chat_template import render_conversation
from valign.models.load import load_model, prepare_model

EXAMPLES = ({"role": "user", "content": "Rule: Bread until noon."}, {"role": "assistant", "content": "When is bread?"})
RULES = ("Dogs on a lead.", "No bonfires on the beach between April and July.", "A vote each.", "Keys cost eleven.")


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any]:
    return load_model(prepare_model("tiny"), "float32")


def prompts_of(tokenizer: Any, count: int = 4) -> list[tuple[int, ...]]:
    conversations = [(*EXAMPLES, {"role": "user", "content": f"Rule: {rule}"}) for rule in RULES[:count]]
    return [render_conversation(tokenizer, conversation).ids for conversation in conversations]  # type: ignore[arg-type]


def test_shared_length_by_hand() -> None:
    """The last token of the shortest prompt stays its own, whose logits are asked for."""
    assert shared_prefix_length([[1, 2, 3, 4], [1, 2, 5]]) == 2
    assert shared_prefix_length([[1, 2, 3], [1, 2, 3, 4]]) == 2
    assert shared_prefix_length([[1, 2, 3]]) == 2
    assert shared_prefix_length([[1], [2, 1]]) == 0


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("shift", [0, 1])
def test_logits_are_those_of_whole_rows(tiny: tuple[Any, Any], samples: int, shift: int) -> None:
    """Over twelve steps in which rows leave, with and without a common beginning; both ways within 1e-4 of each other.

    Rows leave from everywhere, so that slots are given up and laid out anew.
    """
    model, tokenizer = tiny
    prompts = [(*((i,) * shift), *prompt) for i, prompt in enumerate(prompts_of(tokenizer), start=70)]
    assert (shared_prefix_length(prompts) > 40) == (shift == 0)
    source = torch.Generator().manual_seed(samples)
    slots = set()
    with torch.inference_mode():
        branching = SharedPrefixBatch(model, prompts, samples, 0)
        repeating = PerRowBatch(model, prompts, samples, 0)
        for _ in range(12):
            torch.testing.assert_close(branching.logits, repeating.logits, atol=1e-4, rtol=1e-4)
            rows = len(repeating.logits)
            kept = torch.randperm(rows, generator=source)[: max(1, rows - 2)].sort().values
            token = torch.randint(3, 200, (len(kept),), generator=source)
            for state in (branching, repeating):
                state.select_rows(kept)
                state.append(token)
            slots.add(len(branching.cache.rows[0][0]))
    assert len(slots) > 1
    assert branching.cache.get_seq_length() == repeating.cache.get_seq_length()


def test_completions_do_not_depend_on_the_cache(tiny: tuple[Any, Any]) -> None:
    """Sampled with temperature, openings and several samples: both caches give the same texts."""
    model, tokenizer = tiny
    openings = ("Who", "", "What is")
    sampling = [Sampling(n=3, temperature=0.8, top_p=0.9, max_new_tokens=14, seed=i) for i in range(len(RULES))]
    requests = [
        Request((*EXAMPLES, {"role": "user", "content": rule}), s, openings)  # type: ignore[arg-type]
        for rule, s in zip(RULES, sampling, strict=True)
    ]
    branching, repeating = (Generator(model, tokenizer, "tiny@1") for _ in range(2))
    assert branching.shares_prefix
    vars(repeating)["shares_prefix"] = False
    assert branching.complete(requests) == repeating.complete(requests)


@pytest.mark.parametrize("kind", ["branching", "repeating"])
def test_the_vocabulary_is_not_copied_for_each_row(tiny: tuple[Any, Any], kind: str) -> None:
    """PyTorch's linear layer does so, without a word, for states that are a slice of longer rows."""
    model, tokenizer = tiny
    prompts, seen = prompts_of(tokenizer), []
    hook = model.lm_head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        with torch.inference_mode():
            state = (SharedPrefixBatch if kind == "branching" else PerRowBatch)(model, prompts, 2, 0)
            state.append(torch.full((8,), 5))
    finally:
        hook.remove()
    assert [(tuple(states.shape[:2]), states.is_contiguous()) for states in seen] == [((4, 1), True), ((8, 1), True)]


def test_requests_join_those_that_begin_alike(tiny: tuple[Any, Any]) -> None:
    """Two templates make two groups; sharing fits more prompts into as many positions than whole rows do."""
    model, tokenizer = tiny
    other = ({"role": "user", "content": "Tell me a story about bread and noon."}, EXAMPLES[1])
    sampling = Sampling(n=4, max_new_tokens=8)
    requests = [
        Request((*start, {"role": "user", "content": rule}), sampling)  # type: ignore[arg-type]
        for rule in RULES
        for start in (EXAMPLES, other)
    ]
    sharing, whole = (Generator(model, tokenizer, "tiny@1", batch_tokens=600) for _ in range(2))
    vars(whole)["shares_prefix"] = False
    groups = sharing.batches(requests)
    assert sorted(sorted(group) for group in groups) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert len(whole.batches(requests)) > 2


def test_another_attention_keeps_whole_rows(tiny: tuple[Any, Any]) -> None:
    model, _ = tiny
    assert can_share_prefix(model)
    model.set_attn_implementation("sdpa")
    try:
        assert not can_share_prefix(model)
    finally:
        model.set_attn_implementation("valign_grouped")
