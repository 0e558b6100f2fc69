"""The wrapper around Hydra that every entry point uses: a user's mistake is one line, a bug keeps its traceback."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from valign.cli.explain import explain
from valign.config import checks, run_identity
from valign.config.schema import SCHEMAS, keys
from valign.core.disk import describe_disk_errors, disk_error
from valign.core.errors import INTERRUPTED, Interrupted, Pending, ValignError, first_line
from valign.core.text import hide_logins
from valign.distributed import place

USER_ERROR = 2


def config_folder() -> Path:
    """Return ``conf/``: beside the package in a checkout, inside it where valign was installed from a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def main_with(task: Callable[[DictConfig], object], config_name: str = "config") -> None:
    """Run an entry point's task with the config that the command line asks for.

    Exits with one line on stderr: with code 2 after a mistake in the config or a ``ValignError``, with 3 where a limit
    on the teacher's tokens or cost is reached, with 4 where a batch has completions still to bring, and with 130 when
    it is interrupted. Any other exception is a bug and
    keeps its traceback. In a multirun the other jobs still run, except after a signal.

    Args:
        task: Receives the composed and checked config.
        config_name: File in ``conf/`` without its suffix, which has a schema of the same name.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands exceptions on instead of printing them
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # bm25s starts JAX where it is installed, which takes 75% of a GPU
    show_any_character()
    keep_from_strangers()
    run_identity.register_config()
    job = HydraJob(task)
    try:
        _check_options(sys.argv[1:], config_name)
        hydra.main(version_base="1.3", config_path=str(config_folder()), config_name=config_name)(job.run)()
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on from what is complete.", INTERRUPTED)
    except (ValignError, HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        if error in job.bugs or (job.started and isinstance(error, ValueError)):
            raise
        _stop(str(error if isinstance(error, ValignError) else explain(error, config_name)))
    except BrokenPipeError:
        if job.started:
            raise
        _stop_printing()
    except Exception as error:
        if error not in job.bugs and (line := disk_error(error)):  # of Hydra's own folders
            _stop(str(line))
        if type(error).__module__.partition(".")[0] != "submitit":
            raise
        if isinstance(error.__cause__, subprocess.CalledProcessError):
            _stop(f"the jobs were not submitted: {first_line(error)}; see hydra.launcher's settings.")
        _stop(f"a job of the multirun ended without a result: {first_line(error)}; its log is in the runs' .submitit.")
    if job.exit_code:
        sys.exit(job.exit_code)


def show_any_character() -> None:
    """Let a terminal or file whose encoding lacks a character have an escape in its place, and no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def keep_from_strangers() -> None:
    """Let nobody but the user and the group write to files that this process and its children make."""
    os.umask(os.umask(0) | stat.S_IWOTH)


def print_text(text: str) -> None:
    """Print a text on stdout; a reader that closes the pipe early, such as ``head``, is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _stop_printing()


def _stop_printing() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class HydraJob:
    """A task as Hydra calls it, once for each job, and how that went.

    Attributes:
        started: Whether a job began; an error before that is the command line's.
        exit_code: 0, or that of the first job that ended with a ``ValignError``, which has been printed.
        bugs: The other exceptions that jobs raised.
    """

    def __init__(self, task: Callable[[DictConfig], object]) -> None:
        """Keep the task, and the process, by which a job that a launcher runs on a cluster is told."""
        self.task = task
        self.process = os.getpid()
        self.started = False
        self.exit_code = 0
        self.bugs: list[Exception] = []

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle in a job on a cluster, where nothing has registered the resolvers of ``conf/`` yet."""
        self.__dict__.update(state)
        os.environ["HYDRA_FULL_ERROR"] = "1"
        run_identity.register_config()

    def run(self, cfg: DictConfig) -> object:
        """Check the config and run the task.

        Args:
            cfg: The composed config.

        Returns:
            What the task returns, the value that a sweeper minimises; None where it failed.
        """
        try:
            self.started = True
            with describe_disk_errors():
                _check(cfg)
                return self.task(cfg)
        except ValignError as error:
            sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
            job = hide_logins(" ".join(run_identity.task_overrides()))
            text = f"{error} [job: {job}]" if sweeping else str(error)
            if os.getpid() != self.process:
                raise ValignError(text) from None
            if isinstance(error, Pending):
                _print_pending(error)
            else:
                print_error(text)
            self.exit_code = self.exit_code or error.exit_code
            if isinstance(error, Interrupted):  # the signal was for the whole multirun
                sys.exit(error.exit_code)
            return None
        except Exception as error:
            self.bugs.append(error)
            raise


def _check(cfg: DictConfig) -> None:
    """Check the config; a value that cannot be resolved is the user's mistake, too."""
    try:
        checks.check_config(cfg)
    except OmegaConfBaseException as error:
        raise explain(error, HydraConfig.get().job.config_name or "config") from None


def _print_pending(error: Pending) -> None:
    """Print what a batch has still to bring and what to do next, which is no error, in several lines on stdout."""
    if place.prints_errors():
        print_text(error.lines)


def print_error(message: str) -> None:
    """Print an error in one line on stderr; where all processes of a run have it, one of them does."""
    if not place.prints_errors():
        return
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)


def _stop(message: str, code: int = USER_ERROR) -> NoReturn:
    print_error(message)
    sys.exit(code)


def _check_options(arguments: list[str], config_name: str) -> None:
    """Refuse options that Hydra does not have; where a key was meant, name it.

    Raises:
        ValignError: There is one.
    """
    parser = get_args_parser()
    parser.error = _refuse_option  # type: ignore[method-assign]
    unknown = parser.parse_known_args(arguments)[1]
    if unknown and not unknown[0].startswith("-"):
        raise ValignError(
            f"{unknown[0]} stands behind an option; put options such as -m before or behind all settings."
        )
    if unknown:
        name = unknown[0].lstrip("-").partition("=")[0]
        known = [key for key in keys(SCHEMAS[config_name]) if name in (key, key.rpartition(".")[2])]
        meant = " or ".join(f"{key}=value" for key in known)
        raise ValignError(f"unknown option {unknown[0]}; settings are written without dashes: {meant or 'key=value'}.")


def _refuse_option(message: str) -> NoReturn:
    raise ValignError(f"{message}; --help shows what there is.")
