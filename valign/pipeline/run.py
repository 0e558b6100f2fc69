"""A run from start to end: the stages, and the folder that a reader gets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from valign.config.arguments import plain
from valign.config.earlier_versions import today
from valign.config.run_identity import HOW_THE_TEACHER_IS_ASKED, NOT_RESULTS, shareable
from valign.core.errors import ValignError
from valign.core.files import read_json, to_dict, write_json
from valign.core.store import code_digest, digest, file_digest
from valign.distributed.devices import device_of
from valign.pipeline import scoring, size_checks
from valign.pipeline.artifacts import Pipeline, pinned_by
from valign.pipeline.recipes import Arm, arms_of
from valign.pipeline.training_stage import curves_by_step
from valign.reporting.comparison import Comparison
from valign.reporting.study import compare
from valign.reporting.write import comparison_table, write_page
from valign.runs import layout
from valign.runs.layout import ARTIFACTS, RUN, VALIDATION
from valign.runs.tracking import lasting, log_answers, log_comparison, log_config, log_scores, make_logger, tracked
from valign.synthesis.filters import funnel_table

log = logging.getLogger(__name__)


if TYPE_CHECKING:
    from omegaconf import DictConfig


def train_first(pipeline: Pipeline, arms: Sequence[Arm], folder: Path) -> None:
    """Train everything before a server is asked, and note it in the run's folder: it has to be exported and served."""
    pipeline.check_room(arms)
    pipeline.adapters(arms[-1].stages)
    write_json(folder / ARTIFACTS, pipeline.hashes)


def trained_run(folder: Path) -> Pipeline:
    """Return the pipeline of a run that has trained, also where its answers are not there yet.

    Raises:
        ValignError: The folder is not that of such a run.
    """
    from omegaconf import DictConfig, OmegaConf

    if not (folder / ARTIFACTS).is_file() or not (folder / "config.yaml").is_file():
        raise ValignError(f"{folder} is not the folder of a run that has trained; give one such as runs/udhr/sft_dpo.")
    config = OmegaConf.load(folder / "config.yaml")
    assert isinstance(config, DictConfig)
    return Pipeline(today(config), pinned=pinned_by({"artifacts": read_json(folder / ARTIFACTS)}))


def write_run(pipeline: Pipeline, folder: Path, arms: Sequence[Arm], state: str, config: Mapping[str, Any]) -> None:
    """Write what belongs to the run as a whole: its own arm's scores on top, and ``run.json``."""
    own = folder / "arms" / arms[-1].name
    for name in ("scores.json", "answers.jsonl", "values.jsonl"):
        (folder / name).write_text((own / name).read_text(encoding="utf-8"), encoding="utf-8")
    document = pipeline.document
    details = {
        "state": state,
        "experiment": pipeline.config.experiment_name,
        "arms": [to_dict(a) for a in arms],
        "document": {"title": document.title, "name": document.name, "sha256": document.sha256},
        "passages": [to_dict(p) for p in document.passages],
        "judge": pipeline.judge,
        "funnel": pipeline.funnel(),
        "leak": pipeline.leak(),
        "curves": curves(pipeline),
        "timings": pipeline.timings,
        "artifacts": pipeline.hashes,
        "config": dict(config),
    }
    write_json(folder / RUN, details)


def state_of(pipeline: Pipeline, config: Mapping[str, Any]) -> str:
    """Return a hash of everything that decides a run's result, without loading a model."""
    document = pipeline.document
    given = [to_dict(q) for q in (*(pipeline.given_questions or []), *pipeline.probe_questions)]
    files = [[path.name, file_digest(path)] for path in _read_besides(pipeline.config)]
    return digest([config, document.sha256, [to_dict(p) for p in document.passages], given, files, code_digest(".")])


def _read_besides(config: DictConfig) -> list[Path]:
    """Return the files that a config names and a run reads, besides document and questions."""
    from omegaconf import OmegaConf

    named = (config.sft.replay_file, OmegaConf.select(config, "teacher.recording"))
    folder = config.synthesis.templates
    own = sorted(Path(folder).expanduser().glob("*.txt")) if folder else []
    return [*(Path(name).expanduser() for name in named if name), *own]


def curves(pipeline: Pipeline) -> dict[str, list[tuple[int, float]]]:
    """Return the training curves of the run's own stages, by ``stage/quantity``."""
    found: dict[str, list[tuple[int, float]]] = {}
    for key, name in pipeline.hashes.items():
        stage = key.rpartition("_")[2]
        if "/" in key or stage not in ("sft", "dpo"):
            continue
        for step, values in curves_by_step(pipeline.artifacts / stage / name):
            for quantity, value in values.items():
                found.setdefault(f"{stage}/{quantity}", []).append((step, value))
    return found


