"""Processes of one run that order, share, gather, and end together; they need no more of PyTorch than its store."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from valign import ranks
from valign.errors import ValignError
from valign.ranks import Place, Ranks, find_place, first_host, joined

ROOT = Path(__file__).resolve().parents[2]
PAIR = """
import sys, time
sys.path.insert(0, sys.argv[1])
from valign.cli import _say
from valign.errors import ValignError
from valign.ranks import joined
try:
    with joined(2, 60.0) as ranks:
        if ranks.first:
            print("shared", ranks.share(lambda: [1, 2.5]), flush=True)
            ranks.order("square", number=7)
            print("gathered", ranks.gather("zero"), flush=True)
            if sys.argv[2] == "fail":
                time.sleep(300)
        else:
            assert ranks.share(lambda: 1 / 0) == [1, 2.5]
            for name, arguments in ranks.orders():
                ranks.gather(f"{name} {arguments['number'] ** 2}")
                if sys.argv[2] == "fail":
                    raise ValignError("rank 1 is broken")
except ValignError as error:
    _say(str(error))
    sys.exit(2)
"""


def pair(what: str) -> subprocess.CompletedProcess[str]:
    """Run two processes, of which the first starts the second."""
    command = [sys.executable, "-c", PAIR, str(ROOT), what]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_two_processes_share_order_gather_and_part() -> None:
    done = pair("work")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "shared [1, 2.5]\ngathered ['zero', 'square 49']\n"
    assert done.stderr == ""


def test_a_failure_of_the_second_ends_the_first_with_its_words_once() -> None:
    """The first would sleep for five minutes."""
    began = time.monotonic()
    done = pair("fail")
    assert time.monotonic() - began < 250
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "error" in line] == [done.stderr.strip()]
    assert done.stderr.startswith("error: rank 1 on ")
    assert done.stderr.endswith(": rank 1 is broken\n")


def test_places() -> None:
    """A task of srun; a process of torchrun, whose own store has MASTER_PORT; a batch script, which is no task."""
    task = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
    task |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "1", "SLURM_STEP_NODELIST": "gpu[03-04]"}
    assert find_place(task) == Place(1, 2, 0, 1, "srun", "gpu03", 10182)
    assert find_place({**task, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "5"}).address == "10.0.0.1"
    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": "29500"}
    assert find_place(torchrun) == Place(3, 4, 1, 1, "torchrun", "127.0.0.1", 29501)
    assert find_place({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}) == Place()
    assert [first_host(nodes) for nodes in ("n1,n2", "n[7,9]", "login1,gpu[1-2]")] == ["n1", "n7", "login1"]


def test_more_or_fewer_processes_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks.PROCESS, "place", Place(0, 2, launcher="srun"))
    with pytest.raises(ValignError, match="is 8, and srun started 2 processes"), joined(8, 1.0):
        pass
    monkeypatch.setattr(ranks.PROCESS, "place", Place())
    with pytest.raises(ValignError, match="a multirun trains on one device"), joined(2, 1.0, sweeping=True):
        pass


def test_a_single_process_does_everything_itself() -> None:
    alone = Ranks()
    alone.order("anything", number=1)
    assert (alone.share(lambda: 3), alone.gather(4), alone.first) == (3, [4], True)
