"""Jobs that are preempted, killed, or lose a node: they go on, and end with the curve of a run that was left alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_place import ROOT, Place, train
from slurm_daemons import processes_with

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

RESOURCES = ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=1", "--cpus-per-task=1", "--output=train.log")
SLOW = ["sft.epochs=12", "recipe=sft", "evaluation.tax.measure=false"]
LONG = ["sft.epochs=36", *SLOW[1:]]  # not at its end when SLURM kills, twelve seconds behind SIGTERM
LAUNCHER = ["hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "-m"]
RANKS = ["sft.batch_size=2", "trainer.accelerator=cpu", "trainer.deepspeed.zero_optimization.overlap_comm=false"]


def environment() -> dict[str, str]:
    """Return what ``slurm/train.sbatch`` reads."""
    words = [part for part in train(*SLOW, *RANKS)[3:] if not part.startswith("logger=")]
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
    place.cluster.wait(lambda: max(checkpoints(place), default=0) >= steps, f"checkpoint of step {steps}", 600)


def finish(place: Place, job: str) -> str:
    """Wait until a job was requeued and has ended, and return its log."""
    place.cluster.wait(lambda: place.cluster.restarts(job) > 0, "requeue", 300)
    state = place.cluster.wait_for(job, 900)
    log = (place.folder / "train.log").read_text()
    assert state == "COMPLETED", log[-4000:]
    return log


@pytest.fixture(scope="module")
def alone(make_prepared: Callable[[str], Place]) -> Place:
    """A run on two nodes that nobody interrupts, one task for each GPU."""
    place = make_prepared("alone")
    job = submit(place)
    place.cluster.wait(lambda: place.cluster.state(job) == "RUNNING", "start", 120)
    shown = place.cluster.run("scontrol", "--details", "-o", "show", "job", job)
    assert re.search(r" NumTasks=2 .* GRES=gpu:1\(", shown), shown
    assert place.cluster.wait_for(job, 900) == "COMPLETED", (place.folder / "train.log").read_text()[-4000:]
    return place


def the_curve_is_that_of(place: Place, alone: Place) -> None:
    """Check step for step: every loss is the same number."""
    assert place.curve("sft") == alone.curve("sft") != []


@pytest.mark.parametrize("name", ["USR1", "TERM"])
def test_a_preempted_job_saves_requeues_and_goes_on(
    name: str, alone: Place, make_prepared: Callable[[str], Place]
) -> None:
    """SIGUSR1, as --signal sends it, or SIGTERM, as preemption does, ends the step behind which all is saved.

    The job is requeued and goes on from that step, and its W&B run is the same one.
    """
    place = make_prepared(f"preempted-{name}")
    job = submit(place)
    until_trained(place, 3)
    place.cluster.run("scancel", f"--signal={name}", job)
    log = finish(place, job)
    saved = re.search(rf"(SIG{name}|a signal to another process): saved step (\d+)", log)
    assert saved, log[-4000:]
    assert f"going on from step {saved[2]}\n" in log
    the_curve_is_that_of(place, alone)
    runs = sorted(path.name.rpartition("-")[2] for path in place.folder.glob("runs/harbour/*/wandb/offline-run-*"))
    assert len(runs) == 2
    assert len(set(runs)) == 1


def test_slurm_takes_the_nodes_for_a_more_urgent_job(alone: Place, make_prepared: Callable[[str], Place]) -> None:
    """SLURM itself sends SIGTERM and puts the job back, which saves in between and goes on when the other has ended."""
    place = make_prepared("urgent")
    job = submit(place)
    until_trained(place, 3)
    urgent = place.cluster.submit(
        "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 5", cwd=place.folder
    )
    assert place.cluster.wait_for(urgent, 300) == "COMPLETED"
    log = finish(place, job)
    saved = re.search(r"(SIGTERM|a signal to another process): saved step (\d+)", log)
    assert saved, log[-4000:]
    assert f"going on from step {saved[2]}\n" in log
    the_curve_is_that_of(place, alone)


@pytest.fixture(scope="module")
def without_launcher(make_prepared: Callable[[str], Place]) -> Place:
    """A run in one process that nobody interrupts."""
    place = make_prepared("without-launcher")
    place.cluster.run(*train(*LONG), cwd=place.folder, timeout=900)
    return place


@pytest.mark.parametrize("name", ["USR2", "TERM"])
def test_a_preempted_job_of_a_multirun_goes_on(
    name: str, without_launcher: Place, make_prepared: Callable[[str], Place]
) -> None:
    """SIGUSR2, behind which submitit puts the job back; SIGTERM for a more urgent job, which submitit lets pass.

    Either way the step is saved first, the command that waits for the job does not notice, and W&B's run is the same.
    """
    place = make_prepared(f"multirun-{name}")
    command = [word for word in train(*LONG, *LAUNCHER) if not word.startswith("logger=")]
    given = {**place.cluster.environment, "WANDB_MODE": "offline"}
    with subprocess.Popen(
        command, cwd=place.folder, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as waiting:
        until_trained(place, 3)
        job = place.cluster.run("squeue", "--noheader", "--format=%i").strip()
        if name == "USR2":
            place.cluster.run("scancel", f"--signal={name}", job)
        else:
            place.cluster.submit(
                "--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=true", cwd=place.folder
            )
        printed, _ = waiting.communicate(timeout=900)
    (log,) = [file.read_text() for file in place.folder.glob("runs/harbour/.submitit/*/*_log.out")]
    assert waiting.returncode == 0, printed + log[-4000:]
    assert re.search(r"^SFT ", printed, re.MULTILINE), printed
    assert place.cluster.restarts(job) == 1
    assert (saved := re.search(rf"SIG{name}: saved step (\d+)", log)), log[-4000:]
    if name == "USR2":
        assert f"going on from step {saved[1]}\n" in log
    else:  # it goes on until SLURM kills it
        assert re.search(r"going on from step \d+\n", log), log[-4000:]
    the_curve_is_that_of(place, without_launcher)
    runs = sorted(path.name.rpartition("-")[2] for path in place.folder.glob("runs/harbour/*/wandb/offline-run-*"))
    assert len(runs) == 2
    assert len(set(runs)) == 1


def test_a_killed_rank_ends_the_other_and_the_job_goes_on(alone: Place, make_prepared: Callable[[str], Place]) -> None:
    place = make_prepared("killed")
    job = submit(place)
    until_trained(place, 3)
    os.kill(rank_of(job, 1), signal.SIGKILL)
    log = finish(place, job)
    assert "going on from step" in log
    the_curve_is_that_of(place, alone)


def test_a_lost_node_ends_in_a_requeued_run(alone: Place, make_prepared: Callable[[str], Place]) -> None:
    """The second node's daemon is killed with all that runs there, and comes back."""
    place = make_prepared("lost")
    job = submit(place)
    until_trained(place, 3)
    place.cluster.kill_node("n2")
    place.cluster.wait(lambda: place.cluster.restarts(job) > 0, "requeue", 300)
    place.cluster.start_node("n2")
    place.cluster.attempt("scontrol", "update", "nodename=n2", "state=resume")
    log = finish(place, job)
    assert "going on from step" in log
    the_curve_is_that_of(place, alone)


def test_a_cancelled_job_saves_and_stays_cancelled(make_prepared: Callable[[str], Place]) -> None:
    """A plain scancel ends the tasks as preemption does, but nobody wants the job back."""
    place = make_prepared("cancelled")
    job = submit(place)
    until_trained(place, 3)
    place.cluster.run("scancel", job)
    state = place.cluster.wait_for(job, 200)
    log = (place.folder / "train.log").read_text()
    assert (state, place.cluster.restarts(job)) == ("CANCELLED", 0), log[-4000:]
    assert "saved step" in log
    assert "requeued, and goes on" not in log


def rank_of(job: str, rank: int) -> int:
    """Return the process of a rank of a job."""
    for pid in processes_with(f"SLURM_JOB_ID={job}", f"SLURM_PROCID={rank}", "SLURM_STEP_ID=0"):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"valign.train" in words and b"srun" not in words:
            return pid
    raise AssertionError(f"rank {rank} of job {job} is not there")
