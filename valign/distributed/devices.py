"""Which device a process computes on."""

from __future__ import annotations

import gc
import sys

from valign.core.errors import ValignError
from valign.distributed.ranks import Ranks


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


def own_device(accelerator: str, ranks: Ranks) -> str:
    """Return the device that this process has for itself, for example ``cuda:1``.

    Args:
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        ranks: The run's processes.

    Raises:
        ValignError: A GPU is asked for and there is none.
    """
    device = device_of(accelerator)
    if device == "cpu" or ranks.world_size == 1:
        return device
    import torch

    return f"cuda:{ranks.place.local_rank % torch.cuda.device_count()}"


def free_devices() -> None:
    """Give back the GPU memory that PyTorch keeps in this process, and nothing uses."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
