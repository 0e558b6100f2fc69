"""The chunked output layer against one product over all positions, and against numbers derived by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F

from valign.models import logprobs as chunked
from valign.models.adapters import add_adapter
from valign.models.load import load_model, prepare_model
from valign.training.batches import collate
from valign.training.examples import encode_instructions
from valign.training.supervised_logps import supervised_logps

TOKENS, HIDDEN, VOCABULARY = 23, 16, 50


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five positions a chunk, the last of which has three."""
    monkeypatch.setattr(chunked, "CPU_LOGITS", 5 * VOCABULARY + 7)


def layer(bias: bool, trained: bool, dtype: torch.dtype = torch.float32) -> torch.nn.Linear:
    torch.manual_seed(0)
    made = torch.nn.Linear(HIDDEN, VOCABULARY, bias=bias).to(dtype)
    made.requires_grad_(trained)
    return made


def plain(head: torch.nn.Module, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -F.cross_entropy(head(hidden).float(), targets, reduction="none")


def gradients(compute: Any, head: torch.nn.Linear, bfloat16: bool = False) -> dict[str, torch.Tensor]:
    """Return log-probabilities and gradients where each token has a factor of its own, one of them zero."""
    torch.manual_seed(1)
    hidden = torch.randn(TOKENS, HIDDEN, requires_grad=True)
    targets = torch.randint(0, VOCABULARY, (TOKENS,))
    factors = torch.linspace(-2.0, 2.0, TOKENS)
    inner = hidden * 1.0
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logps = compute(head, inner, targets)
    (logps * factors).sum().backward()
    assert hidden.grad is not None and logps.dtype == torch.float32
    found = {"logps": logps.detach(), "hidden": hidden.grad}
    for name, parameter in head.named_parameters():
        if parameter.grad is not None:
            found[name], parameter.grad = parameter.grad, None
    return found


def test_log_probability_and_slope_by_hand() -> None:
    """Logits (ln 3, 0) for the hidden state 1: p = (3/4, 1/4), so logp_0 = ln 3/4 = -0.2876821.

    Its derivative by the hidden state is W^T (onehot - p) = ln 3 (1 - 3/4) + 0 (0 - 1/4) = 0.2746531; a loss of -2 logp
    has twice that with the other sign.
    """
    head = torch.nn.Linear(1, 2, bias=False).requires_grad_(False)
    head.weight.copy_(torch.tensor([[math.log(3)], [0.0]]))
    hidden = torch.ones(1, 1, requires_grad=True)
    logps = chunked.token_logps(head, hidden, torch.tensor([0]))
    (-2 * logps).sum().backward()
    assert logps.item() == pytest.approx(-0.2876821, abs=1e-6)
    assert hidden.grad is not None and hidden.grad.item() == pytest.approx(-0.5493061, abs=1e-6)


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("bias", [False, True], ids=["", "bias"])
def test_chunks_are_the_whole(small_chunks: None, bias: bool, trained: bool) -> None:
    """Values and gradients, the weight's among them, are those of one product within float32's rounding."""
    head = layer(bias, trained)
    whole, parts = gradients(plain, head), gradients(chunked.token_logps, head)
    assert whole.keys() == parts.keys()
    assert ("weight" in parts) == trained and ("bias" in parts) == (trained and bias)
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_chunks_are_the_whole_under_autocast(small_chunks: None, trained: bool, dtype: torch.dtype) -> None:
    """Both round to bfloat16's 8 bits at the same places but one: 2^-7 of the largest gradient is let pass."""
    head = layer(False, trained, dtype)
    whole, parts = (gradients(way, head, bfloat16=True) for way in (plain, chunked.token_logps))
    torch.testing.assert_close(parts["logps"], whole["logps"], rtol=1e-6, atol=1e-6)
    for name, value in whole.items():
        assert parts[name].dtype == value.dtype
        torch.testing.assert_close(parts[name], value, rtol=2**-7, atol=2**-7 * float(value.abs().max()))


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
def test_one_chunk_gives_the_same_bits_forward(trained: bool) -> None:
    head = layer(False, trained)
    whole, one = gradients(plain, head), gradients(chunked.token_logps, head)
    assert torch.equal(whole["logps"], one["logps"])


def test_values_without_gradients_are_the_same_bits(small_chunks: None) -> None:
    """The reference pass and the policy's first one must agree exactly, whether or not gradients are kept."""
    for trained in (False, True):
        head = layer(True, trained)
        torch.manual_seed(1)
        hidden, targets = torch.randn(TOKENS, HIDDEN), torch.randint(0, VOCABULARY, (TOKENS,))
        with_gradients = chunked.token_logps(head, hidden.clone().requires_grad_(), targets)
        with torch.no_grad():
            assert torch.equal(chunked.token_logps(head, hidden, targets), with_gradients)
        assert with_gradients.requires_grad


def test_no_chunk_holds_more_logits_than_it_may(small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    linear = F.linear

    def counting(hidden: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(len(hidden))
        return linear(hidden, *rest)

    monkeypatch.setattr(F, "linear", counting)
    gradients(chunked.token_logps, layer(False, False))
    assert seen == [5, 5, 5, 5, 3]
    seen.clear()
    gradients(chunked.token_logps, layer(False, True))
    assert seen == [5, 5, 5, 5, 3] * 2  # the second time in the backward pass


class Wrapped(torch.nn.Linear):
    """An output layer that does more than its weight says."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Double the logits."""
        return super().forward(input) * 2


def test_an_output_layer_that_is_more_than_a_product_is_called(small_chunks: None) -> None:
    """Of another class, with a hook, with a forward of its own, or sharded: the module's own call counts."""
    hooked, patched, wrapped = layer(False, True), layer(False, True), Wrapped(HIDDEN, VOCABULARY, bias=False)
    hooked.register_forward_hook(lambda module, given, made: made * 2)
    vars(patched)["forward"] = lambda hidden: F.linear(hidden, patched.weight) * 2
    for head in (hooked, patched, wrapped):
        whole, parts = gradients(plain, head), gradients(chunked.token_logps, head)
        assert all(torch.equal(whole[name], parts[name]) for name in whole)
    sharded = layer(False, False)
    sharded.weight.ds_id = 1  # type: ignore[attr-defined]
    assert not chunked._is_plain(sharded) and chunked._is_plain(layer(True, True))


@pytest.mark.parametrize("kind", ["lora", "none", "head"])
def test_a_model_in_chunks_has_the_same_gradients(
    kind: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a frozen output layer, with every weight trained (the embedding is tied to it), and an adapter on it."""
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    base, tokenizer = load_model(path, "float32")
    assert base.config.tie_word_embeddings
    adapter = tiny.ADAPTER | {"kind": "lora" if kind == "head" else kind}
    adapter |= {"target_modules": ".*(q_proj|lm_head)"} if kind == "head" else {}
    model: Any = add_adapter(base, **adapter, seed=0)
    examples, _ = encode_instructions(tokenizer, tiny.instructions(4), None, 200)
    ids, segments, mask = collate(examples, 0)
    found = []
    for limit in (2**24, 7 * 259):
        monkeypatch.setattr(chunked, "CPU_LOGITS", limit)
        logps = supervised_logps(model, ids, segments, mask)
        (logps * torch.linspace(-1, 1, len(logps))).sum().backward()
        trained = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append({"logps": logps.detach(), **trained})
        model.zero_grad()
    assert len(found[0]) > 2
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
