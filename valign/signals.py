"""SIGTERM and SIGUSR1, by which SLURM announces an end: a training finishes its step and saves; all else just ends."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from valign.errors import Interrupted

HEEDED = (signal.SIGTERM, signal.SIGUSR1)


class _State:
    """What was received, and whether a training looks at it."""

    received: signal.Signals | None = None
    training = False


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Let a signal end the run in an orderly way: exit code 75, and the same command goes on.

    Signals that somebody else handles already, such as submitit, are left to them.
    """
    _State.received = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in HEEDED}
    own = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in own:
        signal.signal(number, _receive)
    try:
        yield
    finally:
        for number in own:
            signal.signal(number, before[number])


@contextlib.contextmanager
def training() -> Iterator[None]:
    """While this lasts, a signal is only noted; whoever trains asks ``asked`` after each step."""
    _State.training = True
    try:
        yield
    finally:
        _State.training = False


def asked() -> signal.Signals | None:
    """Return the signal that asked for an end, if one did."""
    return _State.received


def _receive(number: int, frame: FrameType | None) -> None:
    _State.received = signal.Signals(number)
    if not _State.training:
        print(f"{_State.received.name}: ending; the same command goes on from what is complete", file=sys.stderr)
        sys.exit(Interrupted.exit_code)
