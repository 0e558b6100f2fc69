"""Another evaluation of a finished run: its arms on other questions, or through a server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from valign.core.files import read_json, read_jsonl
from valign.core.records import Question
from valign.core.store import digest
from valign.distributed import signals
from valign.distributed.join import connect
from valign.evaluation.questions import check_questions
from valign.evaluation.settings import ServerSettings
from valign.pipeline.artifacts import Artifacts, pinned_by
from valign.pipeline.context import Context
from valign.pipeline.data_stage import data_stage, evaluation_questions
from valign.pipeline.recipes import Arm
from valign.pipeline.run import context_of_run, print_leak, write_run
from valign.pipeline.scoring import score_arms
from valign.pipeline.size_checks import require_context_length, warn_of_size
from valign.pipeline.worker import follow
from valign.reporting.study import compare_runs
from valign.reporting.write import comparison_table, write_page
from valign.runs.layout import EVALUATIONS, PAGE, RUN, run_folder


def evaluate(run: Path, questions: Path | None, output: Path | None, server: ServerSettings) -> None:
    """Let every arm of a run answer, score the answers, and print and write the comparison.

    Of several processes, as srun starts them, each answers a part of the questions.

    Args:
        run: A run's folder, or one that holds a single run.
        questions: File of other questions; None for the run's own.
        output: Folder of the results; None for one inside the run's folder.
        server: The server through which the arms answer, in place of the run's own where it has an address.
    """
    folder = run_folder(run)
    details = read_json(folder / RUN)
    known = context_of_run(folder)
    with signals.stop_on_signal(), connect(None, known.settings.trainer.wait_seconds) as ranks:
        chosen = choose_server(known.settings.evaluation.server, server)
        context = replace(with_evaluation(known, server=chosen), ranks=ranks)
        if ranks.is_first:
            arms = [Arm(a["name"], tuple(a["stages"]), a["retrieval"], a.get("retriever")) for a in details["arms"]]
            name = questions.stem if questions else "own"
            target = output or folder / EVALUATIONS / name
            artifacts = Artifacts(context.store, pinned_by(details))
            _score(context, artifacts, arms, questions, target, digest([details["state"], name]))
        else:
            follow(context)


def choose_server(own: ServerSettings, asked: ServerSettings) -> ServerSettings:
    """Return the server that is asked for in place of the run's own; likelihoods alone go with the run's own."""
    if asked.base_urls:
        return asked
    return replace(own, likelihoods="local") if asked.likelihoods == "local" else own


def with_evaluation(context: Context, **settings: Any) -> Context:
    """Return what is known of a run, with other settings of its evaluation."""
    evaluation = replace(context.settings.evaluation, **settings)
    return replace(context, settings=replace(context.settings, evaluation=evaluation))


def _score(
    context: Context, artifacts: Artifacts, arms: list[Arm], questions: Path | None, output: Path, state: str
) -> None:
    """Evaluate the run's arms and show them."""
    data = data_stage(context, artifacts)
    if questions is None:
        asked = evaluation_questions(context, data)
    else:
        asked = read_jsonl(questions, Question)
        check_questions(asked, str(questions), context.document)
        context = with_evaluation(context, questions=str(questions))
    warn_of_size(context, ())
    require_context_length(context, arms, asked)
    score_arms(context, artifacts, data, arms, asked, output)
    write_run(context, artifacts, data, arms, asked, output, state)
    comparison = compare_runs([output])
    write_page(comparison, output / PAGE)
    print()
    print_leak(read_json(output / RUN)["leak"])
    print("\n" + comparison_table(comparison))
    print(f"\nreport: {output / PAGE}")
