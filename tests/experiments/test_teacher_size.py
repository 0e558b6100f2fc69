"""The study's runner: jobs in order, so many at once, none twice, until the time is up, and the results packed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from scripts import load_script

from valign.config import checks

JOB = """
import pathlib, sys, time
given = dict(part.split("=") for part in sys.argv[1:])
folder = pathlib.Path(given["runs"], given["run_name"])
folder.mkdir(parents=True)
time.sleep(float(given.get("sleep", 0)))
(folder / "scores.json").write_text(given["artifacts"])
print("note\\nerror: it broke") if "fails" in given else None
sys.exit("fails" in given)
"""


def call(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the script on the jobs in a folder, whose jobs are the little program above."""
    (folder / "little.py").write_text(JOB, encoding="utf-8")
    script = load_script("teacher_size/run.py").__file__
    places = ["--runs", str(folder / "runs"), "--artifacts", str(folder / "kept"), "--module", "little"]
    command = [sys.executable, str(script), str(folder / "jobs.jsonl"), *places, *options]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def write_jobs(folder: Path, *jobs: object) -> None:
    (folder / "jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs), encoding="utf-8")


def test_what_failed_is_tried_again_and_nothing_else(tmp_path: Path) -> None:
    """One of two fails, which its last line says; corrected, it alone runs again. All have the shared folder."""
    write_jobs(tmp_path, {"name": "a", "overrides": []}, ["run_name=b", "fails=1"])
    first = call(tmp_path, "--all", "x=1")
    assert first.returncode == 1 and "2 jobs, 0 of them finished before" in first.stdout
    assert "error: it broke" in first.stdout and "note" not in first.stdout
    write_jobs(tmp_path, {"name": "a", "overrides": []}, ["run_name=c"])
    second = call(tmp_path, "--all", "x=1", "--collect", str(tmp_path / "out" / "all.tar.gz"))
    assert second.returncode == 0 and "2 jobs, 1 of them finished before" in second.stdout
    with tarfile.open(tmp_path / "out" / "all.tar.gz") as archive:
        assert sorted(archive.getnames()) == [f"runs/{name}/scores.json" for name in "abc"]
    assert (tmp_path / "runs" / "a" / "scores.json").read_text() == str(tmp_path / "kept")


@pytest.mark.parametrize("at_once", [1, 2])
def test_when_the_time_is_up_what_runs_is_stopped(tmp_path: Path, at_once: int) -> None:
    write_jobs(tmp_path, *({"name": name, "overrides": ["sleep=60"]} for name in "abc"))
    ended = call(tmp_path, "--at-once", str(at_once), "--budget", "2")
    assert ended.returncode == 1 and ended.stdout.count(" stopped ") == at_once
    assert f"{3 - at_once} jobs not started" in ended.stdout
    assert sorted(path.name for path in (tmp_path / "runs").iterdir() if path.name != ".jobs") == list("abc")[:at_once]


def test_every_job_of_the_study_is_a_config(compose_config: Callable[..., DictConfig], tmp_path: Path) -> None:
    """All compose and pass the checks; no name occurs twice, and the variants of one document differ."""
    script = load_script("teacher_size/jobs.py")
    for found, count in ((script.development_jobs(), 18), (script.study_jobs(tmp_path), 8)):
        jobs = list(script.list_jobs(found, 1))
        for job in jobs:
            checks.check_config(compose_config(*job["overrides"], f"run_name={job['name']}"))
        assert len({(job["overrides"][0], job["name"]) for job in jobs}) == len(jobs) == count
        assert len({json.dumps(job["overrides"]) for job in jobs}) == count
        folders = {part for job in jobs for part in job["overrides"] if part.startswith("experiment_name=")}
        assert len(folders) == count  # so that each has a table of its own


def test_equal_rows_are_as_many_as_the_embedded_teachers_and_of_all_clauses(tmp_path: Path) -> None:
    script = load_script("teacher_size/jobs.py")
    list(script.study_jobs(tmp_path))
    rows = [json.loads(line) for line in (tmp_path / "equal.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum("rejected" in row for row in rows) == script.EMBEDDED_PAIRS == 193
    assert len(rows) + script.FRAMES == script.EMBEDDED_ROWS
    assert len({row["clause"] for row in rows}) == 58


def test_edited_pairs_keep_question_and_chosen_answer(tmp_path: Path) -> None:
    """Rules change a fact or the polarity of 771 of 812; the others become rows for SFT, and none is lost."""
    script = load_script("teacher_size/jobs.py")
    list(script.study_jobs(tmp_path))
    shipped = (script.DATA / "synthesis" / "data" / "udhr_rows.jsonl").read_text(encoding="utf-8").splitlines()
    edited = (tmp_path / "edited.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = 0
    for before, after in zip(map(json.loads, shipped), map(json.loads, edited), strict=True):
        assert (before["question"], before.get("answer")) == (after["question"], after.get("answer"))
        if "rejected" in after:
            pairs += 1
            assert after["rejected"] not in (before["answer"], before["rejected"])
    assert pairs == 771
