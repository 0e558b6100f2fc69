"""Options for a GPU: what they refuse, what they hand to their packages, and that an adapter on 4 bits stays right."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny
import torch
from fake_gpus import show_gpus
from transformers.models.llama import modeling_llama

from valign.core.errors import ValignError
from valign.models import quantization
from valign.models.adapters import add_adapter, keep_input_dtype, load_adapter, merge_adapter, save_adapter
from valign.models.load import load_model, load_quantized
from valign.models.policy import load_policy
from valign.models.stacked_adapters import put_below
from valign.training import fit, kernels
from valign.training.supervised_logps import supervised_logps

IDS = torch.arange(3, 43).view(2, 20)


def adapter_in(folder: Path, model: Any, seed: int) -> Path:
    """Save an adapter that changes something."""
    adapted: Any = add_adapter(model, **tiny.ADAPTER, seed=seed)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(seed))
    save_adapter(adapted, folder)
    return folder


def logps(model: Any) -> torch.Tensor:
    mask = torch.ones_like(IDS)
    mask[:, 0] = 0
    return supervised_logps(model, IDS, torch.ones_like(IDS), mask)


@pytest.mark.parametrize(
    ("given", "device", "message"),
    [
        ({"trainer": {"kernels": "liger"}}, "cpu", r"trainer.kernels=liger needs a GPU to train on"),
        ({"trainer": {"kernels": "liger"}}, "cuda", r"needs the package liger-kernel: pip install -e '\.\[gpu\]'"),
        ({"trainer": {}, "quantization": "nf4"}, "cpu", r"base_model.quantization=nf4 needs a GPU to train on"),
        ({"trainer": {}, "quantization": "nf4"}, "cuda", r"needs the package bitsandbytes: pip install -e"),
    ],
)
def test_what_is_missing_is_said(
    given: dict[str, Any], device: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValignError, match=message):
        kernels.require_packages(tiny.trainer_settings(**given["trainer"]), device, given.get("quantization"))


def test_what_liger_is_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its function for the type of the model, on this model, without its losses; of other types, one line."""
    asked: list[dict[str, Any]] = []

    def patch(
        rope: bool = True, cross_entropy: bool = False, fused_linear_cross_entropy: bool = True, model: Any = None
    ) -> None:
        asked.append({"rope": rope, "losses": (cross_entropy, fused_linear_cross_entropy), "model": model})

    package, module = ModuleType("liger_kernel"), ModuleType("liger_kernel.transformers")
    module.apply_liger_kernel_to_llama = patch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "liger_kernel", package)
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", module)
    model: Any = load_model(path, "float32")[0]
    kernels.apply_kernels(model, ExitStack())
    assert asked == [{"rope": True, "losses": (False, False), "model": model}]
    model.config.model_type = "mamba"
    with pytest.raises(ValignError, match=r"trainer.kernels=liger has no kernels for models of type mamba"):
        kernels.apply_kernels(model, ExitStack())


def test_what_liger_replaces_is_put_back_after_the_training(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It replaces names of transformers' module: while SFT runs, and not for the arms that answer afterwards."""
    own, during = modeling_llama.apply_rotary_pos_emb, list[Any]()

    def rotate(*given: Any, **named: Any) -> Any:
        during.append(given[0].shape)
        return own(*given, **named)

    def patch(rope: bool = True, model: Any = None) -> None:
        vars(modeling_llama)["apply_rotary_pos_emb"] = rotate

    package, module = ModuleType("liger_kernel"), ModuleType("liger_kernel.transformers")
    module.apply_liger_kernel_to_llama = patch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "liger_kernel", package)
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", module)
    monkeypatch.setattr(fit, "require_packages", lambda *given: None)
    monkeypatch.setattr("valign.training.build.fuse_layers", lambda model: None)
    settings = {"epochs": 1}
    tiny.train_sft(tmp_path, path, tiny.instructions(4), settings=settings, trainer={"kernels": "liger"})
    assert during and modeling_llama.apply_rotary_pos_emb is own


@pytest.mark.parametrize(
    ("trainer", "quantization", "capability", "message"),
    [
        ({"attention": "flash_attention_2"}, None, (7, 5), r"flash_attention_2 needs a GPU of compute capability 8\.0"),
        (
            {"kernels": "liger"},
            None,
            (6, 1),
            r"kernels=liger needs a GPU of compute capability 7\.0; this one has 6\.1",
        ),
        (
            {},
            "nf4",
            (5, 2),
            r"quantization=nf4 needs a GPU of compute capability 6\.0; this one has 5\.2: leave it out",
        ),
    ],
)
def test_a_gpu_may_be_too_old(
    trainer: dict[str, Any], quantization: str | None, capability: tuple[int, int], message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: name)
    settings = tiny.trainer_settings(**trainer)
    show_gpus(monkeypatch, "a", (9, 0))
    kernels.require_packages(settings, "cuda", quantization)
    show_gpus(monkeypatch, "a", capability)
    with pytest.raises(ValignError, match=message):
        kernels.require_packages(settings, "cuda", quantization)


