"""Runs a command and ends it, with all that it has started, when the process that asked for it ends in any way.

Started as a script, by its path, with the standard library alone. It stands in a session of its own, so that Ctrl-C on
a terminal does not reach it, and the command in another one. SIGTERM ends the command; so does the end of the parent,
even by SIGKILL, which is noticed by the parent's process id.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

_LOOK_SECONDS = 0.1
_BECOME_REAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux: what the command leaves behind becomes a child of this process


def main(arguments: list[str]) -> int:
    """Run a command to its end, or to that of the parent.

    Args:
        arguments: The parent's process id, the seconds that the command has to end by itself, and the command.

    Returns:
        The command's exit code; 128 and the signal's number where a signal ended it.
    """
    parent, grace, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_BECOME_REAPER, 1, 0, 0, 0)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, restore_signals=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    code: int | None = None
    while code is None and not asked and os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
        code = _reap(child.pid, code)
    return _end_group(child.pid, grace, code)


def _end_group(group: int, grace: float, code: int | None) -> int:
    """End all processes of a group, first politely, and return the exit code of the one that leads it."""
    stop = time.monotonic() + grace
    _send(group, signal.SIGTERM)
    while _send(group, 0) and time.monotonic() < stop:
        time.sleep(_LOOK_SECONDS / 2)
        code = _reap(group, code)
    _send(group, signal.SIGKILL)
    while code is None:
        time.sleep(_LOOK_SECONDS / 2)
        code = _reap(group, code)
    return code


def _send(group: int, number: int) -> bool:
    """Send a signal to a group; False where no process is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _reap(leader: int, code: int | None) -> int | None:
    """Collect what has ended; return the leader's exit code once it has."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 1 if code is None else code
        if pid == 0:
            return code
        if pid == leader:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
