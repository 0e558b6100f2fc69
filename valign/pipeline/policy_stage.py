"""What a policy judge says of the arms' answers: a model, shown a clause and one answer at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valign.core.files import read_jsonl, to_dict, write_jsonl
from valign.core.records import Answer
from valign.core.store import digest
from valign.documents.clauses import ClauseIndex
from valign.evaluation.judging.judge import Judge
from valign.evaluation.judging.model_family import same_family_warning
from valign.evaluation.judging.policy_judge import judge_answers, policy_template
from valign.evaluation.judging.policy_judgement import PolicyJudgement, read_policy_judgements
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.runs.layout import POLICY
from valign.teachers.batch_round import stop_if_pending
from valign.teachers.cache import CachedTeacher
from valign.teachers.factory import make_teacher

log = logging.getLogger(__name__)

POLICY_JUDGE = "evaluation.policy_judge"


def policy_judge_of(context: Context) -> Judge | None:
    """Return who judges single answers; None for nobody."""
    settings = context.settings.evaluation.policy_judge
    if settings is None:
        return None
    warning = same_family_warning(settings.model, context.settings.teacher.model)
    return Judge(settings.kind, settings.model, warning=warning)


def policy_stage(
    context: Context, artifacts: Artifacts, arms: Sequence[str], answers: Sequence[Path]
) -> dict[str, list[PolicyJudgement]]:
    """Let the policy judge say of every answer whether it follows its clause.

    Args:
        context: What is known of the run.
        artifacts: Where the stage is built or found.
        arms: The arms' names.
        answers: Their folders, as ``answer_stage`` gave them.

    Returns:
        What it says, by arm, in the order of the arm's answers; nothing where nobody judges.
    """
    judge, settings = policy_judge_of(context), context.settings.evaluation.policy_judge
    if judge is None or settings is None:
        return {}
    if judge.warning:
        log.warning("%s", judge.warning)
    asked = make_teacher(settings, POLICY_JUDGE, context.settings.trainer.accelerator, context.logs)
    inputs = {
        "judge": asked.id,
        "prompt": policy_template(),
        "document": digest([to_dict(p) for p in context.document.passages]),
        **{f"answers/{arm}": folder.name for arm, folder in zip(arms, answers, strict=True)},
    }

    def fill(folder: Path) -> dict[str, Any]:
        said = [answer for place in answers for answer in read_jsonl(place / "answers.jsonl", Answer)]
        index = ClauseIndex(context.document.passages)
        teacher = CachedTeacher(asked, context.cache, checks_first=True)
        try:
            found = judge_answers(teacher, said, {a.clause: index.text(a.clause) for a in said})
            stop_if_pending([teacher], folder.name)
        finally:
            teacher.close()
        write_jsonl(folder / POLICY, found)
        spent = teacher.spent()
        return {
            "judgements": len(found),
            "calls": teacher.calls,
            "calls_cached": teacher.hits,
            "prompt_tokens": spent.prompt_tokens,
            "completion_tokens": spent.completion_tokens,
        }

    folder = artifacts.build("policy_judgements", {"judge": judge.kind}, inputs, fill)
    rows = read_policy_judgements(folder / POLICY)
    return {arm: [row for row in rows if row.arm == arm] for arm in arms}
