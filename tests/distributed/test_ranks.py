"""Processes of one run that command, broadcast, gather and end together; of PyTorch they need only its store."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from torch.distributed import TCPStore

from valign.core.errors import ValignError
from valign.distributed import join, place
from valign.distributed.join import connect
from valign.distributed.key_store import PART_BYTES, set_value, wait_for_value
from valign.distributed.place import Place, find_place, first_host
from valign.distributed.ranks import Ranks

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 20  # from a failure to the end of all
PAIR = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from valign.cli.main import print_error
from valign.core.errors import ValignError
from valign.distributed.join import connect


def say(line):
    os.write(1, f"{line}\\n".encode())  # at once: both processes write here


try:
    with connect(2, 60.0) as ranks:
        if ranks.is_first:
            print("shared", ranks.broadcast(lambda: [1, 2.5]), flush=True)
            ranks.command("square", number=7)
            say(f"gathered {ranks.gather('zero')}")
        else:
            assert ranks.broadcast(lambda: 1 / 0) == [1, 2.5]
            for name, arguments in ranks.commands():
                ranks.gather(f"{name} {arguments['number'] ** 2}")
                break
        if sys.argv[2] == str(ranks.rank):
            say(f"failed at {time.time()}")
            raise ValignError(f"rank {ranks.rank} is broken")
        if sys.argv[2] != "work":
            time.sleep(300)
except ValignError as error:
    print_error(str(error))
    sys.exit(2)
"""


LATE = """
import logging, sys, time
sys.path.insert(0, sys.argv[1])
from valign.cli.main import print_error
from valign.core.errors import ValignError
from valign.distributed import key_store
from valign.distributed.join import connect
logging.basicConfig(format="%(message)s")
key_store.ANNOUNCE_SECONDS = 1.0
late = int(sys.argv[2])
try:
    with connect(2, 4.0) as ranks:
        if ranks.rank == late:
            time.sleep(300)
        ranks.gather(1) if ranks.is_first else list(ranks.commands())
except ValignError as error:
    print_error(str(error))
    sys.exit(2)
"""


def pair(what: str, script: str = PAIR) -> subprocess.CompletedProcess[str]:
    """Run two processes, of which the first starts the second."""
    command = [sys.executable, "-c", script, str(ROOT), what]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.slow
def test_two_processes_broadcast_command_gather_and_part() -> None:
    done = pair("work")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "shared [1, 2.5]\ngathered ['zero', 'square 49']\n"
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_failure_ends_both_with_its_words_once(rank: int) -> None:
    """The other one would sleep for five minutes. Measured on two busy cores: 2 s."""
    done = pair(str(rank))
    ended = time.time()
    found = re.findall(r"failed at (\S+)\n", done.stdout)
    assert found, done.stdout + done.stderr
    failed = float(found[0])
    assert failed < ended < failed + SECONDS
    assert done.returncode == 2
    whose = "" if rank == 0 else r"rank 1 on \S+: "
    assert re.fullmatch(rf"error: {whose}rank {rank} is broken\n", done.stderr), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("late", "whom"), [(0, "the first process, which asks the teacher and writes"), (1, "rank 1")])
def test_waiting_is_announced_and_ends(late: int, whom: str) -> None:
    """One rank would sleep for five minutes; the other says whom it waits for, gives up after 4 s, and ends both."""
    began = time.monotonic()
    done = pair(str(late), LATE)
    assert time.monotonic() - began < 120
    assert done.returncode == 2
    waiting, ended = done.stderr.splitlines()
    assert waiting == f"rank {1 - late} waits for {whom} (4 s at most)"
    assert ended.startswith("error: ")
    assert ended.endswith(f"rank {1 - late} has waited 4 s for {whom}; raise trainer.wait_seconds.")


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


def test_a_port_that_is_taken_meanwhile_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter([taken, join._free_port()])
        monkeypatch.setattr(join, "_free_port", lambda: next(ports))
        found, store = join._host_store(2)
        assert (found.rank, found.world_size) == (0, 2) and found.port not in (0, taken)
        store.set("key", "value")
        assert store.get("key") == b"value"
        monkeypatch.setattr(join, "_free_port", lambda: taken)
        with pytest.raises(ValignError, match=f"rank 0 cannot listen on 127.0.0.1:{taken}"):
            join._host_store(2)


def test_more_or_fewer_processes_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.PROCESS, "place", Place(0, 2, launcher="srun"))
    with pytest.raises(ValignError, match="is 8, and srun started 2 processes"), connect(8, 1.0):
        pass
    monkeypatch.setattr(place.PROCESS, "place", Place())
    with pytest.raises(ValignError, match="a multirun trains on one device"), connect(2, 1.0, sweeping=True):
        pass


def test_a_single_process_does_everything_itself() -> None:
    alone = Ranks()
    alone.command("anything", number=1)
    assert (alone.broadcast(lambda: 3), alone.gather(4), alone.is_first) == (3, [4], True)


@pytest.mark.parametrize("size", [0, 5, PART_BYTES, 3 * PART_BYTES + 1], ids=lambda size: f"{size} bytes")
def test_values_of_any_size_go_through_the_store(size: int) -> None:
    """The store itself closes the connection on more than 8 MiB; what nobody else asks for is deleted."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    client = TCPStore("127.0.0.1", store.port, is_master=False, wait_for_workers=False)
    value = bytes(index % 251 for index in range(1000)) * (size // 1000 + 1)
    waiting: dict[str, Any] = {"rank": 0, "whom": "rank 1", "seconds": 5.0}
    set_value(client, "gather/1/1", value[:size])
    assert wait_for_value(store, "gather/1/1", **waiting) == value[:size]
    assert store.num_keys() == max(1, -(-size // PART_BYTES))
    assert wait_for_value(client, "gather/1/1", is_last=True, **waiting) == value[:size]
    assert store.num_keys() == 0
