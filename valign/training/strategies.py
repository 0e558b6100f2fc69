"""Lightning's Trainer for valign: which devices and strategy, and nothing on the terminal that nobody asked for."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.distributed.devices import device_of, world_size
from valign.distributed.place import Place
from valign.distributed.ranks import Ranks

if TYPE_CHECKING:
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.plugins.environments import ClusterEnvironment

GATHERED_UP_TO = 10**10  # weights; each is 12 bytes with AdamW's moments, in the first rank's main memory and on disk
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
    """Tell whether DeepSpeed is to run on CPU ranks, for tests, which its own variable DS_ACCELERATOR=cpu says."""
    return os.environ.get("DS_ACCELERATOR") == "cpu"


def zero_stage(trainer: Mapping[str, Any]) -> int:
    """Return what DeepSpeed shards: 0 (nothing, or no DeepSpeed), 1, 2 or 3."""
    if trainer.get("strategy") != "deepspeed":
        return 0
    return int(((trainer.get("deepspeed") or {}).get("zero_optimization") or {}).get("stage", 0))


def sharded_checkpoints(trainer: Mapping[str, Any], weights: int) -> int:
    """Return the stage of ZeRO whose checkpoints have a part from each rank, which only as many ranks can read; or 0.

    Those are DeepSpeed's own, for what the first rank is not to gather in its main memory: more weights with their
    optimizer's states than ``GATHERED_UP_TO``. Every other checkpoint is one file that any number of ranks goes on
    from.

    Args:
        trainer: Keys strategy and deepspeed.
        weights: How many weights of the base are trained; 0 where an adapter is.
    """
    return zero_stage(trainer) if weights > GATHERED_UP_TO else 0


def on_nvme(trainer: Mapping[str, Any]) -> bool:
    """Tell whether DeepSpeed keeps anything on disk while it trains; from its own checkpoints that is not restored."""
    zero = (trainer.get("deepspeed") or {}).get("zero_optimization") or {}
    return "nvme" in [(zero.get(key) or {}).get("device") for key in ("offload_optimizer", "offload_param")]


def make_strategy(trainer: Mapping[str, Any], device: str, weights: int = 0) -> Any:
    """Return what Lightning's Trainer takes as its strategy.

    Args:
        trainer: Keys strategy, deepspeed, devices, num_nodes.
        device: ``cpu`` or ``cuda``.
        weights: As in ``sharded_checkpoints``.

    Raises:
        ValignError: DeepSpeed is asked for without being installed, without a GPU, or for NVMe without libaio.
    """
    name = trainer.get("strategy", "auto")
    if name != "deepspeed":
        return "ddp" if name == "auto" and world_size(trainer) > 1 else name
    if importlib.util.find_spec("deepspeed") is None:
        raise ValignError("trainer.strategy=deepspeed needs DeepSpeed: pip install 'valign[deepspeed]'.")
    if device != "cuda" and not on_cpu_ranks():
        raise ValignError("trainer.strategy=deepspeed needs a GPU; choose trainer=cpu.")
    from valign.training.deepspeed_strategy import ConsolidatedStrategy, Strategy, can_use_nvme

    if on_nvme(trainer) and not can_use_nvme():
        raise ValignError(
            "DeepSpeed cannot reach NVMe without libaio's headers and a C++ compiler: install them (Debian, Ubuntu: "
            "apt install libaio-dev g++), or choose trainer=deepspeed_zero3_offload."
        )
    # one example a batch is for DeepSpeed's own statistics; the plan has the batches
    config = {"train_micro_batch_size_per_gpu": 1, **(trainer.get("deepspeed") or {})}
    kind = Strategy if sharded_checkpoints(trainer, weights) else ConsolidatedStrategy
    return kind(config=config, exclude_frozen_parameters=True)


def make_environment(place: Place) -> ClusterEnvironment:
    """Return what tells Lightning where this process stands; it starts no processes itself."""
    from pytorch_lightning.plugins.environments import ClusterEnvironment

    class Environment(ClusterEnvironment):
        """The ranks as their launcher numbered them; PyTorch's process group takes the second port."""

        creates_processes_externally = True
        main_address = place.address
        main_port = place.port + 1

        @staticmethod
        def detect() -> bool:
            return True

        def world_size(self) -> int:
            return place.world_size

        def set_world_size(self, size: int) -> None:
            pass

        def global_rank(self) -> int:
            return place.rank

        def set_global_rank(self, rank: int) -> None:
            pass

        def local_rank(self) -> int:
            return place.local_rank

        def node_rank(self) -> int:
            return place.node

    return Environment()


def make_trainer(
    trainer: Mapping[str, Any],
    *,
    compute: torch.dtype,
    accumulate: int,
    max_grad_norm: float,
    callbacks: Sequence[pl.Callback],
    ranks: Ranks,
    weights: int = 0,
) -> pl.Trainer:
    """Return a Trainer for one pass over a plan; it logs, prints and saves nothing by itself.

    Args:
        trainer: Keys accelerator, devices, num_nodes, strategy, deepspeed.
        compute: dtype of matrix products; the modules use autocast themselves, DeepSpeed has to be told.
        accumulate: Batches of a device in one optimizer step.
        max_grad_norm: Longer gradients are scaled down to this norm.
        callbacks: What happens beside the training.
        ranks: The run's processes, one for each device.
        weights: As in ``sharded_checkpoints``.

    Raises:
        ValignError: There are more or fewer processes than devices.
    """
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.plugins.environments import LightningEnvironment

    world = world_size(trainer)
    if world != ranks.world_size:
        raise ValignError(
            f"trainer.devices x trainer.num_nodes is {world}, and there are {ranks.world_size} processes."
        )
    device = device_of(str(trainer["accelerator"]))
    strategy = make_strategy(trainer, device, weights)
    sharded_bfloat16 = trainer.get("strategy") == "deepspeed" and compute == torch.bfloat16
    made = pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=int(trainer.get("devices") or 1),
        num_nodes=int(trainer.get("num_nodes") or 1),
        strategy=strategy,
        plugins=[LightningEnvironment() if world == 1 else make_environment(ranks.place)],
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
    # Lightning's own handler of SIGTERM broadcasts, which hangs wherever the other ranks are elsewhere; see Checkpoints
    vars(made._signal_connector)["register_signal_handlers"] = lambda: None
    return made


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
