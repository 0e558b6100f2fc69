"""Lightning's Trainer for valign: which devices and strategy, and a quiet terminal."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import ClusterEnvironment, LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy

from valign.core.errors import ValignError
from valign.distributed.devices import device_of, own_index
from valign.distributed.place import Place
from valign.distributed.ranks import Ranks
from valign.training.settings import TrainerSettings

# each trained weight is 12 bytes with AdamW's moments, in the first rank's main memory and on disk
MAX_GATHERED_WEIGHTS = 10**10
LIGHTNING_LOGGERS = ("pytorch_lightning", "lightning_fabric", "lightning", "lightning.pytorch", "lightning.fabric")
UNNEEDED_WARNINGS = (
    "num_workers",
    "_tensor` is deprecated",
    "eval mode",
    "not resumable",
    "is_gradient_checkpointing",
    "srun",
    "isinstance",
)


def on_cpu_ranks() -> bool:
    """Tell whether DeepSpeed is to run on CPU ranks, for tests: where its own variable says so, DS_ACCELERATOR=cpu."""
    return os.environ.get("DS_ACCELERATOR") == "cpu"


def sharded_checkpoint_stage(trainer: TrainerSettings, weights: int) -> int:
    """Return the stage of ZeRO whose checkpoints have a part from each rank; 0 where a checkpoint is one file.

    Checkpoints in parts are DeepSpeed's own, and only as many ranks can read them. They are for more weights, with
    their optimizer's states, than the first rank is to gather in its main memory: ``MAX_GATHERED_WEIGHTS``. Every other
    checkpoint is one file that any number of ranks goes on from.

    Args:
        trainer: Where the training runs.
        weights: How many weights of the base model are trained; 0 where an adapter is.
    """
    return trainer.zero_stage if weights > MAX_GATHERED_WEIGHTS else 0


def require_strategy(trainer: TrainerSettings, device: str) -> None:
    """Refuse a strategy that cannot run here.

    Args:
        trainer: Where the training runs.
        device: ``cpu`` or ``cuda``.

    Raises:
        ValignError: DeepSpeed is asked for without being installed, without a GPU, or for NVMe without libaio.
    """
    if trainer.strategy != "deepspeed":
        return
    if importlib.util.find_spec("deepspeed") is None:
        raise ValignError("trainer.strategy=deepspeed needs DeepSpeed: pip install 'valign[deepspeed]'.")
    if device != "cuda" and not on_cpu_ranks():
        raise ValignError("trainer.strategy=deepspeed needs a GPU; choose trainer=cpu.")
    if not trainer.is_on_nvme:
        return
    from valign.training.deepspeed_strategy import can_use_nvme

    if not can_use_nvme():
        raise ValignError(
            "DeepSpeed cannot reach NVMe without libaio's headers and a C++ compiler: install them (Debian, Ubuntu: "
            "apt install libaio-dev g++), or choose trainer=deepspeed_zero3_offload."
        )


def make_strategy(trainer: TrainerSettings, device: str, weights: int = 0) -> Any:
    """Return what Lightning's Trainer takes as its strategy.

    Args:
        trainer: Where the training runs.
        device: ``cpu`` or ``cuda``.
        weights: How many weights of the base model are trained; 0 where an adapter is.

    Raises:
        ValignError: DeepSpeed cannot run here.
    """
    require_strategy(trainer, device)
    if trainer.strategy != "deepspeed":
        # gradients lie in the buffers that are reduced, and not beside them: 4 bytes a trained weight
        return "auto" if trainer.world_size == 1 else DDPStrategy(gradient_as_bucket_view=True)
    from valign.training.deepspeed_strategy import ConsolidatedStrategy, ShardedStrategy

    # one example a batch is for DeepSpeed's own statistics; the plan has the batches
    config: dict[str, Any] = {"train_micro_batch_size_per_gpu": 1}
    if trainer.zero_stage > 1:  # add gradients in float32; ZeRO-1 would take another optimizer for it
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    config |= trainer.deepspeed or {}
    kind = ShardedStrategy if sharded_checkpoint_stage(trainer, weights) else ConsolidatedStrategy
    return kind(config=config, exclude_frozen_parameters=True)


class PlaceEnvironment(ClusterEnvironment):
    """Tells Lightning where this process stands, as its launcher numbered it; it starts no processes itself.

    PyTorch's process group takes the port after the one at which the ranks meet.

    Args:
        place: Where this process stands.
        device: Number of its GPU among those that it sees; None for its number on its machine.
    """

    creates_processes_externally = True

    def __init__(self, place: Place, device: int | None = None) -> None:
        super().__init__()
        self.place = place
        self.device = place.local_rank if device is None else device

    @property
    def main_address(self) -> str:
        """The first process's host."""
        return self.place.address

    @property
    def main_port(self) -> int:
        """The first process's port, for PyTorch's process group."""
        return self.place.port + 1

    @staticmethod
    def detect() -> bool:
        """Tell whether this environment is there."""
        return True

    def world_size(self) -> int:
        """Return the number of processes."""
        return self.place.world_size

    def set_world_size(self, size: int) -> None:
        """Leave the number of processes as it is."""

    def global_rank(self) -> int:
        """Return this process's number."""
        return self.place.rank

    def set_global_rank(self, rank: int) -> None:
        """Leave this process's number as it is."""

    def local_rank(self) -> int:
        """Return this process's number on its machine, which Lightning takes for its device's."""
        return self.device

    def node_rank(self) -> int:
        """Return this machine's number."""
        return self.place.node


