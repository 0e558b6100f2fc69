"""The arms of a run: trained, asked, measured, compared, and written to its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from valign.core.files import read_jsonl, read_rows, write_json, write_jsonl, write_text
from valign.core.records import Answer, Question
from valign.evaluation.judging.policy_scores import policy_scores
from valign.evaluation.probes.scores import probe_scores
from valign.evaluation.scores import choose_metrics, difference_by_metric, score_arm
from valign.evaluation.tax.scores import tax_scores
from valign.pipeline.answer_stage import answer_stage
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.data_stage import clause_exposure
from valign.pipeline.judge_stage import judge_stage
from valign.pipeline.policy_answers import probes_to_ask, score_policy
from valign.pipeline.policy_stage import policy_judge_of, policy_stage
from valign.pipeline.probe_stage import PolicyProbes
from valign.pipeline.recipes import Arm
from valign.pipeline.tax_stage import measures_tax, tax_stage
from valign.pipeline.training_stage import train_stages
from valign.runs.layout import JUDGEMENTS, POLICY, POLICY_ANSWERS, PROBED
from valign.runs.tracking import RunLogger


def score_arms(
    context: Context,
    artifacts: Artifacts,
    data: Path | None,
    arms: Sequence[Arm],
    questions: Sequence[Question],
    folder: Path,
    logger: RunLogger | None = None,
) -> None:
    """Write ``arms/<arm>/{answers,values}.jsonl`` and ``scores.json`` of each arm to a folder.

    Each arm is compared with base, and with the arm before it, on the same questions. Where a model judges pairs of
    answers, what it said is in ``judgements.jsonl``; where one judges single answers, in ``arms/<arm>/policy.jsonl``.

    Args:
        context: What is known of the run.
        artifacts: Where the stages are built or found.
        data: The data stage's folder; None where no data were written.
        arms: The arms, base first.
        questions: What they are asked.
        folder: The run's folder, or that of another evaluation of it.
        logger: Receives the curves of the trainings; None for none.

    Raises:
        ValignError: A server has no name for an arm's model.
    """
    if context.server:
        context.server.check([arm.stages for arm in arms], str(context.run_folder))
    samples = context.settings.evaluation.bootstrap
    exposure = clause_exposure(context, questions)
    policy = probes_to_ask(context, artifacts, data, folder)
    measured: list[tuple[str, list[dict[str, Any]]]] = []
    folders: list[Path] = []
    scored: list[dict[str, Any]] = []
    with _served(context, artifacts, data, arms, logger):
        for arm in arms:
            weights = train_stages(context, artifacts, data, arm.stages, logger)
            answers = answer_stage(context, artifacts, arm, weights, questions)
            values = choose_metrics(read_rows(answers / "values.jsonl"), context.settings.evaluation.metrics)
            base = measured[0][1] if measured else None
            scores = score_arm(arm.name, values, base, samples, exposure)
            if len(measured) > 1:
                other, theirs = measured[-1]
                scores["versus"][other] = difference_by_metric(arm.name, values, theirs, samples)
            if context.server:
                scores["server"] = context.server.describe(arm.stages)
            scores |= _probe(context, artifacts, arm, weights, policy, folder / "arms" / arm.name)
            if not arm.retrieval and measures_tax(context):
                scores["tax"] = _tax(context, artifacts, arm, weights)
            write_scores(folder / "arms" / arm.name, scores, answers)
            measured.append((arm.name, values))
            folders.append(answers)
            scored.append(scores)
    context.ranks.command("free")  # a judge's vLLM may want the GPUs of all processes
    _judge(context, artifacts, scored, folders, folder)
    (folder / JUDGEMENTS).unlink(missing_ok=True)
    judged = judge_stage(context, artifacts, [arm.name for arm in arms], folders)
    if judged is not None:
        copy_text(judged / JUDGEMENTS, folder / JUDGEMENTS)


@contextmanager
def _served(
    context: Context, artifacts: Artifacts, data: Path | None, arms: Sequence[Arm], logger: RunLogger | None
) -> Iterator[None]:
    """Have the arms served in the block, where vLLM computes the answers.

    What takes the device for itself comes before: all trainings, and the alignment tax, which needs hidden states.
    """
    served = context.served_arms
    if served is None:
        yield
        return
    weights = [train_stages(context, artifacts, data, arm.stages, logger) for arm in arms]
    if measures_tax(context):
        for arm, trained in zip(arms, weights, strict=True):
            if not arm.retrieval:
                tax_stage(context, artifacts, arm.stages, trained)
    context.ranks.command("free")
    served.plan(weights)
    try:
        yield
    finally:
        served.close()


def _judge(
    context: Context, artifacts: Artifacts, scored: Sequence[dict[str, Any]], answers: Sequence[Path], folder: Path
) -> None:
    """Put what the policy judge says of each arm into the run's folder, and its shares among the arm's scores."""
    arms, judge = [str(scores["arm"]) for scores in scored], policy_judge_of(context)
    for arm in arms:
        (folder / "arms" / arm / POLICY).unlink(missing_ok=True)
    found = policy_stage(context, artifacts, arms, answers)
    if judge is None:
        return
    for arm, scores, place in zip(arms, scored, answers, strict=True):
        said = read_jsonl(place / "answers.jsonl", Answer)
        base = None if arm == arms[0] else found[arms[0]]
        scores["policy"] = policy_scores(found[arm], said, judge, base, context.settings.evaluation.bootstrap)
        write_jsonl(folder / "arms" / arm / POLICY, found[arm])
        write_json(folder / "arms" / arm / "scores.json", scores)


def _probe(
    context: Context, artifacts: Artifacts, arm: Arm, weights: Sequence[Path], policy: PolicyProbes, folder: Path
) -> dict[str, Any]:
    """Ask an arm the probes, write its answers to its folder, and return its scores in them by part."""
    scores = {}
    if context.probe_questions:
        found = answer_stage(context, artifacts, arm, weights, context.probe_questions, "probes")
        probed = read_jsonl(found / "answers.jsonl", Answer)
        scores["probes"] = probe_scores(probed, context.embedder, context.settings.evaluation.bootstrap)
        write_jsonl(folder / PROBED, probed)
    if policy.probes:
        scores["policy_probes"], said = score_policy(context, artifacts, arm, weights, policy)
        write_jsonl(folder / POLICY_ANSWERS, said)
    return scores


def _tax(context: Context, artifacts: Artifacts, arm: Arm, weights: Sequence[Path]) -> dict[str, Any]:
    """Return what an arm's training cost in general ability, and which limits that crosses."""
    evaluation = context.settings.evaluation
    base = read_rows(tax_stage(context, artifacts, (), ()) / "values.jsonl")
    own = read_rows(tax_stage(context, artifacts, arm.stages, weights) / "values.jsonl") if arm.stages else base
    return tax_scores(own, base, evaluation.tax, evaluation.bootstrap)


def write_scores(folder: Path, scores: dict[str, Any], answers: Path) -> None:
    """Put an arm's scores and answers into a run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", scores)
    for name in ("answers.jsonl", "values.jsonl"):
        copy_text(answers / name, folder / name)


def copy_text(source: Path, target: Path) -> None:
    """Copy a text file in one step."""
    write_text(target, source.read_text(encoding="utf-8"))
