"""A teacher behind a vLLM that this run starts when the first call is made, and ends behind the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from valign.core.errors import LimitReached, ValignError
from valign.generation.requests import Completion, Request
from valign.models.chat_template import render_conversation
from valign.models.identity import model_id
from valign.models.load import load_tokenizer, prepare_model
from valign.serving.child import DEATH_SECONDS
from valign.serving.vllm import SERVED, Serving, VllmServer
from valign.teachers.api import ApiTeacher
from valign.teachers.clients import require_client
from valign.teachers.protocol import CallResult, Job
from valign.teachers.settings import TeacherSettings
from valign.teachers.usage import Meter


class VllmTeacher:
    """A model that vLLM serves on this machine, asked as one behind an API is.

    Attributes:
        settings: Which model, and how it is asked.
        meter: What the calls have taken.
    """

    def __init__(self, settings: TeacherSettings, group: str, meter: Meter, logs: Path) -> None:
        """Choose the model; nothing is loaded or started yet.

        Args:
            settings: Which model, and how it is asked.
            group: Where that stands in the config, for messages.
            meter: Counts what the calls take.
            logs: The folder of the server's log.
        """
        self.settings = settings
        self.meter = meter
        self.group = group
        self.logs = logs
        self._asked: ApiTeacher | None = None

    @cached_property
    def path(self) -> Path | str:
        """Folder of the prepared weights, or the hub id."""
        return prepare_model(self.settings.model)

    @cached_property
    def id(self) -> str:
        """The model's name with its weights' version, and that vLLM computes it: its samples are others."""
        return f"{model_id(self.settings.model, self.path)} (vllm)"

    @cached_property
    def server(self) -> VllmServer:
        """The server, started by the first call."""
        serving = Serving(str(self.path), options=("--dtype", self.settings.precision))
        log = self.logs / f"{self.group.rpartition('.')[2]}.log"
        return VllmServer(self.settings.vllm, serving, f"{self.group}.vllm", log)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests in their order, as many as may be in flight at once."""
        size = self.settings.concurrency
        return [list(range(i, min(i + size, len(requests)))) for i in range(0, len(requests), size)]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete requests; where one fails, the others' completions are lost, so prefer ``complete_each``."""
        return self._ask(lambda teacher: teacher.complete(requests))

    def complete_each(self, jobs: Iterator[Job], done: Callable[[CallResult], None]) -> None:
        """Do jobs, at most ``concurrency`` calls at once, and report every finished call.

        Args:
            jobs: Any number; those not yet needed are not drawn.
            done: Called for each finished call.

        Raises:
            ValignError: vLLM cannot be started, ends, or fails a call for good.
        """
        self._ask(lambda teacher: teacher.complete_each(jobs, done))

    def check_before(self, requests: Sequence[Request]) -> None:
        """Look whether vLLM is installed and the model is there; where it is asked now, also whether requests fit.

        Args:
            requests: What it is about to be asked; nothing for a teacher that is asked later, which is not started.

        Raises:
            ValignError: It will not do.
        """
        require_client(self.group)
        self.server.require_program()
        _ = self._tokenizer
        if requests:
            self._ask(lambda teacher: teacher.check_before(requests))

    def count_prompt_tokens(self, request: Request) -> int:
        """Count a prompt's tokens with the model's own tokenizer and chat template; nothing is started."""
        return len(render_conversation(self._tokenizer, request.messages).ids)

    def close(self) -> None:
        """End the server; a later call starts it again."""
        self._asked = None
        self.server.end()

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.path, False)

    def _ask(self, work: Callable[[ApiTeacher], Any]) -> Any:
        """Do something with the served model; where the server has ended, its last words are the error."""
        server = self.server
        server.start()
        if self._asked is None or self._asked.base_urls != (server.url,):
            s = self.settings
            calls = (s.concurrency, s.timeout, s.max_retries, self.meter, self.group, s.thinking_tokens)
            self._asked = ApiTeacher(SERVED, [server.url], s.api_key_env, *calls, key=server.key)
        try:
            return work(self._asked)
        except LimitReached:
            raise
        except ValignError as error:
            server.require_running(DEATH_SECONDS)
            raise ValignError(f"{error} (the server's log: {server.child.log})") from None
