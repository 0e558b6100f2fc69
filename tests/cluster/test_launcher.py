"""The ablation as an array of jobs, and what stops it before it begins."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_place import Place, train

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

ABLATION = ("recipe=base,rag,sft,dpo,sft_dpo", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "-m")


def test_the_ablation_runs_as_an_array_and_ends_with_one_table(make_place: Callable[[str], Place]) -> None:
    """Five jobs of one array; one data stage, one SFT and two DPO for all of them; a row for each recipe."""
    place = make_place("ablation")
    printed = place.cluster.run(*train(*ABLATION), cwd=place.folder, timeout=900)
    table = printed[: printed.rindex("n = ")].rpartition("\nArm")[2]
    rows = [line.split()[0] for line in table.splitlines()[1:] if line.strip()]
    assert rows == ["base", "RAG", "SFT", "DPO", "SFT+DPO"]
    stages = Counter(file.parent.parent.name for file in place.folder.glob("artifacts/*/*/manifest.json"))
    assert stages == {"data": 1, "sft": 1, "dpo": 2, "answers": 5}
    logs = list(place.folder.glob("runs/harbour/.submitit/*/*_log.out"))
    jobs = {log.name.rpartition("_")[0].rpartition("_")[0] for log in logs}
    assert len({job.partition("_")[0] for job in jobs}) == 1
    assert {job.partition("_")[2] for job in jobs} == {"0", "1", "2", "3", "4"}
    built = Counter(re.findall(r"^(\w+): building", "\n".join(log.read_text() for log in logs), re.MULTILINE))
    assert built == {"data": 1, "sft": 1, "dpo": 2, "answers": 5}
    waited = [log for log in logs if "another process builds" in log.read_text()]
    assert waited, "jobs that began together share the data stage"


@pytest.mark.parametrize(
    ("settings", "without", "message"),
    [
        (["hydra.launcher.partition=gpu"], "", r"hydra.launcher.partition=gpu is no partition .* choose from: test\."),
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
