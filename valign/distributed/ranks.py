"""The processes of one run: the first decides, asks the teacher and writes; the others do what it orders.

A run of several processes is started by srun (one task for each device), by torchrun, or, on one machine, by the
first process itself. Beside PyTorch's process group, which trains, they hold a small store of keys in the first
process. What goes through it can be waited for with a time limit, and a failure anywhere is known everywhere within
seconds, also while a process hangs in a collective operation.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from valign.core.errors import Interrupted, ValignError
from valign.distributed.place import LOCAL, PROCESS, Place

log = logging.getLogger(__name__)

T = TypeVar("T")
LOST = Interrupted.exit_code
LOST_CONNECTION = re.compile(r"connection (closed|reset)|broken pipe|remote process exited|timed out", re.IGNORECASE)
MEET_SECONDS = 300.0
SHARED_SECONDS = 60.0
BEAT_SECONDS = 1.0
SILENT_SECONDS = 90.0
ANNOUNCE_SECONDS = 20.0


class Ranks:
    """The processes of a run, seen from one of them. Without arguments, a run of a single process.

    Attributes:
        place: Where this process stands.
        wait_seconds: How long the others wait for the first.
    """

    def __init__(self, place: Place | None = None, wait_seconds: float = 86400.0) -> None:
        """Keep the place; ``joined`` connects."""
        self.place = place or Place()
        self.wait_seconds = wait_seconds
        self._store: Any = None
        self._numbers: dict[str, int] = {}
        self._watch: threading.Thread | None = None
        self._leaving = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def rank(self) -> int:
        """This process's number."""
        return self.place.rank

    @property
    def world(self) -> int:
        """The number of processes."""
        return self.place.world

    @property
    def first(self) -> bool:
        """Whether this process decides, asks and writes."""
        return self.place.rank == 0

    def order(self, what: str, /, **arguments: Any) -> None:
        """Tell the other processes what to do next; only the first does this.

        Args:
            what: What ``orders`` yields there.
            **arguments: JSON values.
        """
        if self.world > 1:
            self._post("order", [what, arguments])

    def orders(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what the first process orders, until it ends.

        Raises:
            ValignError: It orders nothing for ``wait_seconds``.
        """
        while True:
            name, arguments = self._receive("order", "the first process, which asks the teacher and writes")
            if name == "end":
                return
            yield name, arguments

    def share(self, make: Callable[[], T]) -> T:
        """Return what ``make`` returns in the first process, a JSON value, in all; the others do not call it."""
        if self.world == 1:
            return make()
        if not self.first:
            shared: T = self._receive("share", "the first process")
            return shared
        value = make()
        self._post("share", value)
        return value

    def gather(self, value: Any) -> list[Any]:
        """Return every process's JSON value in the order of ranks, in the first; the others get an empty list."""
        if self.world == 1:
            return [value]
        number = self._next("gather")
        if not self.first:
            self._store.set(f"gather/{number}/{self.rank}", json.dumps(value))
            return []
        parts = [value]
        for rank in range(1, self.world):
            key = f"gather/{number}/{rank}"
            parts.append(json.loads(self._wait(key, f"rank {rank}")))
            self._store.delete_key(key)
        return parts

    def fail(self, error: BaseException, code: int) -> None:
        """Let all processes end with this one's error, unless it follows from another's, which then ends them."""
        with contextlib.suppress(RuntimeError, OSError):
            if self._store.check(["failed"]):
                time.sleep(5 * BEAT_SECONDS)  # the watch ends this process
        self._leaving.set()  # that the others go is no news to the watch from here on
        text = str(error) if isinstance(error, ValignError) else f"{type(error).__name__}: {error}"
        text = "ended by a signal" if isinstance(error, SystemExit | KeyboardInterrupt) else text
        line = " ".join(text.split("\n")[:1])
        with contextlib.suppress(RuntimeError, OSError):
            self._store.set("failed", json.dumps([self.rank, socket.gethostname(), line, code]))
            PROCESS.silent = self._await_all("seen", 30.0) and not self.first
        self.close()

    def end(self) -> None:
        """Let the others go, and wait until they have gone; only then may the store vanish."""
        if self.world > 1 and self.first:
            self.order("end")
            self._await_all("gone", 60.0)
        self.close()

    def close(self) -> None:
        """Stop watching."""
        self._leaving.set()
        if self.world > 1 and not self.first and self._store is not None:
            with contextlib.suppress(RuntimeError, OSError):
                self._store.set(f"gone/{self.rank}", "")
        if self._watch is not None:
            self._watch.join(timeout=2 * BEAT_SECONDS + 5)

    def connect(self) -> None:
        """Meet the other processes.

        Raises:
            ValignError: The port is taken, or the others do not come.
        """
        if self.world == 1:
            return
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost connection is told in a line, not in frames
        self._store = self._open(MEET_SECONDS)
        watching = self._open(MEET_SECONDS)
        try:
            self._store.set(f"here/{self.rank}", "")
            self._store.wait([f"here/{rank}" for rank in range(self.world)], timedelta(seconds=MEET_SECONDS))
        except RuntimeError:
            raise ValignError(
                f"rank {self.rank} waited {MEET_SECONDS:.0f} s for all {self.world} processes; did each start?"
            ) from None
        self._watch = threading.Thread(target=self._watch_others, args=(watching,), daemon=True)
        self._watch.start()

    def check_shared(self, folder: Path) -> None:
        """Check that all processes see one file system.

        Args:
            folder: Where they share their artifacts; it is made.

        Raises:
            ValignError: This process does not see what the first wrote there.
        """
        if self.world == 1:
            return
        token = f".shared-{self.place.port}-{os.getpid()}"

        def write() -> str:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / token).write_text(socket.gethostname(), encoding="utf-8")
            return token

        name, host = self.share(lambda: [write(), socket.gethostname()])
        deadline = time.monotonic() + SHARED_SECONDS / (1 if self.place.launcher == "srun" else 10)
        while not (folder.is_dir() and name in os.listdir(folder)):
            if time.monotonic() > deadline:
                raise ValignError(
                    f"artifacts={folder} is not shared: rank {self.rank} on {socket.gethostname()} does not see what "
                    f"rank 0 on {host} wrote there; choose a folder on a file system that all nodes mount."
                )
            time.sleep(0.5)
        self.gather(None)
        if self.first:
            (folder / name).unlink(missing_ok=True)

    def spawn(self) -> None:
        """Start the other processes of a run on this machine: this command again, with their ranks."""
        for rank in range(1, self.world):
            own = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(self.world),
                "LOCAL_WORLD_SIZE": str(self.world),
                "MASTER_ADDR": LOCAL,
                "MASTER_PORT": str(self.place.port),
                "VALIGN_PORT": str(self.place.port),
            }
            command = [sys.executable, *sys.orig_argv[1:]]
            self._children.append(subprocess.Popen(command, env={**os.environ, **own}))

    def _open(self, seconds: float) -> Any:
        from torch.distributed import TCPStore

        host = self.first and self._store is None
        try:
            return TCPStore(
                self.place.address,
                self.place.port,
                is_master=host,
                timeout=timedelta(seconds=seconds),
                wait_for_workers=False,
            )
        except RuntimeError as error:
            where = f"{self.place.address}:{self.place.port}"
            if host:
                text = f"rank 0 cannot listen on {where} ({_reason(error)}); choose a free port: MASTER_PORT=..."
            else:
                text = f"rank {self.rank} cannot reach rank 0 at {where} ({_reason(error)}); set MASTER_ADDR."
            raise ValignError(text) from None

    def _next(self, kind: str) -> int:
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return self._numbers[kind]

    def _post(self, kind: str, value: Any) -> None:
        self._store.set(f"{kind}/{self._next(kind)}", json.dumps(value))

    def _receive(self, kind: str, whom: str) -> Any:
        return json.loads(self._wait(f"{kind}/{self._next(kind)}", whom))

    def _wait(self, key: str, whom: str) -> bytes:
        """Wait for a key; say so when it takes long, and give up after ``wait_seconds``."""
        from torch.distributed import DistStoreError

        began = time.monotonic()
        said = False
        while True:
            left = self.wait_seconds - (time.monotonic() - began)
            try:
                self._store.wait([key], timedelta(seconds=max(0.01, min(left, BEAT_SECONDS))))
                found: bytes = self._store.get(key)
                return found
            except DistStoreError:
                if left <= BEAT_SECONDS:
                    raise ValignError(
                        f"rank {self.rank} has waited {self.wait_seconds:.0f} s for {whom}; raise trainer.wait_seconds."
                    ) from None
                if not said and time.monotonic() - began > ANNOUNCE_SECONDS:
                    log.warning("rank %d waits for %s (%.0f s at most)", self.rank, whom, self.wait_seconds)
                    said = True
            except RuntimeError:
                time.sleep(2 * BEAT_SECONDS)  # the watch ends this process with what it knows
                raise Interrupted(f"rank {self.rank} has lost {whom}.") from None

    def _await_all(self, what: str, seconds: float) -> bool:
        """Wait for a limited time until every other process has noted something, or the first has gone."""
        from torch.distributed import DistStoreError

        keys = [f"{what}/{rank}" for rank in range(self.world) if rank != self.rank]
        try:
            self._store.wait(keys, timedelta(seconds=seconds))
        except DistStoreError:
            return False
        except RuntimeError:
            return not self.first
        return True

    def _watch_others(self, store: Any) -> None:
        """Look every second whether another process has failed or is gone; then end this one at once."""
        beats: dict[int, tuple[int, float]] = {}
        while not self._leaving.wait(BEAT_SECONDS):
            try:
                if store.check(["failed"]):
                    rank, host, text, code = json.loads(store.get("failed"))
                    if rank != self.rank:
                        store.set(f"seen/{self.rank}", "")
                        self._end_now(f"rank {rank} on {host}: {text}", code)
                    continue
                store.add(f"beat/{self.rank}", 1)
                gone = self._silent(store, beats) if self.first else None
            except RuntimeError:
                if not self._leaving.is_set():
                    self._end_now("rank 0 is gone", LOST, always=self.rank == 1)
                return
            if gone is not None and not self._leaving.is_set():
                store.set("failed", json.dumps([0, socket.gethostname(), f"rank {gone} is gone", LOST]))
                time.sleep(2 * BEAT_SECONDS)
                self._end_now(f"rank {gone} is gone", LOST)

    def _silent(self, store: Any, beats: dict[int, tuple[int, float]]) -> int | None:
        """Return a process that has died or has not been heard of for long."""
        for rank, child in enumerate(self._children, 1):
            if child.poll() not in (None, 0):
                time.sleep(2 * BEAT_SECONDS)  # time for its own words
                return None if store.check(["failed"]) else rank
        now = time.monotonic()
        for rank in range(1, self.world):
            count = int(store.add(f"beat/{rank}", 0))
            if rank not in beats or beats[rank][0] != count:
                beats[rank] = (count, now)
            elif now - beats[rank][1] > SILENT_SECONDS and not store.check([f"gone/{rank}"]):
                return rank
        return None

    def _end_now(self, text: str, code: int, always: bool = False) -> None:
        if self.first or always:
            sys.stdout.flush()
            print(f"error: {text}", file=sys.stderr, flush=True)
        os._exit(code)


def _reason(error: Exception) -> str:
    text = str(error).split("\n", maxsplit=1)[0]
    return text.rpartition("]: ")[2].rstrip(".")[:160]
