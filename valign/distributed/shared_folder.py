"""A check that the processes of a run see one file system."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from valign.core.errors import ValignError
from valign.distributed.ranks import Ranks

VISIBLE_SECONDS_SRUN = 60.0
VISIBLE_SECONDS = 6.0


def check_shared_folder(folder: Path, ranks: Ranks) -> None:
    """Check that all processes see what the first one writes into a folder.

    Args:
        folder: Where they share their artifacts; it is made.
        ranks: The run's processes. A network file system may take a while to show a new file, so that processes which
            srun has started, perhaps on several nodes, wait longer.

    Raises:
        ValignError: This process does not see the file.
    """
    if ranks.world_size == 1:
        return

    def write() -> list[str]:
        name = f".shared-{ranks.place.port}-{os.getpid()}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(socket.gethostname(), encoding="utf-8")
        return [name, socket.gethostname()]

    name, host = ranks.broadcast(write)
    deadline = time.monotonic() + (VISIBLE_SECONDS_SRUN if ranks.place.launcher == "srun" else VISIBLE_SECONDS)
    while not (folder.is_dir() and name in os.listdir(folder)):
        if time.monotonic() > deadline:
            raise ValignError(
                f"artifacts={folder} is not shared: rank {ranks.rank} on {socket.gethostname()} does not see what "
                f"rank 0 on {host} wrote there; choose a folder on a file system that all nodes mount."
            )
        time.sleep(0.5)
    ranks.gather(None)
    if ranks.is_first:
        (folder / name).unlink(missing_ok=True)
