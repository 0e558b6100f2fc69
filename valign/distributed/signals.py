"""Signals that ask for an end, from SLURM or by Ctrl-C: a training finishes its step and saves; all else just ends."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

from valign.core.errors import Interrupted

HEEDED = (signal.SIGTERM, signal.SIGUSR1)
LEFT = (*HEEDED, signal.SIGUSR2)  # the last is submitit's
Handler = Callable[[int, FrameType | None], object]


class _State:
    """What was received, whose handler waits for it, and whether a training looks at it."""

    received: signal.Signals | None = None
    owner: Handler | None = None
    training = False


@contextlib.contextmanager
def heeded() -> Iterator[None]:
    """Let a signal end the run in an orderly way: exit code 75, and the same command goes on.

    Ctrl-C is heeded likewise, with exit code 130; a second one ends a training without saving. A signal that somebody
    else handles already, such as submitit, is left to them; while a model is trained they get it behind the step, when
    all is saved.
    """
    _State.received = _State.owner = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for number in LEFT:
        handler = signal.getsignal(number)
        if handler == signal.SIG_DFL and number in HEEDED:
            before[number] = signal.signal(number, _receive)
        elif callable(handler):
            before[number] = signal.signal(number, partial(_keep_for, handler))
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _State.received = _State.owner = None


@contextlib.contextmanager
def training() -> Iterator[None]:
    """While this lasts, a signal is only noted; whoever trains asks ``asked`` after each step, except the last."""
    _State.training = True
    try:
        yield
    finally:
        _State.training = False
    if _State.received == signal.SIGINT:
        raise KeyboardInterrupt
    if _State.received is not None and not hand_over(f"{_State.received.name}: at the last step"):
        _receive(_State.received, None)


def asked() -> signal.Signals | None:
    """Return the signal that asked for an end, if one did."""
    return _State.received


def hand_over(text: str) -> bool:
    """Give the signal that asked for an end to whoever else handles it, who may end the process.

    Args:
        text: What is said before.

    Returns:
        Whether somebody did and the training goes on; False where the signal is ours.
    """
    owner, number = _State.owner, _State.received
    if owner is None or number is None:
        return False
    _State.received = _State.owner = None
    print(text, file=sys.stderr, flush=True)
    owner(number, None)
    return True


def _keep_for(owner: Handler, number: int, frame: FrameType | None) -> None:
    if _State.training:
        _State.received, _State.owner = signal.Signals(number), owner
    else:
        owner(number, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _State.training or _State.received is not None:
        raise KeyboardInterrupt
    _State.received, _State.owner = signal.SIGINT, None
    print("\nCtrl-C: the step is finished and saved first; once more ends at once", file=sys.stderr, flush=True)


def _receive(number: int, frame: FrameType | None) -> None:
    _State.received, _State.owner = signal.Signals(number), None
    if not _State.training:
        print(f"{_State.received.name}: ending; the same command goes on from what is complete", file=sys.stderr)
        sys.exit(Interrupted.exit_code)
