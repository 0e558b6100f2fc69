"""What a server that valign starts by itself can be told."""

from __future__ import annotations

from dataclasses import dataclass

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
