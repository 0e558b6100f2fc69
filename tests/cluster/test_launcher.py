"""The ablation as an array of jobs, and what stops it before it begins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_place import PATHS, Place, train

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

ABLATION = ("recipe=base,rag,sft,dpo,sft_dpo", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "-m")


def test_the_ablation_runs_as_an_array_and_ends_with_one_table(make_place: Callable[[str], Place]) -> None:
    """Five jobs of one array; one data stage, one SFT, two DPO and the tax of four models for all; a row each."""
    place = make_place("ablation")
    printed = place.cluster.run(*train(*ABLATION), cwd=place.folder, timeout=900)
    table = printed[: printed.rindex("n = ")].rpartition("\nArm")[2]
    rows = [line.split()[0] for line in table.splitlines()[1:] if line.strip()]
    assert rows == ["base", "RAG", "SFT", "DPO", "SFT+DPO"]
    stages = Counter(file.parent.parent.name for file in place.folder.glob("artifacts/*/*/manifest.json"))
    assert stages == {"data": 1, "sft": 1, "dpo": 2, "answers": 5, "tax": 4}
    logs = list(place.folder.glob("runs/harbour/.submitit/*/*_log.out"))
    jobs = {log.name.rpartition("_")[0].rpartition("_")[0] for log in logs}
    assert len({job.partition("_")[0] for job in jobs}) == 1
    assert {job.partition("_")[2] for job in jobs} == {"0", "1", "2", "3", "4"}
    built = Counter(re.findall(r"^(\w+): building", "\n".join(log.read_text() for log in logs), re.MULTILINE))
    assert built == {"data": 1, "sft": 1, "dpo": 2, "answers": 5, "tax": 4}
    waited = [log for log in logs if "another process builds" in log.read_text()]
    assert waited, "jobs that begin together share stages"


STAND_INS = {
    "sinfo": "echo gpu",
    "sacct": "",
    "sbatch": 'for last; do :; done; cp "$last" submitted.sh; echo "sbatch: error: Invalid account" >&2; exit 1',
}
SETTINGS = {
    "hydra.launcher.partition=gpu": "#SBATCH --partition=gpu",
    "hydra.launcher.account=project": "#SBATCH --account=project",
    "hydra.launcher.qos=long": "#SBATCH --qos=long",
    "hydra.launcher.constraint=a100": "#SBATCH --constraint=a100",
    "hydra.launcher.gpus_per_node=2": "#SBATCH --gpus-per-node=2",
    "hydra.launcher.mem_gb=5": "#SBATCH --mem=5GB",
    "hydra.launcher.timeout_min=33": "#SBATCH --time=33",
    "hydra.launcher.signal_delay_s=77": "#SBATCH --signal=USR2@77",
    "hydra.launcher.array_parallelism=4": "#SBATCH --array=0-4%4",
    "hydra.launcher.comment=thesis": "#SBATCH --comment=thesis",
    "+hydra.launcher.additional_parameters.reservation=course": "#SBATCH --reservation=course",
    'hydra.launcher.setup=["module load cuda","export HF_HOME=/shared"]': "module load cuda\nexport HF_HOME=/shared",
    'hydra.launcher.srun_args=["--container-image=/shared/v.sqsh"]': "--container-image=/shared/v.sqsh",
}


def test_the_settings_reach_sbatch(tmp_path: Path) -> None:
    """Resources, account, time, preemption, set-up and container; sbatch, a stand-in, refuses, and that is one line."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        train(*SETTINGS, *ABLATION),
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": PATHS},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    said, line = done.stderr.splitlines()
    assert said == "sbatch: error: Invalid account"
    assert line == f"error: the jobs were not submitted: {said}; see hydra.launcher's settings."
    script = (tmp_path / "submitted.sh").read_text()
    (srun,) = re.findall("^srun .*", script, re.MULTILINE)
    for expected in ("#SBATCH --cpus-per-task=1", *SETTINGS.values()):
        if expected.startswith("--"):
            assert f" {expected} " in srun
        else:
            assert f"\n{expected}\n" in script


@pytest.mark.parametrize(
    ("settings", "without", "message"),
    [
        (
            ["hydra.launcher.partition=gpu"],
            "",
            r"hydra.launcher.partition=gpu is no partition .* choose from: test, urgent\.",
        ),
        ([], "sacct", r"hydra/launcher=slurm.* sacct"),
        ([], "sbatch", r"hydra/launcher=slurm needs SLURM: sbatch is not here"),
    ],
)
def test_bad_set_ups_get_one_line(
    settings: list[str], without: str, message: str, make_place: Callable[[str], Place], tmp_path: Path
) -> None:
    """A wrong partition; a SLURM without sacct; a machine without SLURM."""
    place = make_place("bad")
    environment = {}
    if without == "sacct":
        environment["PATH"] = place.cluster.environment["PATH"].partition(":")[2]
    elif without:
        (tmp_path / "bash").symlink_to(shutil.which("bash") or "/bin/bash")
        environment["PATH"] = str(tmp_path)
    done = place.cluster.attempt(*train(*settings, *ABLATION), cwd=place.folder, environment=environment)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert re.search(message, lines[0])
    assert not (place.folder / "artifacts").exists()
