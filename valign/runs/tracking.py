"""Curves, scores and answers in Weights & Biases or in CSV files."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from valign.core.errors import ValignError
from valign.core.records import Answer
from valign.core.store import digest
from valign.runs.summaries import flat_comparison, flat_scores, mask_secrets
from valign.runs.wandb_mode import wandb_mode

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger, WandbLogger
    from wandb import Run

RunLogger: TypeAlias = "Logger | Literal[False]"  # what Lightning's Trainer takes as ``logger``

log = logging.getLogger(__name__)

SECONDS_TO_START = 30.0
ANSWER_COLUMNS = ("question_id", "clause", "arm", "question", "answer", "reference", "verdict", "retrieved", "finished")


def make_logger(
    kind: str,
    *,
    project: str,
    mode: str,
    entity: str | None,
    name: str,
    group: str,
    job_type: str,
    folder: Path,
) -> RunLogger:
    """Make the logger of a run, to be closed with ``closing_logger``.

    Args:
        kind: ``wandb``, ``csv`` or ``none``.
        project: W&B project.
        mode: ``auto`` (what ``WANDB_MODE`` says, otherwise online where the user is logged in and the server answers),
            ``offline``, ``online`` or ``disabled``.
        entity: W&B team; None for the user's own.
        name: The run's name.
        group: The sweep that the run belongs to.
        job_type: The recipe.
        folder: The run's folder; everything is written inside it, and the W&B run's id is made from it, so that a run
            that was interrupted goes on as the same one.

    Returns:
        What Lightning's Trainer takes as ``logger``.

    Raises:
        ValignError: The folder is not writable, or W&B is to be online and cannot be.
    """
    if kind not in ("wandb", "csv", "none"):
        raise ValignError(f"logger.kind={kind} is unknown; choose from: wandb, csv, none.")
    if kind == "none":
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValignError(f"{folder} is not writable ({error.strerror}); choose another folder, runs=FOLDER.") from None
    if kind == "csv":
        from pytorch_lightning.loggers import CSVLogger

        return CSVLogger(folder, name="csv")
    chosen = wandb_mode(mode)
    if chosen == "disabled":
        return False
    arguments = {"project": project, "entity": entity, "name": name, "group": group, "job_type": job_type}
    return _wandb_logger(folder, chosen, arguments, fall_back=mode == "auto")


def _wandb_logger(folder: Path, mode: str, arguments: dict[str, Any], fall_back: bool) -> WandbLogger:
    """Start the W&B run on the first rank, and wrap it for Lightning.

    Args:
        folder: The run's folder.
        mode: ``online`` or ``offline``.
        arguments: Of ``wandb.init``.
        fall_back: Whether a run that cannot be started online is started offline.
    """
    import wandb
    from pytorch_lightning.loggers import WandbLogger

    arguments["id"] = digest(str(folder.resolve()))
    run = None
    if _first_rank():
        try:
            run = _start(folder, mode, arguments)
        except wandb.Error as error:
            reason = str(error).rstrip(".")
            if mode == "offline" or not fall_back:
                raise ValignError(
                    f"W&B cannot start a run ({reason}); "
                    "check the login ('wandb login') and the network, or add logger.mode=offline."
                ) from None
            print(f"W&B cannot be reached ({reason}); going on offline, 'wandb sync' uploads the run later")
            wandb.teardown()  # it still holds the run's id
            run = _start(folder, "offline", arguments)
    given = {name: arguments[name] for name in ("project", "name", "id")}
    return WandbLogger(**given, save_dir=folder, experiment=run)


def _start(folder: Path, mode: str, arguments: Mapping[str, Any]) -> Run:
    """Start a W&B run that prints nothing but its address and counts the trainer's steps."""
    import wandb

    os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")  # else it traces, or advertises tracing, the teacher's calls
    with _without_slurm_signals():
        run = wandb.init(
            **arguments,
            dir=str(folder),
            mode=mode,  # type: ignore[arg-type]
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(
                console="off",
                silent=True,
                quiet=True,
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,  # it holds the command line, where a URL may have a login
                init_timeout=SECONDS_TO_START,
            ),
        )
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    if mode == "online":
        print(f"W&B: {run.url}")
    return run


