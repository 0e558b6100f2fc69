"""How the processes of a run find each other and part again."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator

from valign.core.errors import Interrupted, ValignError
from valign.distributed.place import LOCAL, PROCESS, Place
from valign.distributed.ranks import LOST_CONNECTION, Ranks


@contextlib.contextmanager
def joined(asked: int | None, wait_seconds: float, sweeping: bool = False) -> Iterator[Ranks]:
    """Meet the other processes of this run, and part from them in the end, or with the first error of any.

    Args:
        asked: Processes that the settings ask for; None takes what the launcher started.
        wait_seconds: How long they wait for the first.
        sweeping: Whether this is a job of a multirun, which cannot be started again as other ranks.

    Raises:
        ValignError: There are more or fewer processes than asked for.
    """
    place = PROCESS.place
    spawning = asked is not None and asked > 1 and not place.launcher
    if asked is not None and place.launcher and asked != place.world:
        raise ValignError(
            f"trainer.devices x trainer.num_nodes is {asked}, and {place.launcher} started {place.world} processes; "
            "set both to what was started: one process for each device."
        )
    if spawning:
        if sweeping:
            raise ValignError("a multirun trains on one device in each job; use a run without -m for several.")
        place = Place(0, asked or 1, port=_free_port())
    ranks = Ranks(place, wait_seconds)
    if spawning:
        ranks.spawn()
    try:
        ranks.connect()
    except ValignError:
        PROCESS.joined = True
        raise
    PROCESS.joined = True
    if not ranks.first:
        logging.getLogger("valign").setLevel(logging.WARNING)
    try:
        yield ranks
    except BaseException as error:
        if ranks.world == 1:
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


def _free_port() -> int:
    """Return the first of two neighbouring free ports."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind((LOCAL, 0))
            port = int(one.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                two.bind((LOCAL, port + 1))
                return port
