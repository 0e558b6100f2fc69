"""vLLM as a child process: which model it serves, with which LoRA modules, and that one runs at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from valign.core.errors import ValignError
from valign.distributed.devices import free_devices
from valign.distributed.place import LOCAL
from valign.models.lora_folder import SERVED_RANKS
from valign.serving.child import ChildServer
from valign.serving.settings import VllmSettings, find_program

SERVED = "base"
"""The name under which a server of ours has its model; its LoRA modules have names of their own."""
KEY_NAME = "VLLM_API_KEY"
ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True)
class Serving:
    """What a server serves.

    Attributes:
        model: Folder or hub id of the model.
        modules: LoRA adapters by their names, each a folder.
        rank: The largest rank among them; 0 where there are none.
        targets: The layers that they change, by the last part of their names.
        options: Other arguments that follow from the run's settings, such as the dtype.
    """

    model: str
    modules: Mapping[str, Path] = field(default_factory=dict)
    rank: int = 0
    targets: Sequence[str] = ()
    options: Sequence[str] = ()

    def arguments(self, port: int) -> list[str]:
        """Return the arguments of ``vllm serve``.

        Raises:
            ValignError: The rank is larger than any that vLLM takes.
        """
        found = [self.model, "--served-model-name", SERVED, "--host", LOCAL, "--port", str(port)]
        found += ["--generation-config", "vllm", "--load-format", "safetensors", "--disable-uvicorn-access-log"]
        found += self.options
        if not self.modules:
            return found
        most = next((rank for rank in SERVED_RANKS if rank >= self.rank), None)
        if most is None:
            raise ValignError(
                f"vLLM serves LoRA adapters of a rank of at most {SERVED_RANKS[-1]}, and those of all stages together "
                f"have {self.rank}; lower adapter.rank, or set evaluation.engine=local."
            )
        found += ["--enable-lora", "--max-lora-rank", str(most), "--max-loras", str(len(self.modules))]
        # without these vLLM adapts the output layer too, whose metadata do not fit the log-probabilities of prompts
        found += ["--lora-target-modules", *self.targets]
        return [*found, "--lora-modules", *(_module(name, path) for name, path in self.modules.items())]


class VllmServer:
    """One model served by vLLM, from the first time that it is asked for until another one is, or ``end``.

    Attributes:
        settings: How it is started.
        serving: What it serves.
        group: Where the settings stand in the config, for messages.
        child: The process.
    """

    _current: VllmServer | None = None  # a device has room for one server

    def __init__(self, settings: VllmSettings, serving: Serving, group: str, log: Path) -> None:
        """Describe the server; nothing is started yet.

        Args:
            settings: How it is started.
            serving: What it serves.
            group: Where the settings stand in the config, such as ``teacher.vllm``.
            log: The file of its output.
        """
        self.settings = settings
        self.serving = serving
        self.group = group
        self.child = ChildServer(group.removesuffix(".vllm"), self._command, ENVIRONMENT, log)

    @property
    def url(self) -> str:
        """Its address up to ``/v1``; empty while it does not run."""
        return self.child.url

    @property
    def key(self) -> str:
        """What calls have to show."""
        return self.child.key

    def require_program(self) -> None:
        """Look whether vLLM is installed where the settings say.

        Raises:
            ValignError: It is not.
        """
        find_program(f"{self.group}.command", self.settings.command)

    def require_servable(self) -> None:
        """Look whether vLLM is installed, and takes what is to be served.

        Raises:
            ValignError: It is not, or does not.
        """
        self._command(0)

    def start(self) -> None:
        """Start it where it does not run; any other server of this process is ended first, to make room.

        Raises:
            ValignError: It cannot be started, or has ended by itself before.
        """
        if self.url:
            self.child.require_running()
            return
        if VllmServer._current is not None:
            VllmServer._current.end()
        free_devices()
        VllmServer._current = self
        seconds = self.settings.start_seconds
        self.child.start(KEY_NAME, seconds, f"raise {self.group}.start_seconds={seconds:g}")

    def require_running(self, wait: float = 0.0) -> None:
        """Stop with the last words of its log where it has ended by itself; ``wait`` is that of ``ChildServer``."""
        self.child.require_running(wait)

    def end(self) -> None:
        """End it; a later start is one like the first."""
        self.child.end()
        if VllmServer._current is self:
            VllmServer._current = None

    def _command(self, port: int) -> list[str]:
        program = find_program(f"{self.group}.command", self.settings.command)
        return [program, "serve", *self.serving.arguments(port), *self.settings.arguments]


def _module(name: str, path: Path) -> str:
    return json.dumps({"name": name, "path": str(path.absolute())})