def write_validation(pipeline: Pipeline, folder: Path, stages: Sequence[str]) -> None:
    """Note what the last stage's held-out examples gave, where some were held out.

    A stage's error is its loss; in DPO it is the share of pairs that the rewards have the wrong way round, by which
    settings with another beta, or another loss, can be compared.
    """
    (folder / VALIDATION).unlink(missing_ok=True)
    if not stages:
        return
    counts = read_json(pipeline.artifacts / stages[-1] / pipeline.hashes["_".join(stages)] / "manifest.json")["counts"]
    found = {name: value for name, value in counts.items() if name.startswith("validation_")}
    if found:
        wrong = 1 - found["validation_accuracy"] if stages[-1] == "dpo" else found["validation_loss"]
        write_json(folder / VALIDATION, {"stage": stages[-1], "error": wrong, **found})


def run(pipeline: Pipeline) -> float | None:
    """Go through the stages and write the run's folder; returns what ``main`` does."""
    config = pipeline.config
    shared = shareable(config)
    resolved = plain(shared)
    decides = {key: value for key, value in resolved.items() if key not in NOT_RESULTS}
    decides["teacher"] = {k: v for k, v in resolved["teacher"].items() if k not in HOW_THE_TEACHER_IS_ASKED}
    judge = resolved["evaluation"]["judge_model"] or {}
    decides["judge_model"] = {k: v for k, v in judge.items() if k not in HOW_THE_TEACHER_IS_ASKED}
    decides["evaluation"] = {k: v for k, v in resolved["evaluation"].items() if k != "judge_model"}
    server = resolved["evaluation"]["server"]
    decides["evaluation"]["server"] = {k: v for k, v in server.items() if k not in HOW_THE_TEACHER_IS_ASKED}
    decides["evaluation"]["server"]["asked"] = bool(server["base_urls"])
    folder = Path(config.run_dir).expanduser()
    state = state_of(pipeline, decides)
    arms = arms_of(config.recipe.stages, config.recipe.retrieval, config.recipe.retriever)
    if layout.complete(folder, state):
        log.info("%s is complete; nothing to do", folder)
        show(folder, compare([folder]))
        return layout.validation_error(folder)
    device_of(config.trainer.accelerator)  # a GPU that is not there is noticed here, not behind the teacher's calls
    folder.mkdir(parents=True, exist_ok=True)
    (folder / layout.RUN).unlink(missing_ok=True)  # what is there is complete no more, and other settings may be mixed
    OmegaConf.save(shared, folder / "config.yaml", resolve=True)
    settings = plain(config.logger)
    logger = make_logger(
        settings.pop("kind"),
        **settings,
        name=f"{config.experiment_name}/{config.run_name}",
        group=config.experiment_name,
        job_type=config.recipe.name,
        folder=folder,
    )
    with tracked(logger) as tracker:
        with lasting("settings", f"they are in {folder}"):
            log_config(tracker, resolved)
        pipeline.logger = tracker
        size_checks.warn_of_size(pipeline, config.recipe.stages)
        if pipeline.server:
            train_first(pipeline, arms, folder)
        scoring.score_arms(pipeline, arms, None, folder)
        write_run(pipeline, folder, arms, state, resolved)
        comparison = compare([folder])
        write_page(comparison, folder / layout.PAGE)
        with lasting("scores", f"they are in {folder}"):
            for arm in comparison.arms:
                log_scores(tracker, arm.scores)
            log_comparison(tracker, read_json(folder / layout.COMPARISON))
            log_answers(tracker, [answer for arm in comparison.arms for answer in arm.answers])
        write_json(folder / layout.ARTIFACTS, pipeline.hashes)
        write_validation(pipeline, folder, config.recipe.stages)
    show(folder, comparison)
    return layout.validation_error(folder)


def show(folder: Path, comparison: Comparison) -> None:
    """Print a run's data funnel, leak rate and table, and where its page is."""
    details = read_json(folder / layout.RUN)
    print(f"\n{details['document']['title']}")
    print(funnel_table(details["funnel"]))
    print(f"evaluation questions of which six words in a row occur in training: {100 * details['leak']['rate']:.1f}%")
    print("\n" + comparison_table(comparison))
    if (error := layout.validation_error(folder)) is not None:
        print(f"validation error, on held-out training examples: {error:.4f}")
    print(f"\nreport: {folder / layout.PAGE}")
