"""A judge that is asked by batches: one round, and the judgements are there."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from short_document import GEESE, HARBOUR, HELMETS

from valign.core.errors import Pending
from valign.core.files import read_jsonl, write_jsonl
from valign.core.records import Answer
from valign.evaluation.judging.judgement import Judgement
from valign.evaluation.settings import EvaluationSettings
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.judge_stage import judge_stage
from valign.teachers.settings import TeacherSettings


def test_judgements_come_with_the_results_of_a_batch(tmp_path: Path) -> None:
    """Two questions in both orders are four requests; the judge keeps to one arm's answers."""
    folders = []
    for arm, text in (("base", "Maybe."), ("sft", "Surely not.")):
        folders.append(tmp_path / arm)
        answers = [Answer(f"q{i}", c, f"Why {i}?", "So.", text, arm) for i, c in enumerate((HELMETS, GEESE))]
        write_jsonl(folders[-1] / "answers.jsonl", answers)
    model = TeacherSettings(kind="batch", model="j", requests=str(tmp_path / "batch"))
    evaluation = EvaluationSettings(max_new_tokens=8, batch_tokens=9, bootstrap=100, judge="batch", judge_model=model)
    trainer = SimpleNamespace(accelerator="cpu")
    settings = SimpleNamespace(evaluation=evaluation, teacher=SimpleNamespace(model="other"), trainer=trainer)
    context: Any = SimpleNamespace(settings=settings, document=HARBOUR, cache=tmp_path / "c.sqlite", logs=tmp_path)
    with pytest.raises(Pending, match="4 completions of j"):
        judge_stage(context, Artifacts(tmp_path / "store"), ["base", "sft"], folders)
    (requests,) = (tmp_path / "batch").glob("requests-j-*.jsonl")
    asked = [json.loads(line) for line in requests.read_text().splitlines()]
    assert len(asked) == 4
    shown = [request["body"]["messages"][-1]["content"] for request in asked]
    said = ["A" if prompt.index("Surely") < prompt.index("Maybe") else "B" for prompt in shown]
    results = [{"custom_id": request["custom_id"], "text": text} for request, text in zip(asked, said, strict=True)]
    write_jsonl(tmp_path / "batch" / "results.jsonl", results)
    folder = judge_stage(context, Artifacts(tmp_path / "store"), ["base", "sft"], folders)
    assert folder is not None and not requests.exists()
    found = read_jsonl(folder / "judgements.jsonl", Judgement)
    assert [(row.first, row.second, row.score, row.flipped) for row in found] == [("sft", "base", 1.0, False)] * 2
