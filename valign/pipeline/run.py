"""A run from its config to its folder: the stages in order, and what a reader gets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from valign.config.run_identity import result_settings
from valign.core.disk import locked
from valign.core.files import as_read, read_json, to_dict, write_json, write_text
from valign.core.records import Question
from valign.core.store import MANIFEST, code_digest, digest, file_digest
from valign.core.text import one_line
from valign.distributed import signals
from valign.distributed.join import connect
from valign.distributed.shared_folder import check_shared_folder
from valign.models.terms import describe_base
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.base_check import check_base_model
from valign.pipeline.context import Context
from valign.pipeline.data_stage import data_if_needed, evaluation_questions, read_funnel, replay_stage
from valign.pipeline.judge_stage import judging_teacher, run_judge
from valign.pipeline.leak import measure_leak, print_leak
from valign.pipeline.probe_stage import given_policy_probes
from valign.pipeline.recipes import Arm
from valign.pipeline.review_check import require_review
from valign.pipeline.scoring import copy_text, score_arms
from valign.pipeline.size_checks import require_context_length, warn_of_size
from valign.pipeline.training_stage import curves_by_step, train_stages
from valign.pipeline.worker import follow, take_devices
from valign.reporting.comparison import Comparison
from valign.reporting.study import compare_runs
from valign.reporting.write import comparison_table, write_page
from valign.runs.layout import (
    ARTIFACTS,
    COMPARISON,
    CONFIG,
    PAGE,
    RUN,
    RUN_LOCK,
    VALIDATION,
    run_is_current,
    validation_error,
)
from valign.runs.tracking import (
    RunLogger,
    closing_logger,
    ignore_lost_logger,
    log_answers,
    log_comparison,
    log_config,
    log_scores,
    make_logger,
)
from valign.synthesis.funnel_table import funnel_table

log = logging.getLogger("valign.train")


def train(config: DictConfig, is_sweep: bool = False) -> float | None:
    """Run one recipe and show its arms beside base; what is complete is not done again.

    Of several processes the first does this, and the others do their part of training and evaluation.

    Args:
        config: The composed config.
        is_sweep: Whether this is a job of a multirun.

    Returns:
        What a sweeper is to lower, the last stage's error on held-out training examples; None where nothing is held
        out, and in processes other than the first.
    """
    alone = Context.of(config)
    trainer = alone.settings.trainer
    with signals.stop_on_signal(), connect(trainer.world_size, trainer.wait_seconds, is_sweep) as ranks:
        context = replace(alone, ranks=ranks)
        check_shared_folder(context.store, ranks)
        if ranks.is_first:
            return run(context)
        follow(context)
        return None


def run(context: Context) -> float | None:
    """Go through the stages and write the run's folder; returns what ``train`` does."""
    folder, state = context.run_folder, state_of(context)
    if run_is_current(folder, state):
        log.info("%s is complete; nothing to do", folder)
        return _show(folder)
    take_devices(context)
    with locked(folder / RUN_LOCK, partial(log.info, "another process writes %s; waiting for it", folder)):
        if not run_is_current(folder, state):
            _make(context, folder, state)
        return _show(folder)


def _show(folder: Path) -> float | None:
    """Print a complete run, and return its error on what is held out."""
    print_run(folder, compare_runs([folder]))
    return validation_error(folder)


def _make(context: Context, folder: Path, state: str) -> None:
    """Go through the stages and write the run's folder, ``run.json`` last: with it the folder is complete."""
    settings, arms = context.settings, context.arms
    (folder / RUN).unlink(missing_ok=True)  # the folder is complete no more, and may hold results of other settings
    write_text(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(context.noted)))
    artifacts = Artifacts(context.store)
    with closing_logger(_logger(context)) as logger:
        with ignore_lost_logger("settings", f"they are in {folder}"):
            log_config(logger, context.noted)
        check_base_model(context)
        warn_of_size(context, settings.recipe.stages)
        if context.given_questions:
            require_context_length(context, arms, context.given_questions)  # before the teacher is paid
        data = data_if_needed(context, artifacts, judging_teacher(context))
        if data is not None:
            require_review(context, data)
        questions = evaluation_questions(context, data)
        require_context_length(context, arms, questions)
        if context.server:
            train_before_serving(context, artifacts, data, logger)
        score_arms(context, artifacts, data, arms, questions, folder, logger)
        details = describe_run(context, artifacts, data, arms, questions, folder, state)
        comparison = compare_runs([folder], [details])
        write_page(comparison, folder / PAGE)
        with ignore_lost_logger("scores", f"they are in {folder}"):
            for arm in comparison.arms:
                log_scores(logger, arm.scores)
            log_comparison(logger, read_json(folder / COMPARISON))
            log_answers(logger, [answer for arm in comparison.arms for answer in arm.answers])
        write_json(folder / ARTIFACTS, artifacts.hashes)
        write_validation(artifacts, folder, settings.recipe.stages)
    write_json(folder / RUN, details)


