"""A call in a process of its own, with limits of time and memory: what reads a stranger's file cannot stop a run."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from valign.core.errors import ValignError

_Result = TypeVar("_Result")

READING_SECONDS = 300.0
READING_MEMORY = 4 * 1024**3
_CHILD = "import sys; sys.path[:] = {path}; from valign.documents.limits import answer_call; answer_call({memory})"


def call_limited(
    function: Callable[..., _Result],
    *arguments: Any,
    where: str,
    seconds: float = READING_SECONDS,
    memory: int = READING_MEMORY,
) -> _Result:
    """Call a function of valign in another process, and end that where it takes too long or too much memory.

    What comes back is made of plain values and valign's records alone, whatever the process was brought to do.

    Args:
        function: At the top of one of valign's modules.
        *arguments: Plain values.
        where: What is read, for messages.
        seconds: The longest time, on the clock.
        memory: The most memory, in bytes, where the system can limit it.

    Raises:
        ValignError: The call raised one, took too long or too much memory, or its process ended.
    """
    asked = pickle.dumps((function.__module__, function.__qualname__, arguments))
    command = [
        sys.executable,
        "-c",
        _CHILD.format(path=json.dumps([place or os.getcwd() for place in sys.path]), memory=memory),
    ]
    try:
        done = subprocess.run(command, input=asked, stdout=subprocess.PIPE, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise ValignError(
            f"{where} cannot be read in {seconds:.0f} s, which no ordinary document takes; save it in another format, "
            "or split it."
        ) from None
    if done.returncode:
        raise ValignError(
            f"{where} cannot be read: its reader ended with code {done.returncode}; save it in another format."
        )
    kind, value = _Plain(io.BytesIO(done.stdout)).load()
    if kind == "error":
        raise ValignError(value)
    if kind == "memory":
        raise ValignError(
            f"{where} takes more than {memory / 2**30:.1f} GB of memory to be read, which no ordinary document does; "
            "save it in another format, or split it."
        )
    if kind == "bug":
        raise RuntimeError(f"{where}: the reader failed\n{value}")
    result: _Result = value
    return result


class _Plain(pickle.Unpickler):
    """Reads plain values and valign's records, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name) if module == "valign.core.records" else None
        if isinstance(found, type) and dataclasses.is_dataclass(found):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no record")


def answer_call(memory: int) -> None:
    """Do in this process what ``call_limited`` asks for on stdin, and write the result to stdout."""
    import importlib
    import traceback

    _limit_memory(memory)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no result
    try:
        module, name, arguments = pickle.loads(sys.stdin.buffer.read())
        result: tuple[str, Any] = "value", getattr(importlib.import_module(module), name)(*arguments)
    except ValignError as error:
        result = "error", str(error)
    except MemoryError:
        result = "memory", ""
    except Exception:
        result = "bug", traceback.format_exc()
    with output:
        pickle.dump(result, output)


def _limit_memory(memory: int) -> None:
    """Limit this process's memory, where the system can."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        return
