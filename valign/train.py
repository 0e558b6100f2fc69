"""``python -m valign.train +experiment=udhr``: document to data to SFT to DPO to scores, in one command."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from valign.cli import main_with
from valign.config import HOW_THE_TEACHER_IS_ASKED, shareable
from valign.errors import ValignError

if TYPE_CHECKING:
    from valign.pipeline import Pipeline

log = logging.getLogger("valign.train")

NOT_RESULTS = ("runs", "artifacts", "run_dir", "run_name", "logger", "budget_only")


def main(config: DictConfig) -> float | None:
    """Run one recipe and show its arms beside base; what is complete is not done again.

    Of several processes the first does this, and the others do their part of training and evaluation.

    Returns:
        What a sweeper is to lower, ``validation_error`` of the last stage; None where nothing is held out.
    """
    from valign import signals
    from valign.pipeline import Pipeline
    from valign.ranks import joined
    from valign.training.strategies import world_size

    if config.budget_only:
        raise ValignError("budget_only=true goes with python -m valign.synthesize, which takes the same settings.")
    sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    with signals.heeded(), joined(world_size(config.trainer), config.trainer.wait_seconds, sweeping) as ranks:
        pipeline = Pipeline(config, ranks=ranks)
        ranks.check_shared(pipeline.artifacts)
        if ranks.first:
            return run(pipeline)
        pipeline.follow()
        return None


def run(pipeline: Pipeline) -> float | None:
    """Go through the stages and write the run's folder; returns what ``main`` does."""
    from valign import results, studies
    from valign.arguments import plain
    from valign.recipes import arms_of
    from valign.store import read_json, write_json
    from valign.tracking import lasting, log_answers, log_comparison, log_config, log_scores, make_logger, tracked
    from valign.training.strategies import device_of

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
    state = results.state_of(pipeline, decides)
    arms = arms_of(config.recipe.stages, config.recipe.retrieval, config.recipe.retriever)
    if results.complete(folder, state):
        log.info("%s is complete; nothing to do", folder)
        show(folder)
        return results.validation_error(folder)
    device_of(config.trainer.accelerator)  # a GPU that is not there is noticed here, not behind the teacher's calls
    folder.mkdir(parents=True, exist_ok=True)
    (folder / results.RUN).unlink(missing_ok=True)  # what is there is complete no more, and other settings may be mixed
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
        results.warn_of_size(pipeline, config.recipe.stages)
        if pipeline.server:
            results.train_first(pipeline, arms, folder)
        results.score_arms(pipeline, arms, None, folder)
        results.write_run(pipeline, folder, arms, state, resolved)
        studies.write_page([folder], folder / results.PAGE)
        comparison = studies.compare([folder])
        with lasting("scores", f"they are in {folder}"):
            for arm in comparison.arms:
                log_scores(tracker, arm.scores)
            log_comparison(tracker, read_json(folder / studies.COMPARISON))
            log_answers(tracker, [answer for arm in comparison.arms for answer in arm.answers])
        write_json(folder / results.ARTIFACTS, pipeline.hashes)
        results.write_validation(pipeline, folder, config.recipe.stages)
    show(folder)
    return results.validation_error(folder)


def show(folder: Path) -> None:
    """Print a run's data funnel, leak rate and table, and where its page is."""
    from valign import results, studies
    from valign.store import read_json
    from valign.synthesis.build import funnel_table

    details = read_json(folder / results.RUN)
    print(f"\n{details['document']['title']}")
    print(funnel_table(details["funnel"]))
    print(f"evaluation questions of which six words in a row occur in training: {100 * details['leak']['rate']:.1f}%")
    print("\n" + studies.table([folder]))
    if (error := results.validation_error(folder)) is not None:
        print(f"validation error, on held-out training examples: {error:.4f}")
    print(f"\nreport: {folder / results.PAGE}")


if __name__ == "__main__":
    main_with(main)
