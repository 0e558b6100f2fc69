"""Layers in fewer operations give the numbers and gradients of PyTorch's own way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from random_models import random_model
from trainings import DPO, SFT, both, distances, require_equal

from valign.models import attention
from valign.models.load import load_model, prepare_model
from valign.training.activation_checkpointing import checkpoint_activations
from valign.training.batches import collate
from valign.training.examples import EncodedExample
from valign.training.fused_layers import fuse_layers
from valign.training.supervised_logps import supervised_logps

ALL = 2 * 4 + 1  # two norms, attention and the feed-forward layer of each of two layers, and the last norm


def plain_and_fused(kind: str, examples: list[EncodedExample], bfloat16: bool = False, **changed: Any) -> Any:
    """Return log-probabilities and gradients with padding, and packed, of the plain model and of the fused one."""
    model = tiny.with_adapter(random_model(kind), **changed)
    model = model.to(torch.bfloat16) if bfloat16 else model
    for parameter in model.parameters():
        parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
    inputs = collate(examples, 0)
    plain = both(model, inputs, bfloat16)
    assert fuse_layers(model) == ALL
    return plain, both(model, inputs, bfloat16)


@pytest.mark.parametrize("examples", [SFT, DPO], ids=["sft", "dpo"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
def test_numbers_and_gradients_stay(kind: str, examples: list[EncodedExample]) -> None:
    """To 1e-5 of the largest gradient in float32, padded and packed; in bfloat16 as near to it as the plain model."""
    plain, fused = plain_and_fused(kind, examples)
    for one, other in zip(plain, fused, strict=True):
        require_equal([one, other], 1e-4)
    rounded, rounded_fused = plain_and_fused(kind, examples, bfloat16=True)
    for exact, one, other in zip(plain, rounded, rounded_fused, strict=True):
        usual, found = distances(one, exact), distances(other, exact)
        assert 0 < usual[0] < 0.2 and 0 < usual[1] < 0.02
        assert found[0] < 1.5 * usual[0] and found[1] < 1.5 * usual[1]


@pytest.mark.parametrize("examples", [SFT, DPO], ids=["sft", "dpo"])
def test_long_rows_attend_otherwise(examples: list[EncodedExample], monkeypatch: pytest.MonkeyPatch) -> None:
    """By PyTorch's own kernel: the same to 1e-4, plain and fused, padded and packed; packed SFT needs no mask."""
    short, _ = plain_and_fused("llama", examples)
    kernel, calls = torch.nn.functional.scaled_dot_product_attention, []

    def recorded(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(kwargs["is_causal"])
        return kernel(*args, **kwargs)

    monkeypatch.setattr(attention, "LONG_QUERIES", 4)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    for found in plain_and_fused("llama", examples):
        for one, other in zip(short, found, strict=True):
            require_equal([one, other], 1e-4)
    layers, packed = 2, examples is SFT
    assert calls == ([False] * layers + [packed] * layers) * 2


@pytest.mark.parametrize("target", [".*(q_proj|down_proj)", ".*layers.1.*(gate_proj|o_proj)"])
def test_layers_with_and_without_adapters(target: str) -> None:
    """The first layer's input asks for no gradient, nor do layers without an adapter have any."""
    plain, fused = plain_and_fused("llama", SFT, target_modules=target, rank=2)
    for one, other in zip(plain, fused, strict=True):
        assert one.keys() == other.keys() and len(one) > 4
        for name, value in one.items():
            torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-6)


def test_layers_computed_again() -> None:
    model = tiny.with_adapter(random_model("llama"))
    inputs = collate(SFT, 0)
    plain = both(model, inputs)
    assert fuse_layers(model) == ALL
    checkpoint_activations(model)
    for one, other in zip(plain, both(model, inputs), strict=True):
        require_equal([one, other], 1e-4)


def test_what_is_left_as_it_is() -> None:
    """Dropout on an adapter's input leaves the norms; trained weights, other attention and other models leave more."""
    assert fuse_layers(tiny.with_adapter(random_model("llama"), dropout=0.1)) == 5
    assert fuse_layers(tiny.with_adapter(random_model("llama", attention_dropout=0.1))) == ALL - 2
    assert fuse_layers(tiny.with_adapter(random_model("llama", attn_implementation="sdpa"))) == ALL - 2
    assert fuse_layers(tiny.with_adapter(random_model("llama", hidden_act="gelu"))) == ALL - 2
    assert fuse_layers(random_model("llama").requires_grad_(True)) == 0
    assert fuse_layers(tiny.with_adapter(random_model("gemma2"))) == 0
    hooked = tiny.with_adapter(random_model("llama"))
    hooked.get_base_model().model.layers[0].self_attn.q_proj.register_forward_hook(lambda *_: None)
    hooked.get_base_model().model.norm.register_forward_hook(lambda *_: None)
    assert fuse_layers(hooked) == ALL - 2


def test_a_cache_is_kept_to() -> None:
    """What was computed before is attended to, as by the plain model."""
    model = tiny.with_adapter(random_model("llama"))
    base, ids = model.get_base_model(), torch.arange(12)[None]

    def last_states() -> torch.Tensor:
        begun = base.model(ids[:, :7], use_cache=True)
        states: torch.Tensor = base.model(ids[:, 7:], past_key_values=begun.past_key_values).last_hidden_state
        return states

    with torch.no_grad():
        plain = last_states()
        assert fuse_layers(model) == ALL
        torch.testing.assert_close(last_states(), plain)


def test_trainings_compute_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both stages' losses are those of a training with nothing fused, and their model is fused."""
    path = prepare_model("tiny", tmp_path / "cache")
    assert isinstance(path, Path)
    assert fuse_layers(tiny.with_adapter(load_model(path, "float32")[0])) > 0
    found: list[int] = []
    monkeypatch.setattr("valign.training.build.fuse_layers", lambda model: found.append(fuse_layers(model)))
    fused = tiny.curves_without_and_with("padding_free", path, tmp_path / "fused")
    assert len(found) == 4 and all(found)
    monkeypatch.setattr("valign.training.build.fuse_layers", lambda model: 0)
    plain = tiny.curves_without_and_with("padding_free", path, tmp_path / "plain")
    for one, other in zip(fused, plain, strict=True):
        assert one[0] == pytest.approx(other[0], rel=1e-4) and one[1] == pytest.approx(other[1], rel=1e-4)


def test_log_probabilities_without_gradients() -> None:
    model = tiny.with_adapter(random_model("qwen2"))
    inputs = collate(DPO, 0)
    with torch.no_grad():
        plain = supervised_logps(model, *inputs)
        assert fuse_layers(model) == ALL
        torch.testing.assert_close(supervised_logps(model, *inputs), plain)
