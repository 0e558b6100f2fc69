"""The key-value store that the processes of a run share: how it is opened, and waiting for its keys with a limit."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from valign.core.errors import Interrupted, ValignError
from valign.distributed.place import Place

log = logging.getLogger(__name__)

OPEN_SECONDS = 300.0
BEAT_SECONDS = 1.0
ANNOUNCE_SECONDS = 20.0
PART_BYTES = 4 * 2**20  # of a value under one key: the store closes a connection that sends more than 8 MiB at once


def open_store(place: Place, *, is_host: bool) -> Any:
    """Open the store, a ``torch.distributed.TCPStore`` at the first process.

    Args:
        place: Where this process stands; its address and port are those of the store.
        is_host: Whether the store is to run in this process. Every other connection is a client, also one that rank 0
            opens to its own store.

    Raises:
        ValignError: The port is taken, or the first process cannot be reached within ``OPEN_SECONDS``.
    """
    # one line says that a connection is lost, no stack in C++; torch reads it when it is imported
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from torch.distributed import TCPStore

    try:
        return TCPStore(
            place.address,
            place.port,
            is_master=is_host,
            timeout=timedelta(seconds=OPEN_SECONDS),
            wait_for_workers=False,
        )
    except RuntimeError as error:
        where = f"{place.address}:{place.port}"
        if is_host:
            text = f"rank 0 cannot listen on {where} ({_reason(error)}); choose a free port: MASTER_PORT=..."
        else:
            text = f"rank {place.rank} cannot reach rank 0 at {where} ({_reason(error)}); set MASTER_ADDR."
        raise ValignError(text) from None


def wait_for_key(store: Any, key: str, *, rank: int, whom: str, seconds: float) -> bytes:
    """Wait until a key is set and return its value; after ``ANNOUNCE_SECONDS`` a warning says what is waited for.

    Args:
        store: The store.
        key: The key.
        rank: This process's rank, for messages.
        whom: Who is to set the key, for messages.
        seconds: The longest wait.

    Raises:
        ValignError: The key was not set in time.
        Interrupted: The store is gone.
    """
    from torch.distributed import DistStoreError

    began = time.monotonic()
    announced = False
    while True:
        left = seconds - (time.monotonic() - began)
        try:
            store.wait([key], timedelta(seconds=max(0.01, min(left, BEAT_SECONDS))))
            found: bytes = store.get(key)
            return found
        except DistStoreError:
            if left <= BEAT_SECONDS:
                raise ValignError(
                    f"rank {rank} has waited {seconds:.0f} s for {whom}; raise trainer.wait_seconds."
                ) from None
            if not announced and time.monotonic() - began > ANNOUNCE_SECONDS:
                log.warning("rank %d waits for %s (%.0f s at most)", rank, whom, seconds)
                announced = True
        except RuntimeError:
            time.sleep(2 * BEAT_SECONDS)  # the watch ends this process first, with the reason that it knows
            raise Interrupted(f"rank {rank} has lost {whom}.") from None


def set_value(store: Any, key: str, value: bytes) -> None:
    """Set a key to a value of any size, for ``wait_for_value``: in parts, the first of which is set last.

    Args:
        store: The store.
        key: The key; its parts are ``<key>/part-<n>``.
        value: The value.
    """
    parts = [value[at : at + PART_BYTES] for at in range(0, len(value), PART_BYTES)] or [b""]
    for number, part in enumerate(parts[1:], start=1):
        store.set(f"{key}/part-{number}", part)
    store.set(key, f"{len(parts)}\n".encode() + parts[0])


def wait_for_value(store: Any, key: str, *, is_last: bool = False, **waiting: Any) -> bytes:
    """Wait for a key that ``set_value`` sets, and return its value.

    Args:
        store: The store.
        key: The key.
        is_last: Whether nobody else will ask for it: it is then deleted.
        **waiting: As for ``wait_for_key``, whose errors are raised.
    """
    count, _, first = wait_for_key(store, key, **waiting).partition(b"\n")
    keys = [f"{key}/part-{number}" for number in range(1, int(count))]
    value = b"".join([first, *(wait_for_key(store, name, **waiting) for name in keys)])
    if is_last:
        for name in (key, *keys):
            store.delete_key(name)
    return value


def wait_for_all(store: Any, keys: Sequence[str], seconds: float) -> bool | None:
    """Wait until all keys are set.

    Returns:
        Whether they were set in time; None where the store is gone.
    """
    from torch.distributed import DistStoreError

    try:
        store.wait(list(keys), timedelta(seconds=seconds))
    except DistStoreError:
        return False
    except RuntimeError:
        return None
    return True


def _reason(error: Exception) -> str:
    """Return the first line of PyTorch's message, without the source location in front of it."""
    text = str(error).split("\n", maxsplit=1)[0]
    return text.rpartition("]: ")[2].rstrip(".")[:160]
