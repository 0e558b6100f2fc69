"""Curves, scores and answers in Weights & Biases or in CSV files."""

from __future__ import annotations

import logging
import netrc
import os
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from valign.core.errors import ValignError
from valign.core.records import Answer
from valign.core.store import digest
from valign.runs.summaries import flat_comparison, flat_scores, mask_secrets

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger, WandbLogger
    from wandb import Run

    RunLogger = Logger | Literal[False]

log = logging.getLogger(__name__)

SECONDS_TO_START = 30.0
PUBLIC_HOST = "api.wandb.ai"
MODES = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}
COLUMNS = ("question_id", "clause", "arm", "question", "answer", "reference", "verdict", "retrieved", "finished")


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
    """Make the logger of a run; ``tracked`` closes it.

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
    """Start the run, on the first rank, and wrap it for Lightning; ``fall_back`` takes offline for a failed online."""
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
    """Start a run with a quiet terminal, in which steps are the trainer's, and say where it can be seen."""
    import wandb

    os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")  # else it traces, or advertises tracing, the teacher's calls
    with _deaf_children():
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
                init_timeout=SECONDS_TO_START,
            ),
        )
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    if mode == "online":
        print(f"W&B: {run.url}")
    return run


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Start W&B's process without an ear for the signals before a time limit, which SLURM sends to all of a job.

    They would end it, and with it the run. SIGTERM ends it all the same; see ``lasting``.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def lasting(what: str, instead: str) -> Iterator[None]:
    """Let W&B's own process be gone, as after a SIGTERM to all of a job's processes, and warn of what it did not get.

    Args:
        what: What is logged meanwhile.
        instead: What happens without the logger.
    """
    try:
        yield
    except Exception as error:
        from wandb.sdk.mailbox import HandleAbandonedError  # here, since it takes a second and most runs end without

        if not isinstance(error, ConnectionError | HandleAbandonedError):
            raise
        log.warning("%s: the logger is gone (%s); %s", what, error, instead)


@contextmanager
def tracked(logger: RunLogger) -> Iterator[RunLogger]:
    """Hand on a logger and close it at the end, also after an error, so that the next run gets one of its own.

    What W&B stages for a later upload lies in the run's folder meanwhile, not in the home folder.
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
    """End a W&B run; where a signal has ended W&B's own process before, there is nothing left to end."""
    import wandb

    with lasting("W&B", "what it lacks is in the run's folder"):
        run.finish(exit_code=code)
        return
    with suppress(ConnectionError, SystemExit):  # the latter for the other process's exit code
        wandb.teardown()


def wandb_mode(mode: str) -> str:
    """Return ``online``, ``offline`` or ``disabled`` for a mode, ``auto`` included, without using the network.

    Raises:
        ValignError: ``WANDB_MODE`` has an unknown value, or the mode is online and nobody is logged in.
    """
    asked = mode
    if mode == "auto":
        asked = os.environ.get("WANDB_MODE", "") or ("online" if logged_in() else "offline")
    if asked not in MODES:
        raise ValignError(f"W&B's mode {asked!r} is unknown; set WANDB_MODE to online, offline or disabled.")
    if MODES[asked] == "online" and not logged_in():
        raise ValignError("W&B is to be online and nobody is logged in: run 'wandb login', or add logger.mode=offline.")
    return MODES[asked]


def logged_in() -> bool:
    """Tell whether W&B has a key: in the environment or in the user's netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    given = os.environ.get("NETRC")
    for path in [Path(given).expanduser()] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        if path.is_file():
            try:
                entries = netrc.netrc(path)
            except (netrc.NetrcParseError, OSError) as error:
                warnings.warn(f"{path} cannot be read ({error}); W&B counts as not logged in.", stacklevel=2)
                return False
            return any(entries.authenticators(host) for host in _hosts())
    return False


def _hosts() -> list[str]:
    """Return the names under which a key for the W&B server in use may be kept; its public server has two."""
    import wandb

    url = wandb.setup().settings.base_url
    return [urlsplit(url).netloc, *([PUBLIC_HOST] if url == wandb.Settings().base_url else [])]


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
        logger: What ``tracked`` gave.
        scores: One arm's scores in the form of ``scores.json``.
    """
    run = _wandb_run(logger)
    if run is not None:
        run.summary.update(flat_scores(scores))


def log_comparison(logger: RunLogger, summary: Mapping[str, Any]) -> None:
    """Put what a comparison found beyond the arms' scores into the W&B run's summary; see ``flat_comparison``.

    Args:
        logger: What ``tracked`` gave.
        summary: In the form of ``comparison.json``.
    """
    run = _wandb_run(logger)
    if run is not None:
        run.summary.update(flat_comparison(summary))


def log_answers(logger: RunLogger, answers: Sequence[Answer], limit: int = 500) -> None:
    """Log answers as a W&B table, the arms' answers to a question one below the other.

    Args:
        logger: What ``tracked`` gave; other loggers have no tables, their answers are in ``answers.jsonl``.
        answers: Any number, of any arms.
        limit: Most rows; further questions are left out.
    """
    run = _wandb_run(logger)
    if run is None:
        return
    import wandb

    place = {question: i for i, question in enumerate(dict.fromkeys(a.question_id for a in answers))}
    rows = [asdict(a) for a in sorted(answers, key=lambda a: place[a.question_id])[:limit]]
    data = [[", ".join(row[c]) if c == "retrieved" else row[c] for c in COLUMNS] for row in rows]
    run.log({"answers": wandb.Table(columns=list(COLUMNS), data=data)})


def _wandb_run(logger: RunLogger) -> Any:
    """Return the run behind a W&B logger, or None for other loggers and on further ranks."""
    if not logger:
        return None
    from pytorch_lightning.loggers import WandbLogger

    return logger.experiment if isinstance(logger, WandbLogger) and _first_rank() else None


def _first_rank() -> bool:
    from pytorch_lightning.utilities import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0
