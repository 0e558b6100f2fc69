"""The judgements: a model says of every pair of arms which one's answer is better."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valign.core.files import read_jsonl, to_dict, write_jsonl
from valign.core.records import Answer
from valign.core.store import digest
from valign.documents.clauses import ClauseIndex
from valign.evaluation.judging.judge import Judge, choose_judge
from valign.evaluation.judging.model_judge import judge_by_model, judge_template
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.runs.layout import JUDGEMENTS
from valign.teachers.batch_round import stop_if_pending
from valign.teachers.cache import CachedTeacher
from valign.teachers.factory import make_teacher
from valign.teachers.protocol import Teacher

log = logging.getLogger(__name__)


def run_judge(context: Context) -> Judge | None:
    """Return the judge of pairs; None where there is none."""
    return choose_judge(context.settings.evaluation, context.settings.teacher.model)


def judging_teacher(context: Context) -> Teacher | None:
    """Return the model that judges pairs, not asked yet; None where no model does."""
    judge, settings = run_judge(context), context.settings.evaluation.judge_model
    if judge is None or settings is None or not judge.model:
        return None
    accelerator = context.settings.trainer.accelerator
    return make_teacher(settings, "evaluation.judge_model", accelerator, context.logs)


def judge_stage(context: Context, artifacts: Artifacts, arms: Sequence[str], answers: Sequence[Path]) -> Path | None:
    """Let a model judge every pair of arms.

    Args:
        context: What is known of the run.
        artifacts: Where the stage is built or found.
        arms: The arms' names.
        answers: Their folders, as ``answer_stage`` gave them.

    Returns:
        A folder with ``judgements.jsonl``; None where no model is the judge.
    """
    judge, asked = run_judge(context), judging_teacher(context)
    if judge is None or asked is None:
        return None
    if judge.warning:
        log.warning("%s", judge.warning)
    inputs = {
        "judge": asked.id,
        "prompt": judge_template()[0],
        "document": digest([to_dict(p) for p in context.document.passages]),
        **{f"answers/{arm}": folder.name for arm, folder in zip(arms, answers, strict=True)},
    }

    def fill(folder: Path) -> dict[str, Any]:
        said = [read_jsonl(place / "answers.jsonl", Answer) for place in answers]
        pairs = [(said[j], said[i]) for j in range(len(said)) for i in range(j)]
        index = ClauseIndex(context.document.passages)
        clauses = {a.clause: index.text(a.clause) for row in said for a in row}
        teacher = CachedTeacher(asked, context.cache, checks_first=True)
        try:
            found = judge_by_model(teacher, pairs, clauses)
            stop_if_pending([teacher], folder.name)
        finally:
            teacher.close()
        write_jsonl(folder / JUDGEMENTS, found)
        return {"judgements": len(found), "calls": teacher.calls, "calls_cached": teacher.hits}

    return artifacts.build("judgements", {"judge": judge.kind}, inputs, fill)