def make_trainer(
    trainer: TrainerSettings,
    *,
    compute: torch.dtype,
    gradient_accumulation: int,
    max_grad_norm: float,
    callbacks: Sequence[pl.Callback],
    ranks: Ranks,
    weights: int = 0,
) -> pl.Trainer:
    """Return a Trainer for one pass over a plan; it logs, prints and saves nothing by itself.

    Args:
        trainer: Where the training runs.
        compute: dtype of matrix products; the modules use autocast themselves, DeepSpeed has to be told.
        gradient_accumulation: Batches of a device in one optimizer step.
        max_grad_norm: Longer gradients are scaled down to this norm.
        callbacks: Called while it trains.
        ranks: The run's processes, one for each device.
        weights: How many weights of the base model DeepSpeed trains; 0 where an adapter is trained, or nothing.

    Raises:
        ValignError: There are more or fewer processes than devices.
    """
    world = trainer.world_size
    if world != ranks.world_size:
        raise ValignError(
            f"trainer.devices x trainer.num_nodes is {world}, and there are {ranks.world_size} processes."
        )
    device = device_of(trainer.accelerator)
    strategy = make_strategy(trainer, device, weights)
    index = own_index(ranks) if device == "cuda" and world > 1 else None
    # where a launcher shows each process its own GPU alone, Lightning is to look for no others
    devices = 1 if index == 0 and torch.cuda.device_count() == 1 else trainer.devices
    sharded_bfloat16 = trainer.strategy == "deepspeed" and compute == torch.bfloat16
    made = pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=devices,
        num_nodes=trainer.num_nodes,
        strategy=strategy,
        plugins=[LightningEnvironment() if world == 1 else PlaceEnvironment(ranks.place, index)],
        precision="bf16-mixed" if sharded_bfloat16 else "32-true",
        max_epochs=1,
        accumulate_grad_batches=gradient_accumulation,
        gradient_clip_val=max_grad_norm,
        use_distributed_sampler=False,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    # Lightning's own handler of SIGTERM broadcasts, which hangs where other ranks are elsewhere
    vars(made._signal_connector)["register_signal_handlers"] = lambda: None
    # without that handler, nothing is to be told to other ranks, in each batch and waiting for the device
    vars(made.fit_loop.epoch_loop)["_broadcast_sigterm_tensor"] = lambda: None
    return made


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's notes and the warnings that do not apply to a plan."""
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
