"""The precision of weights and of matrix products: as set, or what the device is fast at."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BFLOAT16_GAIN = 1.2
MEASURE_SECONDS = 0.2


def resolve_precision(precision: str, device: str) -> torch.dtype:
    """Return the dtype of the base model's weights and of matrix products.

    Args:
        precision: ``float32``, ``bfloat16``, or ``auto``: bfloat16 on a GPU that has it; on a CPU where it is at
            least 1.2 times as fast, which is measured once a process.
        device: ``cpu`` or ``cuda`` (with or without an index).
    """
    import torch

    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if _bfloat16_gain() >= BFLOAT16_GAIN else torch.float32


@lru_cache(maxsize=1)
def _bfloat16_gain() -> float:
    """Measure how many times as fast as float32 a bfloat16 matrix product is on this CPU."""
    import torch

    def fastest(dtype: torch.dtype) -> float:
        a, b = torch.ones(256, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
        best, stop = float("inf"), time.perf_counter() + MEASURE_SECONDS / 2
        while time.perf_counter() < stop:
            started = time.perf_counter()
            torch.mm(a, b)
            best = min(best, time.perf_counter() - started)
        return best

    return fastest(torch.float32) / fastest(torch.bfloat16)
