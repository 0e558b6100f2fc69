"""``python -m valign.evaluate run=DIR [questions=FILE.jsonl]``: score all arms of a run, on other questions too."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from valign.cli.main import main_with
from valign.config.earlier_versions import today
from valign.config.run_identity import shareable

if TYPE_CHECKING:
    from valign.pipeline.artifacts import Pipeline

log = logging.getLogger("valign.evaluate")


def main(config: DictConfig) -> None:
    """Let every arm of the run answer, score the answers, and print and write the comparison.

    Of several processes, as srun starts them, each answers a part of the questions.
    """
    from valign.core.files import read_json
    from valign.distributed import signals
    from valign.distributed.join import joined
    from valign.pipeline.artifacts import Pipeline, pinned_by
    from valign.runs import layout

    folder = layout.run_folder(Path(config.run).expanduser())
    details = read_json(folder / layout.RUN)
    trained = OmegaConf.load(folder / "config.yaml")
    assert isinstance(trained, DictConfig)
    trained = today(trained)
    choose_server(trained, config.evaluation.server)
    with signals.heeded(), joined(None, OmegaConf.select(trained, "trainer.wait_seconds", default=86400.0)) as ranks:
        pipeline = Pipeline(trained, pinned=pinned_by(details), ranks=ranks)
        if ranks.first:
            score(config, pipeline, folder, details)
        else:
            pipeline.follow()


def choose_server(trained: DictConfig, server: DictConfig) -> None:
    """Put the server that is asked for in place of the run's own; likelihoods alone go with the run's own."""
    if server.base_urls:
        trained.evaluation.server = server
    elif server.likelihoods == "local":
        trained.evaluation.server.likelihoods = "local"


def score(config: DictConfig, pipeline: Pipeline, folder: Path, details: dict[str, Any]) -> None:
    """Evaluate the run's arms and show them."""
    from valign.config.arguments import plain
    from valign.core.files import read_jsonl
    from valign.core.records import Question
    from valign.core.store import digest
    from valign.evaluation.questions import check_questions
    from valign.pipeline import run, scoring, size_checks
    from valign.pipeline.recipes import Arm
    from valign.reporting.study import compare
    from valign.reporting.write import comparison_table, write_page
    from valign.runs import layout

    arms = [Arm(a["name"], tuple(a["stages"]), a["retrieval"], a.get("retriever")) for a in details["arms"]]
    questions, name = None, "own"
    if config.questions is not None:
        path = Path(config.questions).expanduser()
        questions, name = read_jsonl(path, Question), path.stem
        check_questions(questions, str(path), pipeline.document)
    output = Path(config.output).expanduser() if config.output else folder / "evaluations" / name
    size_checks.warn_of_size(pipeline, ())
    scoring.score_arms(pipeline, arms, questions, output)
    shown = plain(shareable(pipeline.config))
    if config.questions is not None:
        shown["evaluation"]["questions"] = str(config.questions)
    run.write_run(pipeline, output, arms, digest([details["state"], name]), shown)
    comparison = compare([output])
    write_page(comparison, output / layout.PAGE)
    leak = pipeline.leak(questions)
    print(f"\nevaluation questions of which six words in a row occur in training: {100 * leak['rate']:.1f}%")
    print("\n" + comparison_table(comparison))
    print(f"\nreport: {output / layout.PAGE}")


if __name__ == "__main__":
    main_with(main, "evaluate")