def _logger(context: Context) -> RunLogger:
    """Make the run's logger."""
    settings = context.settings
    options = asdict(settings.logger)
    return make_logger(
        options.pop("kind"),
        **options,
        name=f"{settings.experiment_name}/{settings.run_name}",
        group=settings.experiment_name,
        job_type=settings.recipe.name,
        folder=context.run_folder,
    )


def train_before_serving(context: Context, artifacts: Artifacts, data: Path | None, logger: RunLogger | None) -> None:
    """Train all stages before a server is asked, and note them in the run's folder: they are to be exported first."""
    train_stages(context, artifacts, data, context.arms[-1].stages, logger)
    write_json(context.run_folder / ARTIFACTS, artifacts.hashes)


def describe_run(
    context: Context,
    artifacts: Artifacts,
    data: Path | None,
    arms: Sequence[Arm],
    questions: Sequence[Question],
    folder: Path,
    state: str,
) -> dict[str, Any]:
    """Put its last arm's scores on top of a run's folder, and return what belongs to the run as a whole.

    Args:
        context: What is known of the run.
        artifacts: The stages that it used.
        data: The data stage's folder; None where no data were written.
        arms: Its arms.
        questions: What they were asked.
        folder: The run's folder, which has the arms' scores.
        state: The hash of all that decides its result.

    Returns:
        What ``run.json`` is to hold, as it is read from there.
    """
    own = folder / "arms" / arms[-1].name
    for name in ("scores.json", "answers.jsonl", "values.jsonl"):
        copy_text(own / name, folder / name)
    document, judge = context.document, run_judge(context)
    details = {
        "state": state,
        "experiment": context.settings.experiment_name,
        "arms": [to_dict(a) for a in arms],
        "document": {"title": document.title, "name": document.name, "sha256": document.sha256},
        "passages": [to_dict(p) for p in document.passages],
        "base_model": to_dict(describe_base(context.settings.base_model.model, context.model_path)),
        "judge": to_dict(judge) if judge else None,
        "funnel": None if data is None else read_funnel(data),
        "leak": None if data is None else measure_leak(data, replay_stage(context, artifacts, data), questions),
        "curves": _curves(artifacts),
        "timings": artifacts.timings,
        "artifacts": artifacts.hashes,
        "config": context.noted,
    }
    return as_read(details)


def state_of(context: Context) -> str:
    """Return a hash of everything that decides a run's result, without loading a model."""
    document = context.document
    asked = (*(context.given_questions or []), *context.probe_questions, *given_policy_probes(context))
    given = [to_dict(question) for question in asked]
    files = [[path.name, file_digest(path)] for path in _files_read(context)]
    passages = [to_dict(p) for p in document.passages]
    return digest([result_settings(context.noted), document.sha256, passages, given, files, code_digest(".")])


def _files_read(context: Context) -> list[Path]:
    """Return the files that a config names and a run reads, besides document and questions."""
    settings = context.settings
    synthesis, judge = settings.synthesis, settings.evaluation.policy_judge
    rows = None if synthesis.rows == "shipped" else synthesis.rows
    recording = judge.recording if judge else None
    named = (settings.sft.replay_file, settings.teacher.recording, recording, rows, synthesis.review)
    folder = synthesis.templates
    own = sorted(Path(folder).expanduser().glob("*.txt")) if folder else []
    return [*(Path(name).expanduser() for name in named if name), *own]


def _curves(artifacts: Artifacts) -> dict[str, list[tuple[int, float]]]:
    """Return the training curves of the run's own stages, by ``stage/quantity``."""
    found: dict[str, list[tuple[int, float]]] = {}
    for key, name in artifacts.hashes.items():
        stage = key.rpartition("_")[2]
        if "/" in key or stage not in ("sft", "dpo"):
            continue
        for step, values in curves_by_step(artifacts.store / stage / name):
            for quantity, value in values.items():
                found.setdefault(f"{stage}/{quantity}", []).append((step, value))
    return found


def write_validation(artifacts: Artifacts, folder: Path, stages: Sequence[str]) -> None:
    """Note what the last stage's held-out examples gave, where some were held out.

    A stage's error is its loss; in DPO it is the share of pairs that the rewards have the wrong way round, by which
    settings with another beta, or another loss, can be compared.
    """
    (folder / VALIDATION).unlink(missing_ok=True)
    if not stages:
        return
    counts = read_json(artifacts.store / stages[-1] / artifacts.hashes["_".join(stages)] / MANIFEST)["counts"]
    found = {name: value for name, value in counts.items() if name.startswith("validation_")}
    if found:
        wrong = 1 - found["validation_accuracy"] if stages[-1] == "dpo" else found["validation_loss"]
        write_json(folder / VALIDATION, {"stage": stages[-1], "error": wrong, **found})


def print_run(folder: Path, comparison: Comparison) -> None:
    """Print a run's data funnel, leak rate and table, and where its page is."""
    details = read_json(folder / RUN)
    print(f"\n{one_line(details['document']['title'])}")
    if details["funnel"] is not None:
        print(funnel_table(details["funnel"]))
        print_leak(details["leak"])
    print("\n" + comparison_table(comparison))
    if (error := validation_error(folder)) is not None:
        print(f"validation error, on held-out training examples: {error:.4f}")
    print(f"\nreport: {folder / PAGE}")
