"""The processes of one run: the first one decides, asks the teacher and writes; the others do what it commands.

A run of several processes is started by srun (one task for each device), by torchrun, or, on one machine, by the first
process itself. Besides PyTorch's process group, which trains, they share a small key-value store in the first process.
What goes through it can be waited for with a time limit, and a failure anywhere is known everywhere within seconds,
also while a process hangs in a collective operation.

Keys of the store: ``here/<rank>`` when a process has connected; ``command/<n>`` and ``broadcast/<n>`` from the first,
``gather/<n>/<rank>`` from the others, each with the n-th value of its kind; ``failed`` with the rank, host, message and
exit code of the process that fails; ``seen/<rank>`` where that was read; ``gone/<rank>`` when a process has left.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from valign.core.errors import ValignError
from valign.distributed.key_store import BEAT_SECONDS, set_value, wait_for_all, wait_for_value
from valign.distributed.place import PROCESS, Place
from valign.distributed.watch import Watch

T = TypeVar("T")
SEEN_SECONDS = 30.0
GONE_SECONDS = 60.0


class Ranks:
    """The processes of a run, seen from one of them. Without arguments, a run of a single process.

    Attributes:
        place: Where this process stands.
        wait_seconds: The longest time that a process waits for another one.
    """

    def __init__(
        self,
        place: Place | None = None,
        wait_seconds: float = 86400.0,
        store: Any = None,
        watch: Watch | None = None,
    ) -> None:
        """Keep the place, and what ``connect`` has opened.

        Args:
            place: By default that of a single process.
            wait_seconds: The longest time that a process waits for another one.
            store: A connection to the store; None for a single process.
            watch: Ends this process with the others; None for a single process.
        """
        self.place = place or Place()
        self.wait_seconds = wait_seconds
        self._store = store
        self._watch = watch
        self._numbers: dict[str, int] = {}

    @property
    def rank(self) -> int:
        """This process's number."""
        return self.place.rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return self.place.world_size

    @property
    def is_first(self) -> bool:
        """Whether this process decides, asks the teacher and writes."""
        return self.place.rank == 0

    def command(self, what: str, /, **arguments: Any) -> None:
        """Tell the other processes what to do next; only the first one does this.

        Args:
            what: The command's name.
            **arguments: JSON values.
        """
        if self.world_size > 1:
            self._post("command", [what, arguments])

    def commands(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the name and the arguments of each command of the first process, until it ends.

        Raises:
            ValignError: No command comes within ``wait_seconds``.
        """
        while True:
            name, arguments = self._receive("command", "the first process, which asks the teacher and writes")
            if name == "end":
                return
            yield name, arguments

    def broadcast(self, make: Callable[[], T]) -> T:
        """Return a value of the first process in all of them.

        Args:
            make: Called in the first process alone; returns a JSON value.
        """
        if self.world_size == 1:
            return make()
        if not self.is_first:
            received: T = self._receive("broadcast", "the first process")
            return received
        value = make()
        self._post("broadcast", value)
        return value

    def gather(self, value: Any) -> list[Any]:
        """Return every process's JSON value by rank in the first process; the others get an empty list."""
        if self.world_size == 1:
            return [value]
        number = self._next("gather")
        if not self.is_first:
            set_value(self._store, f"gather/{number}/{self.rank}", json.dumps(value).encode())
            return []
        parts = [value]
        for rank in range(1, self.world_size):
            parts.append(self._wait(f"gather/{number}/{rank}", f"rank {rank}", is_last=True))
        return parts

    def fail(self, error: BaseException, code: int) -> None:
        """End all processes with this one's error, unless it follows from another's, which then ends this one.

        Args:
            error: What ended this process.
            code: The exit code for the others.
        """
        with contextlib.suppress(RuntimeError, OSError):
            if self._store.check(["failed"]):
                time.sleep(5 * BEAT_SECONDS)  # the watch ends this process
        if self._watch is not None:
            self._watch.leave()  # that the others go is no news from here on
        text = str(error) if isinstance(error, ValignError) else f"{type(error).__name__}: {error}"
        text = "ended by a signal" if isinstance(error, SystemExit | KeyboardInterrupt) else text
        with contextlib.suppress(RuntimeError, OSError):
            self._store.set("failed", json.dumps([self.rank, socket.gethostname(), text.partition("\n")[0], code]))
            PROCESS.silent = self._wait_for_others("seen", SEEN_SECONDS) and not self.is_first
        self.close()

    def end(self) -> None:
        """End all processes well; the first one waits until the others have gone, because it hosts their store."""
        if self.world_size > 1 and self.is_first:
            self.command("end")
            self._wait_for_others("gone", GONE_SECONDS)
        self.close()

    def close(self) -> None:
        """Tell the first process that this one leaves, and stop watching."""
        if self._watch is None:
            return
        self._watch.leave()
        if not self.is_first:
            with contextlib.suppress(RuntimeError, OSError):
                self._store.set(f"gone/{self.rank}", "")
        self._watch.close()

    def _next(self, kind: str) -> int:
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return self._numbers[kind]

    def _post(self, kind: str, value: Any) -> None:
        set_value(self._store, f"{kind}/{self._next(kind)}", json.dumps(value).encode())

    def _receive(self, kind: str, whom: str) -> Any:
        return self._wait(f"{kind}/{self._next(kind)}", whom)

    def _wait(self, key: str, whom: str, is_last: bool = False) -> Any:
        waiting = {"rank": self.rank, "whom": whom, "seconds": self.wait_seconds}
        return json.loads(wait_for_value(self._store, key, is_last=is_last, **waiting))

    def _wait_for_others(self, what: str, seconds: float) -> bool:
        """Wait until every other process has set a key, or the first one, with the store, has gone."""
        keys = [f"{what}/{rank}" for rank in range(self.world_size) if rank != self.rank]
        found = wait_for_all(self._store, keys, seconds)
        return not self.is_first if found is None else found
