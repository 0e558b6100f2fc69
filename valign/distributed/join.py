"""How the processes of a run find each other and part again."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from valign.core.errors import Interrupted, ValignError
from valign.distributed.key_store import OPEN_SECONDS, open_store
from valign.distributed.place import LOCAL, PROCESS, Place
from valign.distributed.ranks import Ranks
from valign.distributed.watch import Watch

PORTS_TRIED = 5
LOST_CONNECTION = re.compile(r"connection (closed|reset)|broken pipe|remote process exited|timed out", re.IGNORECASE)


@contextlib.contextmanager
def connect(processes: int | None, wait_seconds: float, sweeping: bool = False) -> Iterator[Ranks]:
    """Meet the other processes of this run, and part from them in the end, or with the first error of any.

    Where no launcher has started them, this process starts the others.

    Args:
        processes: How many the settings ask for; None takes those that the launcher has started.
        wait_seconds: The longest time that a process waits for another one.
        sweeping: Whether this is a job of a multirun, which cannot be started again as other ranks.

    Yields:
        The processes, seen from this one.

    Raises:
        ValignError: There are more or fewer processes than asked for, the port is taken, or the others do not come.
    """
    place, store = PROCESS.place, None
    spawning = processes is not None and processes > 1 and not place.launcher
    if processes is not None and place.launcher and processes != place.world_size:
        raise ValignError(
            f"trainer.devices x trainer.num_nodes is {processes}, and {place.launcher} started {place.world_size} "
            "processes; set both to what was started: one process for each device."
        )
    if spawning:
        if sweeping:
            raise ValignError("a multirun trains on one device in each job; use a run without -m for several.")
        place, store = _host_store(processes or 1)
    children = _start_others(place) if spawning else []
    try:
        ranks = _meet(place, wait_seconds, children, store)
    except ValignError:
        PROCESS.connected = True
        raise
    PROCESS.connected = True
    if not ranks.is_first:
        logging.getLogger("valign").setLevel(logging.WARNING)
    try:
        yield ranks
    except BaseException as error:
        if ranks.world_size == 1:
            raise
        lost = isinstance(error, RuntimeError) and LOST_CONNECTION.search(str(error))
        cause = Interrupted(f"rank {ranks.rank} has lost another process.") if lost else error
        codes = {ValignError: "exit_code", SystemExit: "code"}
        code = next((getattr(cause, name) for kind, name in codes.items() if isinstance(cause, kind)), 1)
        ranks.fail(cause, code if isinstance(code, int) else 1)
        if lost:
            raise cause from None
        raise
    ranks.end()


def _start_others(place: Place) -> list[subprocess.Popen[bytes]]:
    """Start the other processes of a run on this machine: this command again, with their ranks.

    Each, this one too, computes on its share of the cores, where the environment does not say otherwise.
    """
    children, threads = [], {}
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        share = _share_of_cores(place.world_size)
        torch.set_num_threads(share)
        threads["OMP_NUM_THREADS"] = str(share)
    for rank in range(1, place.world_size):
        own = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(place.world_size),
            "LOCAL_WORLD_SIZE": str(place.world_size),
            "MASTER_ADDR": LOCAL,
            "MASTER_PORT": str(place.port),
            "VALIGN_PORT": str(place.port),
            **threads,
        }
        command = [sys.executable, *sys.orig_argv[1:]]
        children.append(subprocess.Popen(command, env={**os.environ, **own}))
    return children


def _share_of_cores(processes: int) -> int:
    """Return how many of the machine's cores each of several processes is to use."""
    own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return max(1, len(own) // processes)


def _meet(
    place: Place, wait_seconds: float, children: list[subprocess.Popen[bytes]], store: Any | None = None
) -> Ranks:
    """Open the store where it is not open yet, wait until every process has done so, and begin to watch them."""
    if place.world_size == 1:
        return Ranks(place, wait_seconds)
    store = open_store(place, is_host=place.rank == 0) if store is None else store
    watched = open_store(place, is_host=False)
    try:
        store.set(f"here/{place.rank}", "")
        store.wait([f"here/{rank}" for rank in range(place.world_size)], timedelta(seconds=OPEN_SECONDS))
    except RuntimeError:
        raise ValignError(
            f"rank {place.rank} waited {OPEN_SECONDS:.0f} s for all {place.world_size} processes; did each start?"
        ) from None
    return Ranks(place, wait_seconds, store, Watch(place, watched, children))


def _host_store(processes: int, tries: int = PORTS_TRIED) -> tuple[Place, Any]:
    """Open a store at a free port, and return this process's place with it; where another program is first, at another.

    The processes that are started after it find it there.
    """
    place = Place(0, processes, port=_free_port())
    try:
        return place, open_store(place, is_host=True)
    except ValignError:
        if tries == 1:
            raise
    return _host_store(processes, tries - 1)


def _free_port() -> int:
    """Return the first of two neighbouring free ports: for the store, and for PyTorch's process group."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind((LOCAL, 0))
            port = int(one.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                two.bind((LOCAL, port + 1))
                return port
