"""Progress as lines, with a clock that the test sets."""

from __future__ import annotations

import io

import pytest

from valign.core.progress import ProgressLines, duration, progress


class Clock:
    """Seconds that the test sets."""

    def __init__(self) -> None:
        """Start at 0."""
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_a_line_every_ten_seconds_at_most() -> None:
    """At 12 s 10 of 40 are done: 12 * 30 / 10 = 36 s are left. At 15 s too little time has passed.

    At 24 s 30 are done: 24 * 10 / 30 = 8 s are left.
    """
    clock, stream = Clock(), io.StringIO()
    with ProgressLines(40, "asking", "questions", stream, clock=clock) as bar:
        for now, n in ((12.0, 10), (15.0, 10), (24.0, 10), (33.0, 10)):
            clock.now = now
            bar.update(n)
    assert stream.getvalue().splitlines() == [
        "asking: 25% (10 of 40 questions), 36 s left",
        "asking: 75% (30 of 40 questions), 8 s left",
        "asking: 100% (40 of 40 questions), in 33 s",
    ]


def test_short_work_is_not_mentioned() -> None:
    clock, stream = Clock(), io.StringIO()
    with ProgressLines(2, "asking", "questions", stream, clock=clock) as bar:
        clock.now = 9.0
        bar.update(2)
    assert stream.getvalue() == ""


def test_work_that_failed_shows_how_far_it_came() -> None:
    """5 of 20 after 60 s: 60 * 15 / 5 = 180 s would have been left."""
    clock, stream = Clock(), io.StringIO()
    bar = ProgressLines(20, "asking", "questions", stream, every=100.0, clock=clock)
    clock.now = 60.0
    bar.update(5)
    with pytest.raises(RuntimeError), bar:
        bar.every = 10.0
        raise RuntimeError
    assert stream.getvalue() == "asking: 25% (5 of 20 questions), 3 min 0 s left\n"


def test_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress(3, "asking", "questions") as bar:
        bar.update(3)
    assert "asking: 100%" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_no_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(progress(3, "asking", "questions"), ProgressLines)


def test_duration_in_words() -> None:
    """125 s = 2 * 60 + 5; 7860 s = 2 * 3600 + 11 * 60."""
    assert [duration(s) for s in (0.4, 59.4, 59.6, 125, 7860)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "2 min 5 s",
        "2 h 11 min",
    ]
