"""Signals that ask for an end, ours and those that somebody else handles."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from valign.core.errors import Interrupted
from valign.distributed import signals

ELSEWHERE = (signal.SIGTERM, signal.SIGUSR2)


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """What somebody else's handler received; it handles ``ELSEWHERE``, as submitit does."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda found, _: received.append(found)) for number in ELSEWHERE}
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


def test_somebody_elses_signal_waits_for_the_step_and_the_training_goes_on(
    handled: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    own = [signal.getsignal(number) for number in ELSEWHERE]
    with signals.stop_on_signal():
        with signals.defer_signals():
            for number in ELSEWHERE:
                signal.raise_signal(number)
                assert signals.received() == number
                assert number not in handled
                assert signals.pass_on(f"saved before {number.name}")
                assert signals.received() is None
                assert handled[-1] == number
        signal.raise_signal(signal.SIGUSR2)  # outside a training it is theirs at once
    assert handled == [signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR2]
    assert capsys.readouterr().err == "saved before SIGTERM\nsaved before SIGUSR2\n"
    assert [signal.getsignal(number) for number in ELSEWHERE] == own


def test_somebody_elses_signal_at_the_last_step_is_theirs_behind_it(handled: list[int]) -> None:
    with signals.stop_on_signal(), signals.defer_signals():
        signal.raise_signal(signal.SIGUSR2)
        assert handled == []
    assert handled == [signal.SIGUSR2]


@pytest.mark.parametrize("number", signals.STOPPING)
def test_our_signal_is_noted_in_a_training_and_ends_the_run_elsewhere(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended, signals.stop_on_signal():
            with pytest.raises(ValueError, match="the step"), signals.defer_signals():
                signal.raise_signal(number)
                assert signals.received() == number
                assert not signals.pass_on("nobody else")
                raise ValueError("the step")
            signal.raise_signal(number)
        assert signal.getsignal(number) == signal.SIG_DFL
        with pytest.raises(SystemExit) as late, signals.stop_on_signal(), signals.defer_signals():
            signal.raise_signal(number)  # at the last step, behind which nobody asks
    finally:
        signal.signal(number, before)
    assert signals.received() is None
    assert ended.value.code == late.value.code == Interrupted.exit_code
    assert capsys.readouterr().err == f"{number.name}: ending; the same command goes on from what is complete\n" * 2


def test_ctrl_c_waits_for_the_step_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The first is noted in a training, the second ends it; elsewhere the first does."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with signals.stop_on_signal():
            with pytest.raises(KeyboardInterrupt), signals.defer_signals():
                signal.raise_signal(signal.SIGINT)
                assert signals.received() == signal.SIGINT
                assert not signals.pass_on("nobody else")
                signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), signals.stop_on_signal(), signals.defer_signals():
            signal.raise_signal(signal.SIGINT)  # at the last step
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.count("Ctrl-C: the step is finished and saved first") == 2
