"""The sbatch scripts, chained, with a real OpenAI-compatible server as teacher."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_place import ROOT, Place, train

from valign.models.load import prepare_model

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

SCRIPTS = sorted([*(ROOT / "slurm").glob("*.sbatch"), *(ROOT / "slurm").glob("*.sh")])


def test_shellcheck_has_nothing_to_say() -> None:
    assert len(SCRIPTS) == 6
    assert shutil.which("shellcheck"), "shellcheck is missing"
    done = subprocess.run(["shellcheck", *SCRIPTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_outside_slurm_the_pipeline_says_so(tmp_path: Path) -> None:
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    done = subprocess.run(
        ["bash", ROOT / "slurm" / "pipeline.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: no SLURM cluster answers here: run this on a login node of a SLURM cluster\n"


def test_the_pipeline_runs_end_to_end(make_place: Callable[[str], Place]) -> None:
    """Teacher, data by an array of two, training on two nodes, evaluation by two tasks; then the teacher is ended."""
    place = make_place("pipeline")
    tiny = sampling_copy(prepare_model("tiny"), place.folder / "speaker")
    dropped = ("teacher", "logger", "synthesis.")
    words = [part for part in train("recipe=sft")[3:] if not part.startswith(dropped)]
    words += ["logger=none", "teacher=api", f"teacher.model={tiny}", *SYNTHESIS]
    words += ["sft.batch_size=2", "trainer.strategy=ddp"]
    server = f"{sys.executable} -m transformers.cli.transformers serve {tiny} --host 127.0.0.1 --device cpu"
    given = {
        "VALIGN_SETTINGS": " ".join(words),
        "RUN": "runs/harbour/sft",
        "TEACHER_MODEL": tiny,
        "TEACHER_HOST": "127.0.0.1",
        "TEACHER_SERVER": server + " --port $TEACHER_PORT",
        "TRAINER": "cpu",
        "PYTHON": sys.executable,
        "HF_HUB_OFFLINE": "1",
        "SBATCH_EXTRA": "--cpus-per-task=1",
    }
    folder = shutil.copytree(ROOT / "slurm", place.folder / "slurm")
    for name, old, new in (
        ("synthesize.sbatch", "--array=0-3", "--array=0-1"),
        ("train.sbatch", "--ntasks-per-node=8", "--ntasks-per-node=1"),
    ):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))
    done = place.cluster.attempt("bash", "slurm/pipeline.sh", cwd=place.folder, environment=given)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"pipeline: {given['VALIGN_SETTINGS']}\n")
    jobs = re.findall(r"job (\d+)", done.stdout)
    assert len(jobs) == 5
    teacher, synthesize, _, training, evaluate = jobs
    state = place.cluster.wait_for(evaluate, 600)
    logs = {path.name.split("-")[1]: path.read_text() for path in place.folder.glob("valign-*.log")}
    assert state == "COMPLETED", json.dumps(logs, indent=1)[-6000:]
    assert place.cluster.state(training) == "COMPLETED"
    chosen = given["VALIGN_SETTINGS"]
    begins = {
        "teacher": f"teacher: {given['TEACHER_SERVER']}\n",
        "train": f"train: {chosen} trainer=cpu trainer.num_nodes=2 trainer.devices=1\n",
        "evaluate": "evaluate: run=runs/harbour/sft, by 2 tasks\n",
    }
    for name, line in begins.items():
        assert logs[name].startswith(line)
    assert "teacher: ready" in logs["teacher"]
    assert not (place.folder / "slurm-state" / "teacher.url").exists()
    assert place.cluster.state(teacher) in ("CANCELLED", "COMPLETED")
    parts = [(place.folder / f"valign-synthesize-{synthesize}_{task}.log").read_text() for task in range(2)]
    for task, text in enumerate(parts):
        assert text.startswith(f"synthesize: share {task}/2 of the data for: {chosen}\n")
    calls = [sum(map(int, re.findall(r"(\d+) new", text))) for text in parts]
    assert all(calls), "both tasks asked the teacher"
    with contextlib.closing(sqlite3.connect(place.folder / "artifacts" / "completions.sqlite")) as cache:
        ((keys,),) = cache.execute("SELECT count(DISTINCT key) FROM usage")
        ((kept,),) = cache.execute("SELECT count(*) FROM completions")
    assert kept == keys == sum(calls), "nothing was asked by both"
    assert len(list(place.folder.glob("artifacts/data/*/manifest.json"))) == 1
    assert (place.folder / "runs/harbour/sft/report.html").is_file()
    assert (place.folder / "runs/harbour/sft/evaluations/own/scores.json").is_file()
    assert "n = " in logs["evaluate"]
    assert os.environ.get("SLURM_JOB_ID") is None


def sampling_copy(model: Path | str, folder: Path) -> str:
    """Copy a model of random weights so that its server samples: its likeliest token is always a line's end."""
    shutil.copytree(model, folder)
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(settings | {"do_sample": True}))
    return str(folder)


SYNTHESIS = [
    "synthesis.instructions.questions_per_passage=4",
    "synthesis.preferences.scenarios_per_passage=2",
    "synthesis.sampling.max_new_tokens=16",
    "synthesis.filters.min_relevance=-1",
    "synthesis.filters.max_rank=99",
    "synthesis.filters.min_faithfulness=-1",
    "synthesis.coverage.waive=true",
    "synthesis.instructions.openings=[]",
    "synthesis.preferences.openings=[]",
    "evaluation.questions=own.jsonl",
]
