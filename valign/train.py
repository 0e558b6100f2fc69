"""``python -m valign.train +experiment=udhr``: document to data to SFT to DPO to scores, in one command."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from valign.cli import main_with
from valign.config import HOW_THE_TEACHER_IS_ASKED, shareable
from valign.errors import ValignError

log = logging.getLogger("valign.train")

NOT_RESULTS = ("runs", "artifacts", "run_dir", "run_name", "logger", "budget_only")


def main(config: DictConfig) -> None:
    """Run one recipe and show its arms beside base; what is complete is not done again."""
    from valign import results
    from valign.pipeline import Pipeline, arms_of, plain
    from valign.store import write_json
    from valign.tracking import log_answers, log_config, log_scores, make_logger, tracked

    if config.budget_only:
        raise ValignError("budget_only=true goes with python -m valign.synthesize, which takes the same settings.")
    shared = shareable(config)
    resolved = plain(shared)
    decides = {key: value for key, value in resolved.items() if key not in NOT_RESULTS}
    decides["teacher"] = {k: v for k, v in resolved["teacher"].items() if k not in HOW_THE_TEACHER_IS_ASKED}
    folder = Path(config.run_dir).expanduser()
    pipeline = Pipeline(config)
    state = results.state_of(pipeline, decides)
    arms = arms_of(config.recipe.stages, config.recipe.retrieval)
    if results.complete(folder, state):
        log.info("%s is complete; nothing to do", folder)
        show(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
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
    with tracked(logger) as run:
        log_config(run, resolved)
        pipeline.logger = run
        results.score_arms(pipeline, arms, None, folder)
        results.write_run(pipeline, folder, arms, state, resolved)
        comparison = results.compare([folder])
        for arm in comparison.arms:
            log_scores(run, arm.scores)
        log_answers(run, [answer for arm in comparison.arms for answer in arm.answers])
        write_json(folder / "artifacts.json", pipeline.hashes)
    show(folder)


def show(folder: Path) -> None:
    """Print a run's data funnel, leak rate and table, and where its page is."""
    from valign import results
    from valign.store import read_json
    from valign.synthesis.build import funnel_table

    details = read_json(folder / results.RUN)
    print(f"\n{details['document']['title']}")
    print(funnel_table(details["funnel"]))
    print(f"evaluation questions of which six words in a row occur in training: {100 * details['leak']['rate']:.1f}%")
    print("\n" + results.table([folder]))
    print(f"\nreport: {folder / results.PAGE}")


if __name__ == "__main__":
    main_with(main)
