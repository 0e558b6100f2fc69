"""A thread in every process of a run that ends it as soon as another one has failed or is gone.

A process may hang in a collective operation, which never returns once one of the others is lost. Therefore the thread
has a connection of its own to the store and ends the process with ``os._exit``. Every process increments a counter each
second (``beat/<rank>``); rank 0, which hosts the store, looks whether all counters go on. The others notice that rank 0
is gone when the connection breaks.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from valign.core.errors import Interrupted
from valign.distributed.key_store import BEAT_SECONDS
from valign.distributed.place import Place

LOST_EXIT_CODE = Interrupted.exit_code
SILENT_SECONDS = 600.0  # native code that holds the interpreter, on a slow disk, can be silent for minutes


class Watch:
    """Watches the other processes from a thread of its own until this process leaves."""

    def __init__(self, place: Place, store: Any, children: Sequence[subprocess.Popen[bytes]] = ()) -> None:
        """Start watching.

        Args:
            place: Where this process stands.
            store: A connection to the store that nothing else uses.
            children: The processes that this one has started, rank 1 first; none where a launcher started them.
        """
        self.place = place
        self.store = store
        self.children = children
        self._leaving = threading.Event()
        self._counts: dict[int, tuple[int, float]] = {}
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """From now on let this process go on where others end, because it is ending itself."""
        self._leaving.set()

    def close(self) -> None:
        """Stop watching."""
        self.leave()
        self._thread.join(timeout=2 * BEAT_SECONDS + 5)

    def _watch(self) -> None:
        """Look every second whether another process has failed or is gone; then end this one at once."""
        store, rank = self.store, self.place.rank
        while not self._leaving.wait(BEAT_SECONDS):
            try:
                if store.check(["failed"]):
                    failed, host, text, code = json.loads(store.get("failed"))
                    if failed != rank:
                        store.set(f"seen/{rank}", "")
                        self._exit(f"rank {failed} on {host}: {text}", code)
                    continue
                store.add(f"beat/{rank}", 1)
                gone = self._find_gone() if rank == 0 else None
            except RuntimeError:
                if not self._leaving.is_set():
                    self._exit("rank 0 is gone", LOST_EXIT_CODE, speaks=rank == 1)
                return
            if gone is not None and not self._leaving.is_set():
                store.set("failed", json.dumps([0, socket.gethostname(), f"rank {gone} is gone", LOST_EXIT_CODE]))
                time.sleep(2 * BEAT_SECONDS)  # until the others have read it
                self._exit(f"rank {gone} is gone", LOST_EXIT_CODE)

    def _find_gone(self) -> int | None:
        """Return the rank of a process that has died, or whose counter stands still for ``SILENT_SECONDS``."""
        for rank, child in enumerate(self.children, 1):
            if child.poll() not in (None, 0):
                time.sleep(2 * BEAT_SECONDS)  # it may have said why
                return None if self.store.check(["failed"]) else rank
        now = time.monotonic()
        for rank in range(1, self.place.world_size):
            count = int(self.store.add(f"beat/{rank}", 0))
            if rank not in self._counts or self._counts[rank][0] != count:
                self._counts[rank] = (count, now)
            elif now - self._counts[rank][1] > SILENT_SECONDS and not self.store.check([f"gone/{rank}"]):
                return rank
        return None

    def _exit(self, text: str, code: int, speaks: bool = False) -> None:
        """End this process without waiting for its other threads.

        Args:
            text: The reason, which rank 0 prints.
            code: The exit code.
            speaks: Whether this process prints it too, because rank 0 cannot.
        """
        if self.place.rank == 0 or speaks:
            sys.stdout.flush()
            print(f"error: {text}", file=sys.stderr, flush=True)
        os._exit(code)
