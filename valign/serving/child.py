"""A server as a child process: started on a free port, waited for until it answers, and ended with this process."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError
from valign.core.progress import duration
from valign.core.text import one_line
from valign.distributed.place import LOCAL
from valign.serving import watchdog

log = logging.getLogger(__name__)

_GRACE_SECONDS = 10.0
"""How long a server has to end by itself before it is killed."""
_PORT_TRIES = 3
_LOOK_SECONDS, _SAY_SECONDS = 0.2, 30.0
DEATH_SECONDS = 3.0
"""How long a connection may be broken before the process behind it is known to have ended."""
_OF_RANKS = re.compile(
    r"(?:LOCAL_|GROUP_|ROLE_)?(?:RANK|WORLD_SIZE)|LOCAL_WORLD_SIZE|MASTER_(?:ADDR|PORT)|VALIGN_PORT|TORCHELASTIC_.*"
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PREFIX = re.compile(
    r"^(?:\((?:\w|\s|=)*\)\s*)?(?:(?:INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d \[[^]]*\]\s*)?"
)
_ERROR = re.compile(r"^[\w.]*(?:Error|Exception|error|Interrupt)\b: ?\S|\berror: \S")
_EFFECT = re.compile(r"(?:Engine core|EngineCore) (?:init|proc|enc)|root cause")
_PORT_TAKEN = re.compile(r"address already in use", re.IGNORECASE)
_WORDS_READ, _WORDS_SHOWN = 1 << 16, 300
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Opens addresses of this machine without the proxy that the environment may name."""


class ChildServer:
    """A server that this process has started and ends.

    Its key is random, and handed to it in its environment alone; it listens on this machine only.

    Attributes:
        label: What it does, for messages.
        log: The file of its output, to which each start adds.
        key: What calls have to show.
        url: Its address up to ``/v1``; empty while it does not run.
    """

    def __init__(
        self, label: str, command: Callable[[int], Sequence[str]], environment: Mapping[str, str], log: Path
    ) -> None:
        """Describe the server; nothing is started yet.

        Args:
            label: What it does, for messages.
            command: The program and its arguments for a port.
            environment: Variables that it gets besides this process's own, the key's not among them.
            log: The file of its output.
        """
        self.label = label
        self.command = command
        self.environment = dict(environment)
        self.log = log
        self.key = secrets.token_urlsafe(32)
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._begin = 0

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, key_name: str, seconds: float, remedy: str) -> None:
        """Start it and wait until it answers.

        Args:
            key_name: The variable in which it reads its key.
            seconds: The longest time until it answers.
            remedy: What helps where that is too short.

        Raises:
            ValignError: It ends at once, or does not answer in time.
        """
        for left in reversed(range(_PORT_TRIES)):
            port = _free_port()
            self._launch(port, key_name)
            try:
                self._wait(port, seconds, remedy)
                return
            except BaseException as error:
                taken = isinstance(error, ValignError) and _PORT_TAKEN.search(self._output())
                self.end()
                if not taken or not left:
                    raise

    def require_running(self, wait: float = 0.0) -> None:
        """Stop where it has ended by itself.

        Args:
            wait: Seconds to wait for its end, after a broken connection.

        Raises:
            ValignError: It has; the message has the last words of its log.
        """
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(wait) if wait else self._process.poll()
            if code is not None:
                said = f"vllm has ended ({_said_code(code)}): {self.last_words()}"
                raise ValignError(f"{self.label}: {said}; {self._log}")

    def last_words(self) -> str:
        """Return the line of its log that says most likely why it has ended."""
        return last_words(self._output().replace(self.key, "..."))

    def end(self) -> None:
        """End it and all that it has started, and wait for that."""
        process, self._process, self.url = self._process, None, ""
        if process is None:
            return
        atexit.unregister(self.end)
        with contextlib.suppress(OSError):
            process.terminate()  # the watchdog, which ends the server
        process.wait()

    @property
    def _log(self) -> str:
        return f"its log: {self.log}"

    def _launch(self, port: int, key_name: str) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if not _OF_RANKS.fullmatch(name)}
        watched = [sys.executable, "-I", "-S", watchdog.__file__, str(os.getpid()), str(_GRACE_SECONDS)]
        file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._begin = os.fstat(file).st_size
            self._process = subprocess.Popen(
                [*watched, *self.command(port)],
                env={**inherited, **self.environment, key_name: self.key},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        finally:
            os.close(file)
        atexit.register(self.end)

    def _wait(self, port: int, seconds: float, remedy: str) -> None:
        begun = said = time.monotonic()
        log.info("%s: starting vllm; %s", self.label, self._log)
        while not self._answers(f"http://{LOCAL}:{port}"):
            self.require_running()
            now = time.monotonic()
            if now - begun > seconds:
                words = f"vllm does not answer after {duration(now - begun)} ({self.last_words()})"
                raise ValignError(f"{self.label}: {words}; {remedy}; {self._log}")
            if now - said > _SAY_SECONDS:
                said = now
                log.info("%s: vllm is still starting, %s", self.label, duration(now - begun))
            time.sleep(_LOOK_SECONDS)
        self.url = f"http://{LOCAL}:{port}/v1"
        log.info("%s: vllm is ready after %s", self.label, duration(time.monotonic() - begun))

    def _answers(self, address: str) -> bool:
        """Tell whether the server itself, and no other process on that port, takes the key."""
        try:
            call = urllib.request.Request(f"{address}/v1/models", headers={"Authorization": f"Bearer {self.key}"})
            with DIRECT.open(call, timeout=5) as reply:
                found: Any = json.load(reply)
        except (OSError, ValueError, urllib.error.URLError):
            return False
        return isinstance(found, dict) and bool(found.get("data")) and self.is_running

    def _output(self) -> str:
        """Return the end of what it has said since its last start."""
        try:
            with self.log.open("rb") as stream:
                end = stream.seek(0, os.SEEK_END)
                stream.seek(max(self._begin, end - _WORDS_READ))
                return stream.read().decode(errors="replace")
        except OSError:
            return ""


def last_words(output: str) -> str:
    r"""Return the line that says most likely why a server has ended: its last error that does not follow from another.

    >>> last_words("(Worker pid=5) ERROR 11-29 08:26:48 [core.py:1] ValueError: No room.\nRuntimeError: See root cause")
    'ValueError: No room'
    """
    lines = [_PREFIX.sub("", _COLOUR.sub("", line)).strip() for line in output.splitlines()]
    errors = [line for line in lines if _ERROR.search(line) and not _EFFECT.search(line)]
    said = (errors or [line for line in lines if line] or ["it said nothing"])[-1]
    return one_line(said)[:_WORDS_SHOWN].rstrip(".;")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((LOCAL, 0))
        return int(one.getsockname()[1])


def _said_code(code: int) -> str:
    return f"signal {code - 128}" if code > 128 else f"code {code}"
