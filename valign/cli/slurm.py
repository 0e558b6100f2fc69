"""Checks before jobs are handed to SLURM; each error is a line that says what is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from valign.core.errors import ValignError

LAUNCHER = "hydra_submitit_launcher.submitit_launcher.SlurmLauncher"


def check_launcher(launcher: Mapping[str, Any]) -> None:
    """Check that the jobs of a multirun can be handed to SLURM, where that is the launcher.

    Args:
        launcher: ``hydra.launcher``.

    Raises:
        ValignError: There is no SLURM, no such partition, or no accounting, or the launcher is not installed.
    """
    if not str(launcher.get("_target_", "")).endswith(LAUNCHER):
        return
    if shutil.which("sbatch") is None:
        raise ValignError(
            "hydra/launcher=slurm needs SLURM: sbatch is not here; log in to the cluster, or leave it out."
        )
    if not _installed("hydra_plugins.hydra_submitit_launcher"):
        raise ValignError("hydra/launcher=slurm needs its launcher: pip install -e '.[slurm]', in a checkout.")
    partitions = _ask("sinfo", "--noheader", "--format=%R").split()
    if launcher.get("partition") is not None and launcher["partition"] not in partitions:
        raise ValignError(
            f"hydra.launcher.partition={launcher['partition']} is no partition of this cluster; "
            f"choose from: {', '.join(sorted(set(partitions)))}."
        )
    if shutil.which("sacct") is None:
        raise ValignError(
            "hydra/launcher=slurm asks sacct how its jobs are, and there is none here; see slurm/README.md."
        )
    _ask("sacct", "--jobs=1", "--format=JobID", "--parsable2")


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package above
        return False


def _ask(*command: str) -> str:
    """Return what a SLURM command prints; its complaint becomes a ``ValignError``."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)
    except subprocess.TimeoutExpired:
        raise ValignError(f"{command[0]} does not answer within a minute; is the cluster up?") from None
    if done.returncode or "disabled" in done.stderr:
        said = next(iter(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
        remedy = "see slurm/README.md" if "disabled" in said else "log in to the cluster, or leave the launcher out"
        raise ValignError(f"hydra/launcher=slurm: {command[0]} says: {said.rstrip('. ')}; {remedy}.")
    return done.stdout
