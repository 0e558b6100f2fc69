"""Generation in fewer operations gives the logits of the model's own forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from random_models import random_model

from valign.generation import decoder
from valign.generation.decoder import FastDecoder, can_decode
from valign.generation.decoding_batch import SharedPrefixBatch
from valign.generation.generator import Generator
from valign.models.load import load_model, prepare_model

PROMPTS = [[5, 6, 7, 8, 9, 10], [5, 6, 7, 20], [5, 6, 7, 30, 31]]
STEPS = 20  # more than a block of the cache


def logits_of(model: Any, samples: int, fast: bool) -> torch.Tensor:
    """Return the logits of all steps, (steps, rows, vocabulary), while rows leave; tokens are always the same."""
    source = torch.Generator().manual_seed(samples)
    found = []
    with torch.inference_mode():
        state = SharedPrefixBatch(model, PROMPTS, samples, 0, FastDecoder(model) if fast else None)
        for step in range(STEPS):
            found.append(state.logits[-1].float())
            rows = len(state.logits)
            kept = torch.arange(1 if step in (3, 5) and rows > 1 else 0, rows)
            state.select_rows(kept)
            state.append(torch.randint(3, 60, (len(kept),), generator=source))
    return torch.stack(found)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
def test_logits_stay(kind: str, samples: int) -> None:
    """In float32 within 1e-4; in bfloat16, with the weights in another order, as near to them as the plain model.

    Biases of Qwen2 are not zero, and prompts share three tokens.
    """
    model = random_model(kind, sliding_window=None)
    exact = logits_of(model, samples, fast=False)
    torch.testing.assert_close(logits_of(model, samples, fast=True), exact, rtol=1e-4, atol=1e-4)
    rounded = model.to(torch.bfloat16)
    usual = (logits_of(rounded, samples, fast=False) - exact).norm()
    assert 0 < (logits_of(rounded, samples, fast=True) - exact).norm() < 1.5 * usual


def adapted(kind: str) -> Any:
    """Return a model with frozen adapters, of which one layer has none."""
    model = tiny.with_adapter(random_model(kind, sliding_window=None), target_modules=r".*(0.*|[qvogu]\w*)_proj")
    return model.requires_grad_(False).get_base_model()


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_logits_of_adapters_stay(kind: str) -> None:
    """As without: what adapters of layers with one input add is one product, in the place of each layer."""
    model = adapted(kind)
    exact = logits_of(model, 2, fast=False)
    assert (exact - logits_of(random_model(kind, sliding_window=None), 2, fast=False)).abs().max() > 0.1
    assert can_decode(model)
    torch.testing.assert_close(logits_of(model, 2, fast=True), exact, rtol=1e-4, atol=1e-4)
    rounded = model.to(torch.bfloat16)
    usual = (logits_of(rounded, 2, fast=False) - exact).norm()
    assert 0 < (logits_of(rounded, 2, fast=True) - exact).norm() < 1.5 * usual


@pytest.mark.parametrize(("name", "value"), [("MOST_BYTES", 100), ("can_reorder_weights", lambda: False)])
def test_weights_that_are_large_or_that_onednn_refuses_are_not_copied(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model("llama").to(torch.bfloat16)
    copied = logits_of(model, 1, fast=True)
    monkeypatch.setattr(decoder, name, value)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
    kept = logits_of(model, 1, fast=True)
    torch.testing.assert_close(kept, copied, rtol=0.1, atol=0.1)


def test_adapters_in_training_and_other_families_keep_their_own_way() -> None:
    assert can_decode(random_model("llama"))
    assert not can_decode(tiny.with_adapter(random_model("llama")))
    assert not can_decode(tiny.with_adapter(random_model("llama")).get_base_model())
    assert not can_decode(random_model("gemma"))
    assert not can_decode(random_model("llama", hidden_act="gelu"))
    assert not can_decode(random_model("llama").requires_grad_(True))


def test_a_generator_takes_it() -> None:
    model, tokenizer = load_model(prepare_model("tiny"), "float32")
    assert isinstance(Generator(model, tokenizer, "tiny@1").fast_decoder, FastDecoder)
