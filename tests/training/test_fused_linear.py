"""On a GPU a linear layer and its adapter are one function: PEFT's numbers, for fewer bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from scripts import load_script

from valign.models.adapters import add_adapter, keep_input_dtype, load_adapter, save_adapter
from valign.models.load import load_model
from valign.models.stacked_adapters import put_below
from valign.training import fused_projections
from valign.training.fused_layers import fuse_linear_layers
from valign.training.fused_projections import zero_adapters_left_out
from valign.training.supervised_logps import supervised_logps

IDS = torch.arange(3, 43).view(2, 20)


def adapted(path: Path, precision: str, below: Path | None = None, filled: bool = True) -> Any:
    """A model with an adapter, perhaps on top of a frozen one."""
    model: Any = add_adapter(load_model(path, precision, attention="sdpa")[0], **tiny.ADAPTER, seed=0)
    if below:
        put_below(model, [below])
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if filled and "lora_B" in name and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(number))
    keep_input_dtype(model)
    return model


def logps(model: Any) -> torch.Tensor:
    mask = torch.ones_like(IDS)
    mask[:, 0] = 0
    return supervised_logps(model, IDS, torch.ones_like(IDS), mask)


@pytest.mark.parametrize("is_stacked", [False, True])
def test_log_probabilities_and_gradients_are_those_of_peft(path: Path, tmp_path: Path, is_stacked: bool) -> None:
    """In float32, alone and on top of a frozen adapter; the frozen one gets no gradient."""
    below = tmp_path / "below" if is_stacked else None
    if below:
        save_adapter(adapted(path, "float32"), below)
    found = []
    for fused in (False, True):
        model = adapted(path, "float32", below)
        assert not fused or fuse_linear_layers(model) == 7 * model.config.num_hidden_layers
        values = logps(model)
        (values * torch.linspace(-1, 1, len(values))).sum().backward()
        found.append([values, *(p.grad for p in model.parameters() if p.requires_grad)])
        assert all(p.grad is None for p in model.parameters() if not p.requires_grad)
    assert len(found[0]) == len(found[1]) > 1
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_an_adapter_that_is_still_zero_is_left_out_of_the_reference(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer operations without gradients, the same log-probabilities bit by bit, in bfloat16; as on a GPU.

    Behind the block adapters are computed again, though a fused optimizer's step leaves no trace in a tensor's version.
    """
    tally = load_script("benchmark/tally.py").Tally
    monkeypatch.setattr(fused_projections, "is_left_out", lambda up: id(up) in fused_projections._zero)
    model = adapted(path, "bfloat16", filled=False)
    fuse_linear_layers(model)
    ups = [p for name, p in model.named_parameters() if "lora_B" in name]
    with torch.autocast("cpu", torch.bfloat16):
        policy = logps(model)
        with torch.no_grad(), zero_adapters_left_out(model), tally() as counted:
            reference = logps(model)
        assert torch.equal(reference, policy.detach())
        assert counted.found["addmm_ n"] == 0
        ups[0].data.copy_(torch.ones_like(ups[0]))
        with torch.no_grad():
            assert not torch.equal(logps(model), reference)
            with zero_adapters_left_out(model):
                assert not torch.equal(logps(model), reference)


def test_a_layer_moves_fewer_bytes(path: Path) -> None:
    """A layer of 64 to 512 with a rank of 4, 256 tokens, bfloat16: six times the output less, forward and back."""
    tally = load_script("benchmark/tally.py").Tally
    found = []
    for fused in (False, True):
        model: Any = torch.nn.Sequential(torch.nn.Linear(64, 512, bias=False, dtype=torch.bfloat16))
        lora: Any = get_peft_model(
            model.requires_grad_(False), LoraConfig(r=4, target_modules=["0"]), autocast_adapter_dtype=True
        )
        keep_input_dtype(lora)
        assert not fused or fuse_linear_layers(lora) == 1
        x = torch.randn(256, 64, dtype=torch.bfloat16, requires_grad=True)
        with tally() as counted, torch.autocast("cpu", torch.bfloat16):
            lora(x).sum().backward()
        assert x.grad is not None
        found.append(counted.found["bytes"])
    output = 256 * 512 * 2
    assert found[0] - found[1] >= 6 * output - 0.25 * output


def test_layers_with_dropout_are_left_as_they_are(path: Path, tmp_path: Path) -> None:
    model: Any = add_adapter(load_model(path, "float32")[0], **tiny.ADAPTER | {"dropout": 0.1}, seed=0)
    assert fuse_linear_layers(model) == 0
    save_adapter(adapted(path, "float32"), tmp_path / "adapter")
    frozen: Any = load_adapter(load_model(path, "float32", attention="sdpa")[0], tmp_path / "adapter")
    before = logps(frozen)
    fuse_linear_layers(frozen)
    torch.testing.assert_close(logps(frozen), before, rtol=1e-4, atol=1e-5)
