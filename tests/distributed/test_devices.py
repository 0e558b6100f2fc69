"""Every process of a run has a GPU of its own, or one line says why not, before a teacher is paid."""

from __future__ import annotations

import os
import socket

import pytest
from fake_gpus import Seen, show_gpus

from valign.core.errors import ValignError
from valign.distributed import join
from valign.distributed.devices import claim_devices, device_of, own_device
from valign.distributed.place import LOCAL, Place
from valign.distributed.ranks import Ranks


def place(local: int, world: int = 4, launcher: str = "") -> Place:
    return Place(local, world, local, 0, launcher, LOCAL, 1)


def test_a_process_takes_the_gpu_of_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """And makes it PyTorch's own, for libraries that load to "cuda"."""
    taken = show_gpus(monkeypatch, "abcd")
    assert [own_device("gpu", Ranks(place(local))) for local in range(4)] == [f"cuda:{local}" for local in range(4)]
    claim_devices("gpu", Seen(place(2)))
    assert taken == [2]
    claim_devices("gpu", Ranks())
    assert taken == [2, 0]


def test_more_processes_than_gpus_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would share the first one, and fail an hour later."""
    show_gpus(monkeypatch, "a")
    with pytest.raises(
        ValignError, match=r"4 processes on .* need a GPU each, and PyTorch sees 1: .*=1 \(trainer=gpu\)"
    ):
        claim_devices("gpu", Seen(place(0)))
    show_gpus(monkeypatch, "ab")
    with pytest.raises(
        ValignError, match=r"4 processes on .* and PyTorch sees 2: set trainer\.devices=2, or start one"
    ):
        own_device("auto", Ranks(place(3, launcher="srun")))
    assert own_device("auto", Ranks(place(1, launcher="srun"))) == "cuda:1"


def test_a_launcher_may_show_each_process_its_own_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``srun --gpus-per-task=1`` does: it is the first one everywhere, and another one everywhere."""
    taken, host = show_gpus(monkeypatch, "a"), socket.gethostname()
    first = Seen(place(0, launcher="srun"), [f"{host}: b", f"{host}: c", "elsewhere: a"])
    claim_devices("gpu", first)
    assert (own_device("gpu", Ranks(place(3, launcher="srun"))), taken) == ("cuda:0", [0])


def test_two_processes_never_share_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    show_gpus(monkeypatch, "a")
    shared = Seen(place(0, launcher="srun"), [f"{socket.gethostname()}: b", f"{socket.gethostname()}: a"])
    with pytest.raises(ValignError, match=r"ranks 0 and 2 see the same GPU of .*lower trainer.devices"):
        claim_devices("gpu", shared)


def test_no_gpu_and_none_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU ranks share a machine."""
    taken = show_gpus(monkeypatch, "")
    claim_devices("cpu", Seen(place(0), [""]))
    claim_devices("auto", Seen(place(0), [""]))
    assert (device_of("auto"), taken) == ("cpu", [])
    with pytest.raises(ValignError, match=r"trainer.accelerator=gpu, but PyTorch sees no GPU"):
        claim_devices("gpu", Ranks())


@pytest.mark.parametrize(("given", "expected"), [(None, "4"), ("3", "3")])
def test_processes_share_the_cores(given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of eight cores each would take all; where the environment says how many, that stays."""
    started: list[str] = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(join.subprocess, "Popen", lambda command, env: started.append(env["OMP_NUM_THREADS"]))
    threads: list[int] = []
    monkeypatch.setattr("torch.set_num_threads", threads.append)
    join._start_others(place(0, world=2))
    assert (started, threads) == ([expected], [] if given else [4])