@contextmanager
def _without_slurm_signals() -> Iterator[None]:
    """Let W&B's process, which is started inside, block the signals that SLURM sends to a job before its time limit.

    SLURM sends them to all of a job's processes, and this one they would end, with the logging. SIGTERM still ends it;
    ``ignore_lost_logger`` is for that.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def ignore_lost_logger(what: str, instead: str) -> Iterator[None]:
    """Warn instead of failing where W&B's own process is gone, as after a SIGTERM to all of a job's processes.

    Args:
        what: What is logged inside, for the warning.
        instead: Where the user finds it without the logger, for the warning.
    """
    try:
        yield
    except Exception as error:
        # W&B has several internal errors for a process that is gone; what a user can mend is in ``wandb.errors``.
        if not isinstance(error, ConnectionError) and not type(error).__module__.startswith("wandb.sdk."):
            raise
        log.warning("%s: the logger is gone (%s); %s", what, error, instead)


@contextmanager
def closing_logger(logger: RunLogger) -> Iterator[RunLogger]:
    """Give a logger, and close it at the end, also after an error, so that the next run gets one of its own.

    Meanwhile W&B stages files for a later upload in the run's folder instead of the home folder.

    Args:
        logger: From ``make_logger``.
    """
    run = _wandb_run(logger)
    staging = {"WANDB_DATA_DIR": str(Path(run.settings.root_dir).resolve() / "wandb")} if run is not None else {}
    before = {name: os.environ.get(name) for name in staging}
    code = 1
    try:
        os.environ.update({name: value for name, value in staging.items() if before[name] is None})
        yield logger
        code = 0
    finally:
        if run is not None:
            _finish(run, code)
        elif logger:
            logger.finalize("failed" if code else "success")
        for name, value in before.items():
            if value is None:
                del os.environ[name]


def _finish(run: Any, code: int) -> None:
    """End a W&B run; where W&B's own process is gone, only what this process holds of it.

    After an error nothing that W&B raises takes that error's place: a job that SLURM takes back has to end by what its
    launcher raised.
    """
    import wandb

    instead = "what it lacks is in the run's folder"
    try:
        with ignore_lost_logger("W&B", instead):
            run.finish(exit_code=code)
            return
    except Exception as error:
        if not code:
            raise
        log.warning("W&B: its run cannot be ended (%s); %s", error, instead)
    with suppress(Exception if code else ConnectionError, SystemExit):  # the latter for the other process's exit code
        wandb.teardown()


def log_config(logger: RunLogger, config: Mapping[str, Any]) -> None:
    """Log a resolved config as hyperparameters, without secrets."""
    if logger:
        logger.log_hyperparams(mask_secrets(config))


def log_scores(logger: RunLogger, scores: Mapping[str, Any]) -> None:
    """Put an arm's scores into the W&B run's summary.

    ``scores/<arm>/<metric>`` is the mean, with ``/low`` and ``/high`` the ends of its interval, and
    ``scores/<arm>/<metric>/minus_<other>`` the paired difference to another arm. Other loggers have no summary; their
    scores are in ``scores.json``.

    Args:
        logger: From ``make_logger``.
        scores: One arm's scores in the form of ``scores.json``.
    """
    run = _wandb_run(logger)
    if run is not None:
        run.summary.update(flat_scores(scores))


def log_comparison(logger: RunLogger, summary: Mapping[str, Any]) -> None:
    """Put what a comparison found beyond the arms' scores into the W&B run's summary, under ``scores/<arm>/``.

    These are the tests of differences, the recall of retrieval, the win rates and the Bradley-Terry strengths.

    Args:
        logger: From ``make_logger``.
        summary: In the form of ``comparison.json``.
    """
    run = _wandb_run(logger)
    if run is not None:
        run.summary.update(flat_comparison(summary))


def log_answers(logger: RunLogger, answers: Sequence[Answer], limit: int = 500) -> None:
    """Log answers as a W&B table, the arms' answers to a question one below the other.

    Args:
        logger: From ``make_logger``. Only W&B has tables; the answers are in ``answers.jsonl`` in any case.
        answers: Any number, of any arms.
        limit: The largest number of rows; the answers to later questions are left out.
    """
    run = _wandb_run(logger)
    if run is None:
        return
    import wandb

    place = {question: i for i, question in enumerate(dict.fromkeys(a.question_id for a in answers))}
    rows = [asdict(a) for a in sorted(answers, key=lambda a: place[a.question_id])[:limit]]
    data = [[", ".join(row[c]) if c == "retrieved" else row[c] for c in ANSWER_COLUMNS] for row in rows]
    run.log({"answers": wandb.Table(columns=list(ANSWER_COLUMNS), data=data)})


def _wandb_run(logger: RunLogger) -> Any:
    """Return the run behind a W&B logger, or None for other loggers and on further ranks."""
    if not logger:
        return None
    from pytorch_lightning.loggers import WandbLogger

    return logger.experiment if isinstance(logger, WandbLogger) and _first_rank() else None


def _first_rank() -> bool:
    from pytorch_lightning.utilities import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0
