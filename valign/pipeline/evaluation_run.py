"""Another evaluation of a finished run: its arms on other questions, or through a server."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from valign.config.schema import ScoringSettings
from valign.core.disk import locked
from valign.core.files import read_jsonl, write_json, write_text
from valign.core.records import Question
from valign.core.store import digest
from valign.distributed import signals
from valign.distributed.join import connect
from valign.evaluation.questions import check_questions
from valign.evaluation.settings import EvaluationSettings
from valign.pipeline.artifacts import Artifacts, pinned_by
from valign.pipeline.context import Context
from valign.pipeline.data_stage import data_if_needed, evaluation_questions
from valign.pipeline.finished_run import arms_of_run, context_of_run, require_known_servers
from valign.pipeline.leak import print_leak
from valign.pipeline.recipes import Arm
from valign.pipeline.run import describe_run
from valign.pipeline.scoring import score_arms
from valign.pipeline.size_checks import require_context_length, warn_of_size
from valign.pipeline.worker import follow, take_devices
from valign.reporting.study import compare_runs
from valign.reporting.write import comparison_table, write_page
from valign.runs.layout import EVALUATIONS, PAGE, RUN, RUN_LOCK, refuse_links_out, run_folder

log = logging.getLogger(__name__)

OWN = "own"
QUESTIONS_PATH = "questions.txt"  # the path of the question file, by which another of the same name is told apart


def evaluate(
    run: Path,
    questions: Path | None,
    output: Path | None,
    scoring: ScoringSettings,
    is_trusted: bool = False,
    policy_probes: str | None = None,
) -> None:
    """Let every arm of a run answer, score the answers, and print and write the comparison.

    Of several processes, as srun starts them, each answers a part of the questions.

    Args:
        run: A run's folder, or one that holds a single run.
        questions: File of other questions; None for the run's own.
        output: Folder of the results; None for one inside the run's folder.
        scoring: What computes the arms' answers, in place of what the run's own settings say.
        is_trusted: Whether the run's config may run code, and may name servers and keys.
        policy_probes: Probes of the policy that are asked besides: a file, or ``shipped``; None for the run's own.

    Raises:
        ValignError: The folder is not that of a finished run, is a stranger's in what it asks for, or leads elsewhere.
    """
    folder = run_folder(run)
    details, arms = arms_of_run(folder)
    known = context_of_run(folder, is_trusted)
    if not is_trusted:
        require_known_servers(known, folder, chooses_engine(scoring))
    with signals.stop_on_signal(), connect(None, known.settings.trainer.wait_seconds) as ranks:
        own = known.settings.evaluation
        probes = replace(own.policy_probes, questions=policy_probes) if policy_probes else own.policy_probes
        chosen = choose_engine(own, scoring)
        context = replace(with_evaluation(known, **chosen, policy_probes=probes), ranks=ranks)
        if ranks.is_first:
            place = folder / EVALUATIONS
            if output is None:
                refuse_links_out(place, folder)
            lock = (output or place) / RUN_LOCK
            with locked(lock, partial(log.info, "another process writes to %s; waiting for it", lock.parent)):
                name = evaluation_name(place, questions)
                artifacts = Artifacts(context.store, pinned_by(details))
                state = digest([details["state"], name])
                _score(context, artifacts, arms, questions, output or place / name, state)
        else:
            follow(context)


def evaluation_name(place: Path, questions: Path | None) -> str:
    """Return the name of an evaluation's folder: its question file's.

    A digest of the file's path tells it from the run's own questions, from an evaluation of another file of that name,
    and from names of dots alone, which lead out of the folder.

    Args:
        place: The folder of a run's evaluations.
        questions: The file of questions; None for the run's own.
    """
    if questions is None:
        return OWN
    name, path = questions.stem, str(questions.resolve())
    if name.strip(".") and name != OWN:
        noted = place / name / QUESTIONS_PATH
        if not (place / name).exists() or not noted.is_file() or noted.read_text(encoding="utf-8") == path:
            return name
    return f"{name.strip('.') or 'questions'}-{digest(path)[:8]}"


def chooses_engine(asked: ScoringSettings) -> bool:
    """Tell whether the command line says what computes the answers."""
    return asked.engine is not None or bool(asked.server.base_urls)


def choose_engine(own: EvaluationSettings, asked: ScoringSettings) -> dict[str, Any]:
    """Return what computes the answers: ``engine``, ``vllm`` and ``server``.

    Likelihoods alone go with the run's own server.

    Args:
        own: The run's own settings.
        asked: The command line's, in place of these where it says what computes the answers.
    """
    if chooses_engine(asked):
        return {"engine": asked.engine or "local", "vllm": asked.vllm, "server": asked.server}
    likelihoods = "local" if asked.server.likelihoods == "local" else own.server.likelihoods
    return {"engine": own.engine, "vllm": own.vllm, "server": replace(own.server, likelihoods=likelihoods)}


def with_evaluation(context: Context, **settings: Any) -> Context:
    """Return what is known of a run, with other settings of its evaluation."""
    evaluation = replace(context.settings.evaluation, **settings)
    return replace(context, settings=replace(context.settings, evaluation=evaluation))


def _score(
    context: Context, artifacts: Artifacts, arms: list[Arm], questions: Path | None, output: Path, state: str
) -> None:
    """Evaluate the run's arms and show them."""
    take_devices(context)
    data = data_if_needed(context, artifacts)
    if questions is None:
        asked = evaluation_questions(context, data)
    else:
        asked = read_jsonl(questions, Question)
        check_questions(asked, str(questions), context.document)
        context = with_evaluation(context, questions=str(questions))
    context = replace(context, output=output)
    warn_of_size(context, ())
    require_context_length(context, arms, asked)
    if questions is not None:
        write_text(output / QUESTIONS_PATH, str(questions.resolve()))
    (output / RUN).unlink(missing_ok=True)
    score_arms(context, artifacts, data, arms, asked, output)
    details = describe_run(context, artifacts, data, arms, asked, output, state)
    comparison = compare_runs([output], [details])
    write_page(comparison, output / PAGE)
    write_json(output / RUN, details)
    print()
    if details["leak"] is not None:
        print_leak(details["leak"])
    print("\n" + comparison_table(comparison))
    print(f"\nreport: {output / PAGE}")
