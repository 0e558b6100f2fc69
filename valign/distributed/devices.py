"""Which device a process computes on, and whether every process of a run has one of its own."""

from __future__ import annotations

import gc
import socket
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
        ValignError: A GPU is asked for and there is none, or this process has none of its own.
    """
    device = device_of(accelerator)
    if device == "cpu" or ranks.world_size == 1:
        return device
    return f"cuda:{own_index(ranks)}"


def own_index(ranks: Ranks) -> int:
    """Return the number of this process's GPU among those that it sees.

    Where a launcher shows each process a GPU of its own (``srun --gpus-per-task=1``), that is the only one.

    Raises:
        ValignError: It sees fewer GPUs than there are processes on its machine.
    """
    import torch

    seen, place = torch.cuda.device_count(), ranks.place
    if seen == 1 and place.launcher:
        return 0
    needed = place.local_rank + 1 if place.launcher else ranks.world_size  # without one, all are on this machine
    if needed > seen:
        raise ValignError(
            f"{needed} processes on {socket.gethostname()} need a GPU each, and PyTorch sees {seen}: set "
            f"trainer.devices={seen}{' (trainer=gpu)' if seen == 1 else ''}, or start one process for each GPU of "
            "several machines (srun, torchrun)."
        )
    return place.local_rank


def claim_devices(accelerator: str, ranks: Ranks) -> None:
    """Let every process take its GPU, before anything is loaded; two never share one.

    Args:
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        ranks: The run's processes, all of which call this.

    Raises:
        ValignError: A GPU is missing, or two processes have the same one.
    """
    if device_of(accelerator) == "cpu":
        found = ""
    else:
        import torch

        index = own_index(ranks) if ranks.world_size > 1 else torch.cuda.current_device()
        torch.cuda.set_device(index)  # libraries that say "cuda" mean this one
        found = f"{socket.gethostname()}: {torch.cuda.get_device_properties(index).uuid}"
    taken: dict[str, int] = {}
    for rank, device in enumerate(ranks.gather(found)):
        if device and device in taken:
            raise ValignError(
                f"ranks {taken[device]} and {rank} see the same GPU of {device.partition(':')[0]}; let the launcher "
                "give each process one (srun --gpus-per-node, without --gpu-bind), or lower trainer.devices."
            )
        taken[device] = rank


def free_devices() -> None:
    """Give back the memory of models that nothing uses any more, and what PyTorch keeps of a GPU in this process.

    A trained model is in reference cycles with its layers and its batches, which Python collects when it likes.
    """
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
