"""Progress of a long loop: a bar on a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from typing import Self

LINE_SECONDS = 10.0


class ProgressBar(Protocol):
    """What shows progress; closed by the ``with`` statement."""

    def update(self, n: int = 1) -> object:
        """Add n finished units."""
        ...

    def close(self) -> object:
        """Show the last state and release the line."""
        ...

    def __enter__(self) -> Self:
        """Return the bar."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> object:
        """Close the bar."""
        ...


class ProgressLines:
    """Progress as lines of text, for log files."""

    def __init__(
        self,
        total: int,
        label: str,
        unit: str,
        stream: TextIO,
        every: float = LINE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the clock.

        Args:
            total: Units of work in all.
            label: What is done.
            unit: Name of the units, in the plural.
            stream: Where the lines go.
            every: Fewest seconds between two lines; work that takes less than that is not mentioned.
            clock: Seconds that only go forward.
        """
        self.total = total
        self.label = label
        self.unit = unit
        self.stream = stream
        self.every = every
        self.clock = clock
        self.done = 0
        self.started = self.shown = clock()

    def update(self, n: int = 1) -> None:
        """Add n finished units, and write a line if the last one is long enough ago."""
        self.done += n
        if self.clock() - self.shown >= self.every and self.done < self.total:
            self._show()

    def close(self) -> None:
        """Write a last line if there was time for another one, or if not everything is done."""
        if self.clock() - self.started >= self.every:
            self._show()

    def __enter__(self) -> Self:
        """Return the bar."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar."""
        self.close()

    def _show(self) -> None:
        self.shown = self.clock()
        seconds = self.shown - self.started
        share = self.done / self.total if self.total else 1.0
        left = f"in {duration(seconds)}"
        if 0 < self.done < self.total:
            left = f"{duration(seconds * (self.total - self.done) / self.done)} left"
        self.stream.write(f"{self.label}: {share:.0%} ({self.done} of {self.total} {self.unit}), {left}\n")
        self.stream.flush()


def progress(total: int, label: str, unit: str) -> ProgressBar:
    """Return what shows the progress of a loop on stderr, with an estimate of the time that is left.

    Args:
        total: Units of work in all.
        label: What is done, for example ``writing questions``.
        unit: Name of the units, in the plural.

    Returns:
        A bar on a terminal; elsewhere lines, one every ten seconds at most.
    """
    if not sys.stderr.isatty():
        return ProgressLines(total, label, unit, sys.stderr)
    from tqdm import tqdm

    return tqdm(total=total, desc=label, unit=f" {unit}", dynamic_ncols=True, smoothing=0.1)


def duration(seconds: float) -> str:
    """Return seconds in words: ``42 s``, ``3 min 5 s`` or ``2 h 10 min``."""
    whole = max(0, round(seconds))  # a clock may have been set back
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
