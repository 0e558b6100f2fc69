"""Errors of running out of memory, as one line that names the settings to lower."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence

from valign.core.errors import ValignError

MAIN_MEMORY = re.compile(r"DefaultCPUAllocator|can't allocate memory|cannot allocate memory", re.IGNORECASE)
GPU_MEMORY = re.compile(r"out of memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)


def exhausted_memory(error: BaseException) -> str | None:
    """Return which memory an error says is used up, ``main memory`` or ``GPU memory``; None for any other error.

    PyTorch has a class of its own for a GPU, ``OutOfMemoryError``, and a RuntimeError for the CPU and for libraries.
    """
    if isinstance(error, MemoryError):
        return "main memory"
    if not isinstance(error, RuntimeError):
        return None
    if MAIN_MEMORY.search(str(error)):
        return "main memory"
    return "GPU memory" if type(error).__name__ == "OutOfMemoryError" or GPU_MEMORY.search(str(error)) else None


@contextlib.contextmanager
def describe_out_of_memory(what: str, remedies: Callable[[], Sequence[str]]) -> Iterator[None]:
    """Turn an out-of-memory error inside into one line that says what to lower.

    Args:
        what: What is done inside, for example ``sft``.
        remedies: Called after the error; returns suggestions, the best first, each with a key, its value and a better
            one.

    Raises:
        ValignError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        memory = exhausted_memory(error)
        if memory is None:
            raise
        raise ValignError(f"{what} ran out of {memory}: {'; or '.join(remedies())}.") from error


def suggest_half(key: str, value: int | None) -> str:
    """Suggest half of a setting's value, and 1 at least; a number where it was to fit by itself."""
    if value is None:
        return f"set {key}, which fitted itself to the free memory, for example to 8192"
    return f"lower {key}={value}, for example to {max(1, value // 2)}"