def test_what_does_not_compute_in_a_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    flash, plain = tiny.trainer_settings(attention="flash_attention_2"), tiny.trainer_settings()
    show_gpus(monkeypatch, "a", (8, 0))
    kernels.require_precision(torch.bfloat16, flash)
    kernels.require_precision(torch.float32, plain)
    with pytest.raises(ValignError, match=r"flash_attention_2 does not compute in float32: set base_model.precision"):
        kernels.require_precision(torch.float32, flash)
    show_gpus(monkeypatch, "a", (7, 5))
    with pytest.raises(ValignError, match=r"base_model.precision=bfloat16: a GPU has no bfloat16; set it to float32"):
        kernels.require_precision(torch.bfloat16, plain)


def test_what_transformers_is_asked_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """nf4, quantised twice, computing in the model's dtype, on the device at once; answering gets it written out."""
    import transformers

    monkeypatch.setattr(quantization.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(transformers, "BitsAndBytesConfig", dict)
    options = quantization.quantized_loading("nf4", torch.bfloat16, "cuda:1")
    assert options["quantization_config"] == {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": torch.bfloat16,
    }
    assert options["device_map"] == {"": "cuda:1"}
    assert quantization.quantized_loading(None, torch.bfloat16, "cpu") == {}
    monkeypatch.setattr(quantization.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValignError, match=r"quantization=nf4 needs bitsandbytes: pip install -e '\.\[gpu\]'"):
        load_policy(path, [], "float32", quantization="nf4")


def test_inputs_that_are_not_converted_give_the_same(path: Path) -> None:
    """Log-probabilities and gradients of a bfloat16 model's adapter under autocast, bit by bit."""
    found = []
    for converts in (True, False):
        model = tiny.with_adapter(load_model(path, "bfloat16", attention="sdpa")[0])
        if not converts:
            keep_input_dtype(model)
        with torch.autocast("cpu", torch.bfloat16):
            values = logps(model)
        values.sum().backward()
        found.append([values, *(p.grad for p in model.parameters() if p.requires_grad)])
    assert len(found[0]) > 1 and all(map(torch.equal, *found))


def test_an_adapter_on_top_of_a_frozen_one_is_one_on_the_merged_model(path: Path, tmp_path: Path) -> None:
    """At the start, and after the upper one has changed; the upper one alone is trained and saved."""
    first = adapter_in(tmp_path / "first", load_model(path, "float32")[0], 1)
    merged = merge_adapter(load_adapter(load_model(path, "float32")[0], first))
    plain: Any = add_adapter(merged, **tiny.ADAPTER, seed=7)
    stacked: Any = add_adapter(load_model(path, "float32")[0], **tiny.ADAPTER, seed=7)
    put_below(stacked, [first])
    names = [name for name, parameter in stacked.named_parameters() if parameter.requires_grad]
    assert names == [name for name, parameter in plain.named_parameters() if parameter.requires_grad] and names
    for step in range(2):
        torch.testing.assert_close(logps(stacked), logps(plain), rtol=1e-5, atol=1e-5)
        for model in (stacked, plain):
            generator = torch.Generator().manual_seed(step)
            for parameter in (p for p in model.parameters() if p.requires_grad):
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    save_adapter(stacked, tmp_path / "second")
    save_adapter(plain, tmp_path / "same")
    assert sorted(file.name for file in (tmp_path / "second").iterdir()) == sorted(
        file.name for file in (tmp_path / "same").iterdir()
    )
    answering = load_policy(path, [first, tmp_path / "second"], "float32")[0]
    torch.testing.assert_close(logps(answering), logps(plain), rtol=1e-5, atol=1e-5)


def test_adapters_on_four_bits_answer_as_they_were_trained(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the package itself, whose operations a CPU has too: SFT, DPO on top, and both merged for answering.

    DPO starts at ln 2, and what answers is the model in 4 bits with both adapters, not the one in full precision.
    """
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(fit, "require_packages", lambda *given: None)
    folders = [tmp_path / "sft", tmp_path / "dpo"]
    for folder in folders:
        folder.mkdir()
    tiny.train_sft(folders[0], path, tiny.instructions(12), quantization="nf4")
    adapters = [folders[0] / "adapter", folders[1] / "adapter"]
    settings, rows = {"learning_rate": 1e-2}, tiny.preferences(12)
    tiny.train_dpo(folders[1], path, rows, settings=settings, initial=adapters[:1], quantization="nf4")
    assert tiny.curve(folders[1])[0] == pytest.approx(0.693147, abs=1e-4)
    trained: Any = load_quantized(path, torch.float32, False, "cpu", None, "nf4")
    assert "Linear4bit" in {type(module).__name__ for module in trained.modules()}
    trained = add_adapter(trained, **tiny.ADAPTER, seed=0)
    put_below(trained, adapters)
    trained.eval()
    answering = load_policy(path, adapters, "float32", quantization="nf4")[0]
    assert "Linear4bit" not in {type(module).__name__ for module in answering.modules()}
    torch.testing.assert_close(logps(answering), logps(trained), rtol=1e-3, atol=1e-3)
    assert (logps(load_policy(path, adapters, "float32")[0]) - logps(trained)).abs().max() > 1e-2
