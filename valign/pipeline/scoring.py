"""The arms of a run, answered, measured and written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valign.core.files import read_jsonl, read_rows, write_json, write_jsonl, write_text
from valign.core.records import Answer, Question
from valign.evaluation.probes.scores import probe_scores
from valign.evaluation.scores import choose_metrics, difference_by_metric, score_arm
from valign.evaluation.tax.scores import tax_scores
from valign.pipeline.artifacts import Pipeline
from valign.pipeline.recipes import Arm
from valign.runs.layout import JUDGEMENTS, PROBED


def score_arms(pipeline: Pipeline, arms: Sequence[Arm], questions: Sequence[Question] | None, folder: Path) -> None:
    """Evaluate arms and write ``arms/<arm>/{answers,values}.jsonl`` and ``scores.json`` to a folder.

    Each arm is compared with base, and with the arm before it, on the same questions. Where a model judges pairs of
    answers, what it said is in ``judgements.jsonl``.
    """
    asked = pipeline.probe_questions
    pipeline.check_room(arms, questions)
    if pipeline.server:
        pipeline.server.check([arm.stages for arm in arms], str(pipeline.config.run_dir))
    samples = pipeline.evaluation.bootstrap
    exposure = pipeline.exposure(questions)
    measured: list[tuple[str, list[dict[str, Any]]]] = []
    folders: list[Path] = []
    for arm in arms:
        answers = pipeline.evaluate(arm, questions)
        values = choose_metrics(read_rows(answers / "values.jsonl"), pipeline.evaluation.metrics)
        base = measured[0][1] if measured else None
        scores = score_arm(arm.name, values, base, samples, exposure)
        if len(measured) > 1:
            other, theirs = measured[-1]
            scores["versus"][other] = difference_by_metric(arm.name, values, theirs, samples)
        if pipeline.server:
            scores["server"] = pipeline.server.describe(arm.stages)
        if asked:
            probed = read_jsonl(pipeline.evaluate(arm, asked, "probes") / "answers.jsonl", Answer)
            scores["probes"] = probe_scores(probed, pipeline.embedder, samples)
            write_jsonl(folder / "arms" / arm.name / PROBED, probed)
        if not arm.retrieval and pipeline.measures_tax:
            scores["tax"] = _tax(pipeline, arm, samples)
        write_scores(folder / "arms" / arm.name, scores, answers)
        measured.append((arm.name, values))
        folders.append(answers)
    (folder / JUDGEMENTS).unlink(missing_ok=True)
    judged = pipeline.judgements([arm.name for arm in arms], folders)
    if judged is not None:
        write_text(folder / JUDGEMENTS, (judged / JUDGEMENTS).read_text(encoding="utf-8"))


def _tax(pipeline: Pipeline, arm: Arm, samples: int) -> dict[str, Any]:
    """Return what an arm's training cost in general ability, and which limits that crosses."""
    base = read_rows(pipeline.tax(()) / "values.jsonl")
    own = read_rows(pipeline.tax(arm.stages) / "values.jsonl") if arm.stages else base
    return tax_scores(own, base, pipeline.evaluation.tax, samples)


def write_scores(folder: Path, scores: dict[str, Any], answers: Path) -> None:
    """Put an arm's scores and answers into a run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", scores)
    for name in ("answers.jsonl", "values.jsonl"):
        write_text(folder / name, (answers / name).read_text(encoding="utf-8"))
