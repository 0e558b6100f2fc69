"""The main job on three short clauses with the embedded weights as teacher and student."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harbour import HARBOUR

from valign.core.files import read_jsonl, write_jsonl
from valign.core.records import Answer, Instruction, Preference, Question
from valign.training.callbacks import read_curves

pytestmark = pytest.mark.real

QUESTIONS = [
    Question(
        "q1", "harbour/section-2", "My brolly got lost, when is it given away?", "After twelve days.", (("12 days",),)
    ),
    Question("q2", "harbour/section-3", "Could I throw some bread to the birds?", "No, nobody may.", (), "no"),
]
SETTINGS = (
    "document=file",
    "document.path=harbour.md",
    "document.questions=own.jsonl",
    "run_name=run",
    "logger=none",
    "synthesis.instructions.questions_per_passage=4",
    "synthesis.preferences.scenarios_per_passage=3",
    "sft.epochs=1",
    "sft.batch_size=4",
    "dpo.batch_size=2",
    "evaluation.max_new_tokens=24",
    "evaluation.bootstrap=100",
    "trainer.threads=1",  # a second one gains little, and waits for its turn where others work on the same cores
)
UNTAXED = "evaluation.tax.measure=false"  # general texts and instructions take most of the time, for each arm


def main_job(folder: Path, *settings: str) -> None:
    """Run the main job to its end, in a process of its own."""
    (folder / "harbour.md").write_text(HARBOUR)
    write_jsonl(folder / "own.jsonl", QUESTIONS)
    command = [sys.executable, "-m", "valign.train", *SETTINGS, *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_three_clauses_from_document_to_scores(tmp_path: Path) -> None:
    """Rows, verbatim quotes, a loss that falls, answers of every arm, and scores."""
    main_job(tmp_path, UNTAXED)
    (data,) = (tmp_path / "artifacts" / "data").glob("*/manifest.json")
    counts = json.loads(data.read_text())["counts"]
    assert counts["quotes"] == counts["quotes_verified"] > 0
    assert counts["clauses_covered"] == counts["clauses"] >= 3
    sft = read_jsonl(data.parent / "sft.jsonl", Instruction)
    preferences = read_jsonl(data.parent / "preferences.jsonl", Preference)
    assert "question" in {row.kind for row in sft}
    assert {row.provenance.teacher.partition("@")[0] for row in sft if row.kind == "question"} == {"smollm2-135m"}
    assert all(row.chosen != row.rejected for row in preferences)
    (curves,) = (tmp_path / "artifacts" / "sft").glob("*/curves.csv")
    losses = [value for _, name, value in read_curves(curves) if name == "loss"]
    assert sum(losses[-3:]) < sum(losses[:3])
    run = tmp_path / "runs" / "harbour" / "run"
    for arm in ("base", "sft", "sft_dpo"):
        answers = read_jsonl(run / "arms" / arm / "answers.jsonl", Answer)
        assert [a.question_id for a in answers] == ["q1", "q2"]
        assert all(a.answer.strip() for a in answers)
    nll = {
        arm: json.loads((run / "arms" / arm / "scores.json").read_text())["metrics"]["reference_nll"]["mean"]
        for arm in ("base", "sft")
    }
    assert nll["sft"] < nll["base"]
    assert (run / "report.html").is_file()


@pytest.mark.slow
def test_the_base_does_some_everyday_instructions(tmp_path: Path) -> None:
    """The alignment tax with real weights: general texts are read, and instructions done, as such a model does."""
    main_job(tmp_path, "recipe=base")
    (values,) = (tmp_path / "artifacts" / "tax").glob("*/values.jsonl")
    rows = [json.loads(line) for line in values.read_text().splitlines()]
    texts, tasks = [r for r in rows if "nll" in r], [r for r in rows if "correct" in r]
    assert (len(texts), len(tasks)) == (30, 40)
    assert all(1 < r["nll"] < 6 for r in texts)
    assert all(r["nll"] == r["base_nll"] and r["kl_arm_base"] == 0 for r in texts)
    assert 0.2 < sum(r["correct"] for r in tasks) / len(tasks) < 1
