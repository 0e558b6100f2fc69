"""Documents of 20,000 clauses are read in time and memory that grow with their length, in every format."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import reading_scale

ROOT = Path(__file__).resolve().parents[2]


def measured(suffix: str, count: int) -> tuple[float, float]:
    """Processor's seconds and peak memory in MiB of a process that reads so many clauses."""
    done = subprocess.run(
        [sys.executable, reading_scale.__file__, suffix, str(count)],
        input=reading_scale.made(suffix, count), capture_output=True, check=False, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert not done.returncode, done.stderr.decode()[-2000:]
    seconds, memory = map(float, done.stdout.split())
    print(f"{suffix}, {count:,} clauses: {seconds:.2f} s, {memory:.0f} MiB")
    return seconds, memory


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["txt", "md", "html", "docx", "pdf"])
def test_ten_times_the_clauses_take_about_ten_times_as_much(suffix: str) -> None:
    """What is quadratic takes a hundred times as much; the memory of an empty reader is taken off.

    Other work on the machine only adds to the processor's seconds, threefold at times. So a document that took too long
    is read again, twice at most, and its least counts.
    """
    _, empty = measured(suffix, 20)
    sizes = (2_000, 6_000, 20_000)
    seconds, memory = map(list, zip(*(measured(suffix, count) for count in sizes), strict=True))
    for k, times in ((1, 5), (2, 17)):
        for _ in range(2):
            if seconds[k] >= times * seconds[0] + 0.5:
                seconds[k] = min(seconds[k], measured(suffix, sizes[k])[0])
        assert seconds[k] < times * seconds[0] + 0.5
    assert memory[2] - empty < 15 * (memory[0] - empty) + 30
    assert memory[2] < 300
