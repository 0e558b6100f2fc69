"""Adapters of several stages as one, beside a model's weights or in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from random_models import random_model

from valign.core.errors import ValignError
from valign.core.files import read_json, write_json
from valign.models.adapters import ADAPTER_CONFIG, add_adapter, load_adapter, merge_adapter, save_adapter
from valign.models.load import load_model, prepare_model
from valign.models.policy import load_merged, load_policy
from valign.models.stacked_adapters import StackedAdapter, is_stackable, put_below
from valign.training.fused_layers import fuse_layers

IDS = torch.arange(3, 23)[None]


@pytest.fixture
def path() -> Path:
    return Path(prepare_model("tiny"))


def saved(folder: Path, path: Path, size: float, seed: int, **changed: Any) -> Path:
    """Write an adapter of the tiny model whose update is of some size, and return its folder."""
    model: Any = add_adapter(load_model(path, "float32")[0], **tiny.ADAPTER | changed, seed=seed)
    source = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=size, generator=source)
    save_adapter(model, folder)
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits.float()
    return found


def test_the_sum_is_what_the_stages_add(path: Path, tmp_path: Path) -> None:
    """Of other ranks, scales and layers: attached or merged, it gives what PEFT gives, one stage after the other."""
    stages = [
        saved(tmp_path / "sft", path, 0.2, 1),
        saved(tmp_path / "dpo", path, 0.1, 2, rank=2, alpha=3, target_modules=r".*(q|down)_proj"),
    ]
    expected: Any = load_model(path, "float32")[0]
    for stage in stages:
        expected = merge_adapter(load_adapter(expected, stage))
    stacked = StackedAdapter.read(stages)
    assert stacked.rank == 4 + 2
    attached: Any = load_model(path, "float32")[0]
    stacked.attach(attached)
    merged: Any = load_model(path, "float32")[0]
    assert stacked.merge_into(merged) == pytest.approx(1, abs=1e-5)
    assert (logits(expected) - logits(load_model(path, "float32")[0])).abs().max() > 0.05
    for found in (attached, merged):
        torch.testing.assert_close(logits(found), logits(expected), rtol=1e-4, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in attached.parameters())


def test_a_small_update_survives_in_bfloat16(path: Path, tmp_path: Path) -> None:
    """Far below the last digit of the weights: merged, most of it is gone; beside them, a hundredth of it at most.

    What is left of it in the weights is what ``load_merged`` says.
    """
    stages = [saved(tmp_path / "dpo", path, 3e-5, 1)]
    exact: Any = load_model(path, "bfloat16")[0].float()
    base = logits(exact)
    StackedAdapter.read(stages).merge_into(exact)
    change = logits(exact) - base
    model, _ = load_policy(path, stages, "bfloat16")
    assert model.dtype == torch.bfloat16
    found = logits(model.float()) - base
    assert (found - change).norm() < 0.01 * change.norm()
    merged, _, share = load_merged(path, stages, "bfloat16")
    before = load_model(path, "bfloat16")[0].state_dict()
    update = {f"{name}.weight": up @ down for name, (down, up) in StackedAdapter.read(stages).layers.items()}
    left = sum(float(((merged.state_dict()[k].float() - before[k].float()) * d).sum()) for k, d in update.items())
    assert share == pytest.approx(left / sum(float(d.square().sum()) for d in update.values()), rel=1e-4)
    assert share is not None and share < 0.6
    assert (logits(merged.float()) - base - change).norm() > 0.5 * change.norm()


@pytest.mark.parametrize("is_fused", [False, True])
def test_what_is_judged_is_what_was_trained(is_fused: bool, path: Path, tmp_path: Path) -> None:
    """DPO's adapter on SFT's, frozen, in bfloat16: the trained model's logits are those of the arm that answers."""
    sft = saved(tmp_path / "sft", path, 0.1, 1)
    trained: Any = add_adapter(load_model(path, "bfloat16")[0], **tiny.ADAPTER, seed=7)
    put_below(trained, [sft])
    source = torch.Generator().manual_seed(5)
    for name, parameter in trained.named_parameters():
        if "lora_B.default" in name:
            torch.nn.init.normal_(parameter, std=0.02, generator=source)
    save_adapter(trained, tmp_path / "dpo")
    if is_fused:
        assert fuse_layers(trained) == 9
    with torch.autocast("cpu", torch.bfloat16):
        expected = logits(trained)
    found = logits(load_policy(path, [sft, tmp_path / "dpo"], "bfloat16")[0])
    exact: Any = load_model(path, "bfloat16")[0].float()
    StackedAdapter.read([sft, tmp_path / "dpo"]).merge_into(exact)
    scale = logits(exact).norm()
    assert (found - expected).norm() < 0.01 * scale
    assert (expected - logits(exact)).norm() < 0.01 * scale


def test_gradients_with_a_frozen_adapter_below(path: Path, tmp_path: Path) -> None:
    """Fused, they are those of PEFT's layers; the frozen adapter has none."""
    sft = saved(tmp_path / "sft", path, 0.1, 1)
    found = []
    for is_fused in (False, True):
        model: Any = tiny.with_adapter(load_model(path, "float32")[0])
        put_below(model, [sft])
        if is_fused:
            assert fuse_layers(model) == 9
        out = model(IDS).logits
        out.logsumexp(-1).sum().backward()
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        assert grads and all(".default." in name for name in grads)
        found.append([out.detach(), *grads.values()])
    for plain, fused in zip(*found, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))


def test_an_adapter_of_another_model_is_refused(path: Path, tmp_path: Path) -> None:
    stage = saved(tmp_path / "sft", path, 0.1, 1)
    other = random_model("llama")
    with pytest.raises(ValignError, match=r"the adapter belongs to another model: .* has another shape"):
        StackedAdapter.read([stage]).merge_into(other)
    with pytest.raises(ValignError, match="the adapter belongs to another model"):
        StackedAdapter.read([stage]).attach(random_model("llama"))
    with pytest.raises(ValignError, match="holds no adapter"):
        StackedAdapter.read([tmp_path])


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"use_rslora": True}, "use_rslora"), ({"bias": "all"}, "bias")],
)
def test_other_kinds_of_adapters_are_not_summed(
    changed: dict[str, Any], named: str, path: Path, tmp_path: Path
) -> None:
    stage = saved(tmp_path / "sft", path, 0.1, 1)
    assert is_stackable([stage])
    write_json(stage / ADAPTER_CONFIG, read_json(stage / ADAPTER_CONFIG) | changed)
    assert not is_stackable([stage])
    with pytest.raises(ValignError, match=rf"is no plain LoRA of linear layers \({named}\)"):
        StackedAdapter.read([stage])
