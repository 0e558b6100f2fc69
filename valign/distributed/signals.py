"""Signals that ask a run to end, from SLURM or by Ctrl-C: a training first saves; everything else ends at once."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

from valign.core.errors import Interrupted

STOPPING = (signal.SIGTERM, signal.SIGUSR1)
HANDLED = (*STOPPING, signal.SIGUSR2)  # the last is submitit's
Handler = Callable[[int, FrameType | None], object]


class _State:
    """The signals of this process.

    Attributes:
        received: The signal that asked for an end, if one did.
        owner: The handler of somebody else that waits for it.
        deferring: Whether signals are only noted at the moment.
    """

    received: signal.Signals | None = None
    owner: Handler | None = None
    deferring = False


@contextlib.contextmanager
def stop_on_signal() -> Iterator[None]:
    """Let a signal end the run in an orderly way, with exit code 75; the same command then continues it.

    Ctrl-C does the same, with exit code 130; a second one ends a training without saving. A signal for which somebody
    else, such as submitit, has a handler already is left to that handler. While a model is trained, the handler is
    called after the step, when everything is saved.
    """
    _State.received = _State.owner = None
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for number in HANDLED:
        handler = signal.getsignal(number)
        if handler == signal.SIG_DFL and number in STOPPING:
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
def defer_signals() -> Iterator[None]:
    """Only note signals while a model is trained; the training looks at ``received`` after each step but the last.

    A signal that came during the last step takes effect when the block ends.
    """
    _State.deferring = True
    try:
        yield
    finally:
        _State.deferring = False
    if _State.received == signal.SIGINT:
        raise KeyboardInterrupt
    if _State.received is not None and not pass_on(f"{_State.received.name}: at the last step"):
        _receive(_State.received, None)


def received() -> signal.Signals | None:
    """Return the signal that asked for an end, if one did."""
    return _State.received


def is_owned() -> bool:
    """Tell whether somebody else's handler waits for the signal that asked for an end."""
    return _State.owner is not None


def pass_on(text: str) -> bool:
    """Call somebody else's handler for the signal that asked for an end; it may end the process.

    Args:
        text: Printed on stderr before.

    Returns:
        Whether there was such a handler, after which the training goes on; False where the signal is ours.
    """
    owner, number = _State.owner, _State.received
    if owner is None or number is None:
        return False
    _State.received = _State.owner = None
    print(text, file=sys.stderr, flush=True)
    owner(number, None)
    return True


def _keep_for(owner: Handler, number: int, frame: FrameType | None) -> None:
    if _State.deferring:
        _State.received, _State.owner = signal.Signals(number), owner
    else:
        owner(number, frame)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _State.deferring or _State.received is not None:
        raise KeyboardInterrupt
    _State.received, _State.owner = signal.SIGINT, None
    print("\nCtrl-C: the step is finished and saved first; once more ends at once", file=sys.stderr, flush=True)


def _receive(number: int, frame: FrameType | None) -> None:
    _State.received, _State.owner = signal.Signals(number), None
    if not _State.deferring:
        print(f"{_State.received.name}: ending; the same command goes on from what is complete", file=sys.stderr)
        sys.exit(Interrupted.exit_code)
