"""What a measurement asks of the device: its quickest products, its memory, and that it has done its work."""

from __future__ import annotations

import gc
import resource
import time

CEILING, GPU_CEILING = (2048, 10), (8192, 30)
CEILING_SECONDS = 10  # a precision that a processor only emulates is found out by one product


def synchronize() -> None:
    """Wait until a GPU, where there is one in use, has done what it was given."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def ceiling(device: str) -> dict[str, float]:
    """Return the floating-point operations a second of large matrix products, the best of some, by precision."""
    import torch

    size, times = CEILING if device == "cpu" else GPU_CEILING
    found = {}
    for name in ("float32", "bfloat16"):
        place = "cpu" if device == "cpu" else "cuda"
        # random numbers: of constant ones a GPU takes less power, and is quicker
        a, b = (torch.randn(size, size, device=place).to(getattr(torch, name)) for _ in range(2))
        best, started = float("inf"), time.perf_counter()
        for _ in range(times):
            if time.perf_counter() - started > CEILING_SECONDS:
                break
            began = time.perf_counter()
            torch.mm(a, b)
            synchronize()
            best = min(best, time.perf_counter() - began)
        found[name] = 2 * size**3 / best
    return found


def peak_mib() -> float:
    """Return the most memory in use so far: a GPU's tensors where there is one in use, else the process's."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def forget_peak() -> float:
    """Let go of an earlier training, and of its peak on a GPU; returns the MiB that are held all the same."""
    import torch

    gc.collect()
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return 0.0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated() / 2**20
