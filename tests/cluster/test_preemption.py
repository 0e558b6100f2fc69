"""Jobs that are preempted, killed, or lose a node: they go on, and end with the curve of a run that was left alone."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_place import ROOT, Place, train

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

RESOURCES = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--output=train.log")
SLOW = ["sft.epochs=12", "recipe=sft"]
RANKS = ["sft.batch_size=2", "trainer.accelerator=cpu", "trainer.deepspeed.zero_optimization.overlap_comm=false"]


def environment(*settings: str) -> dict[str, str]:
    """Return what ``slurm/train.sbatch`` reads."""
    words = [part for part in train(*SLOW, *RANKS, *settings)[3:] if not part.startswith("logger=")]
    return {
        "VALIGN_SETTINGS": " ".join(words),
        "TRAINER": "deepspeed_zero2",
        "PYTHON": sys.executable,
        "DS_ACCELERATOR": "cpu",
        "WANDB_MODE": "offline",
    }


def submit(place: Place, *arguments: str) -> str:
    """Submit ``slurm/train.sbatch`` and return the job's number."""
    done = place.cluster.attempt(
        "sbatch", "--parsable", *RESOURCES, *arguments, str(ROOT / "slurm" / "train.sbatch"),
        cwd=place.folder, environment=environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def checkpoints(place: Place) -> list[int]:
    """Return the steps of the complete checkpoints that are there."""
    return [int(path.name[5:12]) for path in place.folder.glob("artifacts/sft/*/checkpoints/step-*.ckpt")]


def until_trained(place: Place, steps: int) -> None:
    """Wait until a checkpoint of some steps is there."""
    place.cluster.wait(lambda: max(checkpoints(place), default=0) >= steps, f"checkpoint of step {steps}", 300)


def finish(place: Place, job: str) -> str:
    """Wait until a job was requeued and has ended, and return its log."""
    place.cluster.wait(lambda: place.cluster.restarts(job) > 0, "requeue", 90)
    state = place.cluster.wait_for(job, 600)
    log = (place.folder / "train.log").read_text()
    assert state == "COMPLETED", log[-4000:]
    return log


@pytest.fixture(scope="module")
def alone(make_place: Callable[[str], Place]) -> Place:
    """A run in one process that nobody interrupts."""
    place = make_place("alone")
    place.cluster.run(*train(*SLOW), cwd=place.folder, timeout=600)
    return place


def the_curve_is_that_of(place: Place, alone: Place) -> None:
    """Check step for step; two ranks differ from one process in the sixth digit."""
    assert place.curve("sft") == pytest.approx(alone.curve("sft"), abs=1e-5)


def test_a_preempted_job_saves_requeues_and_goes_on(alone: Place, make_place: Callable[[str], Place]) -> None:
    """SIGUSR1, as --signal sends it, ends the step; the job is requeued and its W&B run is the same one."""
    place = make_place("preempted")
    job = submit(place)
    until_trained(place, 3)
    place.cluster.run("scancel", "--signal=USR1", job)
    log = finish(place, job)
    assert "SIGUSR1: saved step" in log or "a signal to another process: saved step" in log
    assert "going on from step" in log
    the_curve_is_that_of(place, alone)
    runs = sorted(path.name.rpartition("-")[2] for path in place.folder.glob("runs/harbour/*/wandb/offline-run-*"))
    assert len(runs) == 2
    assert len(set(runs)) == 1


def test_a_killed_rank_ends_the_other_and_the_job_goes_on(alone: Place, make_place: Callable[[str], Place]) -> None:
    place = make_place("killed")
    job = submit(place)
    until_trained(place, 3)
    os.kill(rank_of(job, 1), signal.SIGKILL)
    log = finish(place, job)
    assert "going on from step" in log
    the_curve_is_that_of(place, alone)


def test_a_lost_node_ends_in_a_requeued_run(alone: Place, make_place: Callable[[str], Place]) -> None:
    """The second node's daemon is killed with all that runs there, and comes back."""
    place = make_place("lost")
    job = submit(place)
    until_trained(place, 3)
    place.cluster.kill_node("n2")
    place.cluster.wait(lambda: place.cluster.restarts(job) > 0, "requeue", 120)
    place.cluster.start_node("n2")
    place.cluster.attempt("scontrol", "update", "nodename=n2", "state=resume")
    log = finish(place, job)
    assert "going on from step" in log
    the_curve_is_that_of(place, alone)


def rank_of(job: str, rank: int) -> int:
    """Return the process of a rank of a job."""
    wanted = {f"SLURM_JOB_ID={job}".encode(), f"SLURM_PROCID={rank}".encode()}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                found = set((entry / "environ").read_bytes().split(b"\0"))
            except OSError:
                continue
            if b"valign.train" in words and b"srun" not in words and wanted <= found and b"SLURM_STEP_ID=0" in found:
                return int(entry.name)
    raise AssertionError(f"rank {rank} of job {job} is not there: {shlex.join(sys.argv)}")
