"""What a server that valign starts by itself can be told."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class VllmSettings:
    """How vLLM is started as a child process.

    Attributes:
        command: The program ``vllm``: its name, found beside Python or in the ``PATH``, or its path, in whatever
            environment it is installed.
        arguments: Further arguments of ``vllm serve``, each one an item.
        start_seconds: The longest time until it answers, in seconds; the first start of a hub model downloads it.
    """

    command: str = "vllm"
    arguments: tuple[str, ...] = ()
    start_seconds: float = setting(1800.0, above=0)


def find_program(setting: str, command: str) -> str:
    """Return the path of a program: beside Python, in the ``PATH``, or as it is given.

    Args:
        setting: The key that names it, for the error.
        command: Its name or path.

    Raises:
        ValignError: There is none, or it cannot be run.
    """
    beside = Path(sys.executable).parent / command
    named = Path(command).expanduser()
    is_path = len(named.parts) > 1
    found = shutil.which(named) if is_path else shutil.which(beside) or shutil.which(command)
    if found is None:
        where = "is no program that can be run" if is_path else "is neither beside Python nor in the PATH"
        raise ValignError(
            f"{setting}={command} {where}; install vLLM, best in an environment of its own (python -m venv ~/vllm; "
            f"~/vllm/bin/pip install vllm), and set {setting}=~/vllm/bin/vllm."
        )
    return str(Path(found).absolute())
