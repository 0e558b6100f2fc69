"""The experiments for large models: what they ask for, and one GPU's from the data to answers, with a tiny Mistral."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scaled
import tiny
from omegaconf import DictConfig

from valign.config import checks
from valign.pipeline.context import Context
from valign.training import fit

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scaled.write_tiny_mistral(tmp_path_factory.mktemp("mistral"))


@pytest.mark.parametrize(
    ("name", "strategy", "stage", "world"),
    [
        ("udhr_mistral", "ddp", 0, 4),
        ("paper", "ddp", 0, 4),
        ("scale_7b_24gb", "auto", 0, 1),
        ("scale_7b_80gb", "auto", 0, 1),
        ("scale_7b_8x80gb", "ddp", 0, 8),
        ("scale_70b_4x8x80gb", "deepspeed", 3, 32),
    ],
)
def test_what_they_ask_for(name: str, strategy: str, stage: int, world: int, compose_config: Compose) -> None:
    """Adapters of a 7B model under DDP, ZeRO-3 for what does not fit; 32 examples a step; rates of a 7B model."""
    cfg = compose_config(f"+experiment={name}")
    checks.check_config(cfg)
    settings = Context.of(cfg).settings
    trainer = settings.trainer
    assert (trainer.strategy, trainer.zero_stage, trainer.world_size) == (strategy, stage, world)
    for training in (settings.sft, settings.dpo):
        assert training.batch_size * training.accumulate * world == 32
    assert (settings.sft.learning_rate, settings.dpo.learning_rate, settings.dpo.beta) == (1e-4, 5e-6, 0.1)
    assert not settings.adapter.is_full


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("scale_7b_24gb", []),
        ("scale_7b_80gb", []),
        ("scale_7b_24gb", ["base_model.quantization=nf4"]),
    ],
    ids=["24gb", "80gb", "24gb-nf4"],
)
def test_one_gpus_go_to_the_last_stage(
    name: str, more: list[str], base: Path, compose_config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16, and in 4 bits where bitsandbytes is, which has its operations for a CPU too."""
    if more:
        modules = pytest.importorskip("bitsandbytes.nn.modules")
        monkeypatch.setattr(fit, "require_packages", lambda *given: None)
        # a CPU's own way of computing in 4 bits has no gradient, and no GPU takes it
        monkeypatch.setattr(modules, "has_avx512bf16", lambda: False)
    context = Context.of(compose_config(*scaled.on_cpu(name, base, 1), *more))
    found: dict[str, Any] = scaled.go_to_last_stage(context, tmp_path)
    assert {stage: counts["steps"] for stage, counts in found["counts"].items()} == {"sft": 2, "dpo": 2}
    assert found["counts"]["sft"]["precision"] == "bfloat16"
    assert tiny.curve(tmp_path / "dpo", "margin")[0] == pytest.approx(0, abs=1e-6)
    if more:  # gradients through 4 bits are those of 16, nearly
        (tmp_path / "whole").mkdir()
        scaled.go_to_last_stage(Context.of(compose_config(*scaled.on_cpu(name, base, 1))), tmp_path / "whole")
        for stage in ("sft", "dpo"):
            norm, whole = (tiny.curve(folder / stage, "grad_norm")[0] for folder in (tmp_path, tmp_path / "whole"))
            assert 0.8 < norm / whole < 1.25, (stage, norm, whole)
    assert [answer.arm for answer in found["answers"]] == ["sft_dpo"] * 2
    assert all(Path(folder, "adapter_model.safetensors").is_file() for folder in found["weights"])
