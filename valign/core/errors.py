"""The exceptions that reach a user: what is wrong, where, and what to do, in a single line."""

from __future__ import annotations

from valign.core.text import hide_logins, one_line, printable

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message without a final stop; its class where it has no message."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


class ValignError(Exception):
    """Bad input or an impossible set-up; its message is one line that names the remedy.

    Entry points print the message alone, without a traceback, and exit with ``exit_code``.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(hide_logins(one_line(message)))  # file names, titles, servers' words may be a stranger's


class LimitReached(ValignError):
    """A limit that the user set on tokens or cost is reached; nothing is wrong and nothing is lost."""

    exit_code = 3


class Pending(ValignError):
    """Completions are missing that a batch has to bring; nothing is wrong, and the same command goes on from there.

    Attributes:
        lines: What is missing, and what to do next: text of several lines.
    """

    exit_code = 4

    def __init__(self, lines: str) -> None:
        super().__init__(lines)
        self.lines = printable(lines)

    def __reduce__(self) -> tuple[type[Pending], tuple[str]]:
        """Keep the lines where a job on a cluster hands its error on."""
        return type(self), (self.lines,)


class Interrupted(ValignError):
    """A signal or the loss of another process ended a run; nothing is wrong, and the same command continues it.

    The exit code is 75 (EX_TEMPFAIL), at which the batch scripts requeue their job, and 130 after Ctrl-C.
    """

    exit_code = 75

    def __init__(self, message: str, by_hand: bool = False) -> None:
        super().__init__(message)
        if by_hand:
            self.exit_code = INTERRUPTED
