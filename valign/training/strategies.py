"""Lightning's Trainer for valign: which devices and strategy, and nothing on the terminal that nobody asked for."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from valign.errors import ValignError

if TYPE_CHECKING:
    import pytorch_lightning as pl
    import torch

LIGHTNING_LOGGERS = ("pytorch_lightning", "lightning_fabric", "lightning", "lightning.pytorch", "lightning.fabric")
UNNEEDED_WARNINGS = ("num_workers", "eval mode", "not resumable", "is_gradient_checkpointing", "srun", "isinstance")


def device_of(accelerator: str) -> str:
    """Return ``cuda`` or ``cpu``, the kind of device that an accelerator setting means here.

    Raises:
        ValignError: A GPU is asked for and there is none.
    """
    import torch

    gpu = torch.cuda.is_available()
    if accelerator == "gpu" and not gpu:
        raise ValignError("trainer.accelerator=gpu, but PyTorch sees no GPU; choose trainer=cpu.")
    return "cuda" if gpu and accelerator in ("gpu", "auto") else "cpu"


def world_size(trainer: Mapping[str, Any]) -> int:
    """Return the number of devices over all machines."""
    return int(trainer.get("devices") or 1) * int(trainer.get("num_nodes") or 1)


def make_strategy(trainer: Mapping[str, Any], device: str) -> Any:
    """Return what Lightning's Trainer takes as its strategy.

    Raises:
        ValignError: DeepSpeed is asked for without being installed, or without a GPU.
    """
    name = trainer.get("strategy", "auto")
    if name != "deepspeed":
        return "ddp" if name == "auto" and world_size(trainer) > 1 else name
    if importlib.util.find_spec("deepspeed") is None:
        raise ValignError("trainer.strategy=deepspeed needs DeepSpeed: pip install 'valign[deepspeed]'.")
    if device != "cuda":
        raise ValignError("trainer.strategy=deepspeed needs a GPU; choose trainer=cpu.")
    from pytorch_lightning.strategies import DeepSpeedStrategy

    return DeepSpeedStrategy(config=dict(trainer.get("deepspeed") or {}), exclude_frozen_parameters=True)


def make_trainer(
    trainer: Mapping[str, Any],
    *,
    compute: torch.dtype,
    accumulate: int,
    max_grad_norm: float,
    callbacks: Sequence[pl.Callback],
) -> pl.Trainer:
    """Return a Trainer for one pass over a plan; it logs, prints and saves nothing by itself.

    Args:
        trainer: Keys accelerator, devices, num_nodes, strategy, deepspeed.
        compute: dtype of matrix products; the modules use autocast themselves, DeepSpeed has to be told.
        accumulate: Batches of a device in one optimizer step.
        max_grad_norm: Longer gradients are scaled down to this norm.
        callbacks: What happens beside the training.
    """
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment

    device = device_of(str(trainer["accelerator"]))
    strategy = make_strategy(trainer, device)
    sharded_bfloat16 = trainer.get("strategy") == "deepspeed" and compute == torch.bfloat16
    plugins: list[Any] = []
    if world_size(trainer) == 1:
        plugins = [LightningEnvironment()]
    elif SLURMEnvironment.detect():
        plugins = [SLURMEnvironment(auto_requeue=False)]
    return pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=int(trainer.get("devices") or 1),
        num_nodes=int(trainer.get("num_nodes") or 1),
        strategy=strategy,
        plugins=plugins,
        precision="bf16-mixed" if sharded_bfloat16 else "32-true",
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=max_grad_norm,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's notes and the warnings that do not apply to a plan."""
    importlib.import_module("pytorch_lightning")  # sets its loggers' levels itself when it is imported
    loggers = [logging.getLogger(name) for name in LIGHTNING_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for part in UNNEEDED_WARNINGS:
                warnings.filterwarnings("ignore", message=f"(?s).*{part}.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def whole_weights(trainer: pl.Trainer, parameters: Sequence[torch.nn.Parameter]) -> Iterator[None]:
    """Make sharded parameters (ZeRO-3) whole while they are saved; others are whole already."""
    if not any(hasattr(p, "ds_id") for p in parameters):
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(parameters)):
        yield
    trainer.strategy.barrier()
