"""The strategy of a trainer, and the schedule of its learning rate."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from fake_gpus import show_gpus
from pytorch_lightning.strategies import DDPStrategy

from valign.core.errors import ValignError
from valign.distributed.place import LOCAL, Place
from valign.distributed.ranks import Ranks
from valign.training import strategies
from valign.training.optimizer import learning_rate_factor
from valign.training.strategies import make_strategy, make_trainer


def test_learning_rate_by_hand() -> None:
    """Two warm-up steps of six: 1/2, 1; then four steps fall by a quarter each, or along a half cosine."""
    linear = [learning_rate_factor(step, 2, 6, "linear") for step in range(6)]
    assert linear == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert learning_rate_factor(4, 2, 6, "cosine") == pytest.approx(0.5)
    assert learning_rate_factor(5, 2, 6, "constant") == 1.0


def test_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_strategy(tiny.trainer_settings(), "cpu") == "auto"
    for strategy in ("auto", "ddp"):
        found = make_strategy(tiny.trainer_settings(strategy=strategy, devices=2), "cpu")
        assert type(found) is DDPStrategy and found._ddp_kwargs == {"gradient_as_bucket_view": True}
    assert make_strategy(tiny.trainer_settings(strategy="ddp"), "cpu") == "auto"  # nothing to reduce
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValignError, match=r"valign\[deepspeed\]"):
        make_strategy(tiny.trainer_settings(strategy="deepspeed"), "cuda")


@pytest.mark.parametrize(
    ("seen", "launcher", "devices", "index"), [("abcd", "srun", 4, 3), ("abcd", "", 4, 3), ("d", "srun", 1, 0)]
)
def test_lightning_is_asked_for_the_gpus_that_a_process_sees(
    seen: str, launcher: str, devices: int, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four on a machine; where the launcher shows each process its own alone, that one."""
    asked: dict[str, Any] = {}

    def trainer(**given: Any) -> Any:
        asked.update(given)
        loop = SimpleNamespace(epoch_loop=SimpleNamespace())
        return SimpleNamespace(_signal_connector=SimpleNamespace(), fit_loop=loop)

    show_gpus(monkeypatch, seen)
    monkeypatch.setattr(strategies.pl, "Trainer", trainer)
    ranks = Ranks(Place(3, 4, 3, 0, launcher, LOCAL, 1))
    settings = tiny.trainer_settings(accelerator="gpu", devices=4, strategy="ddp")
    shared: dict[str, Any] = {"gradient_accumulation": 1, "max_grad_norm": 1.0, "callbacks": [], "ranks": ranks}
    make_trainer(settings, compute=torch.bfloat16, **shared)
    (place,) = asked["plugins"]
    assert (asked["accelerator"], asked["devices"], type(asked["strategy"])) == ("gpu", devices, DDPStrategy)
    assert (place.local_rank(), place.global_rank(), place.world_size()) == (index, 3, 4)


@pytest.mark.parametrize(("stage", "expected"), [(1, None), (2, "fp32"), (3, "fp32")])
def test_gradients_are_added_in_float32(stage: int, expected: str | None) -> None:
    """What DeepSpeed is told; ZeRO-1 would take another optimizer for it, which checkpoints do not know."""
    pytest.importorskip("deepspeed")
    deepspeed = {"zero_optimization": {"stage": stage}}
    found = make_strategy(tiny.trainer_settings(strategy="deepspeed", deepspeed=deepspeed), "cuda")
    assert found.config.get("data_types", {}).get("grad_accum_dtype") == expected


def test_a_step_that_deepspeed_leaves_out_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gradient that is not finite; DeepSpeed would go on with the weights as they are."""
    pytest.importorskip("deepspeed")
    deepspeed = {"zero_optimization": {"stage": 2}}
    found = make_strategy(tiny.trainer_settings(strategy="deepspeed", deepspeed=deepspeed), "cuda")
    engine = SimpleNamespace(optimizer=SimpleNamespace(overflow=False), global_steps=7)
    monkeypatch.setattr(type(found), "deepspeed_engine", engine)
    found._lightning_module = strategies.pl.LightningModule()
    found._precision_plugin = SimpleNamespace(optimizer_step=lambda *given, **named: "made")
    assert found.optimizer_step(None, None) == "made"
    engine.optimizer.overflow = True
    with pytest.raises(ValignError, match="a gradient of optimizer step 7 is not finite"):
        found.optimizer_step(None, None)
