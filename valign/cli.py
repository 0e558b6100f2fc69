"""The wrapper around Hydra that every entry point uses: a user's mistake is one line, a bug keeps its traceback."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from valign import config
from valign.core.errors import INTERRUPTED, Interrupted, ValignError
from valign.distributed import place
from valign.schema import SCHEMAS, key_type, keys

USER_ERROR = 2
EXTRAS = {"hydra/sweeper=optuna": "sweep", "hydra/launcher=submitit_slurm": "slurm"}
TYPES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def config_folder() -> Path:
    """Return ``conf/``: beside the package in a checkout, inside it where valign was installed from a wheel."""
    package = Path(__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def main_with(task: Callable[[DictConfig], object], config_name: str = "config") -> None:
    """Run an entry point's task with the config that the command line asks for.

    Exits with one line on stderr: with code 2 after a mistake in the config or a ``ValignError``, with 3 where a limit
    on the teacher's tokens or cost is reached, and with 130 when it is interrupted. Any other exception is a bug and
    keeps its traceback. In a multirun the other jobs still run, except after a signal.

    Args:
        task: Receives the composed and checked config.
        config_name: File in ``conf/`` without its suffix, which has a schema of the same name.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands exceptions on instead of printing them
    config.register()
    job = Job(task)
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
        if type(error).__module__.partition(".")[0] != "submitit":
            raise
        if isinstance(error.__cause__, subprocess.CalledProcessError):
            _stop(f"the jobs were not submitted: {_first_line(error)}; see hydra.launcher's settings.")
        _stop(f"a job of the multirun ended without a result: {_first_line(error)}; its log is in the runs' .submitit.")
    if job.exit_code:
        sys.exit(job.exit_code)


def show(text: str) -> None:
    """Print a text; a reader that closes the pipe, such as ``head``, has seen enough."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _stop_printing()


def _stop_printing() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Job:
    """A task as Hydra calls it, once for each job, and how that went.

    Attributes:
        started: Whether a job began, so that what goes wrong is no longer the command line's fault.
        exit_code: 0, or that of the first job that ended with a ``ValignError``, which has been printed.
        bugs: The other exceptions that jobs raised.
    """

    def __init__(self, task: Callable[[DictConfig], object]) -> None:
        """Remember the task and the process, which a launcher for clusters leaves."""
        self.task = task
        self.process = os.getpid()
        self.started = False
        self.exit_code = 0
        self.bugs: list[Exception] = []

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Come to life in a job on a cluster, where nothing has registered the resolvers of ``conf/`` yet."""
        self.__dict__.update(state)
        os.environ["HYDRA_FULL_ERROR"] = "1"
        config.register()

    def run(self, cfg: DictConfig) -> object:
        """Check the config and run the task; what it returns is what a sweeper lowers, None where it failed."""
        try:
            self.started = True
            _check(cfg)
            return self.task(cfg)
        except ValignError as error:
            sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
            text = f"{error} [job: {' '.join(config.task_overrides())}]" if sweeping else str(error)
            if os.getpid() != self.process:
                raise ValignError(text) from None
            _say(text)
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
        config.check(cfg)
    except OmegaConfBaseException as error:
        raise explain(error, HydraConfig.get().job.config_name or "config") from None


def _say(message: str) -> None:
    if not place.speaks():
        return
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)


def _stop(message: str, code: int = USER_ERROR) -> NoReturn:
    _say(message)
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


def explain(error: Exception, config_name: str = "config") -> ValignError:
    """Turn an exception of Hydra, OmegaConf or YAML into one line that names the key and the remedy.

    Args:
        error: What composing the config raised.
        config_name: The config that was composed, whose keys are suggested.
    """
    schema = SCHEMAS[config_name] if config_name in SCHEMAS else SCHEMAS["config"]
    if isinstance(error, OverrideParseException):
        return _bad_syntax(error)
    if isinstance(error, MissingConfigException):
        return _unknown_option(error)
    if isinstance(error, yaml.YAMLError):
        return ValignError(f"not YAML: {error}; mend the file.")
    if found := re.search(r"Missing mandatory value: ([\w.]+)", str(error)):
        return config.missing(found[1])
    if isinstance(error, InterpolationResolutionError):
        return ValignError(
            f"{error.full_key}: cannot resolve its value ({_first_line(error)}); check what ${{...}} names."
        )
    return _bad_key_or_value(error, schema)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _bad_syntax(error: OverrideParseException) -> ValignError:
    if "=" not in error.override and Path(error.override).suffix:
        return ValignError(
            f"'{error.override}' is not a setting; a document is given as document=file document.path={error.override}."
        )
    if "=" not in error.override:
        return ValignError(f"'{error.override}' is not a setting; write key=value, for example recipe=sft.")
    key, _, value = error.override.partition("=")
    return ValignError(
        f"cannot read '{error.override}'; brackets, quotes and commas have to match "
        f"(text with special characters goes in quotes: \"{key}='{value or 'text'}'\")."
    )


def _unknown_option(error: MissingConfigException) -> ValignError:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return ValignError(f"{_first_line(error)}; check the name of the config and its folder.")
    options = [option for option in error.options or [] if not option.startswith("_")]
    plus = "+" if group == "experiment" else ""
    if not options:
        return ValignError(f"{plus}{group}={name}: there is no group '{group}' with options; --help lists the groups.")
    if extra := EXTRAS.get(f"{group}={name}"):
        return ValignError(f"{group}={name} needs the extra {extra}: pip install -e '.[{extra}]', in a checkout.")
    near = config.nearest(name, options)
    return ValignError(f"{plus}{group}={name} is unknown{near}; choose from: {', '.join(options)}.")


def _bad_key_or_value(error: Exception, schema: type) -> ValignError:
    """Explain a composition error by what OmegaConf said about it: an unknown key, or a value of another type."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, OmegaConfBaseException):
        inner = inner.__cause__ or inner.__context__
    if inner is None:
        return _bad_choice(_first_line(error), str(error))
    file = re.match(r"In '([^']+)':", str(error))
    place = f"conf/{file[1]}.yaml: " if file else ""
    key = inner.full_key or ""
    kind = key_type(schema, key)
    if kind is None:
        known = [] if key.startswith("hydra.") else keys(schema)
        return ValignError(f"{place}{config.unknown_key(key, known)}")
    override = re.match(r"Error merging override \+*(.*)", str(error))
    given = re.search(r"[Vv]alue:? '?(.*?)'?(?: of type .*| is not a .*)?$", _first_line(inner))
    shown = override[1] if override else f"{key}={given[1]}" if given else key
    return ValignError(f"{place}{shown}: {key} has to be {_type_words(kind)}.")


def _type_words(kind: Any) -> str:
    """Say a key's type in words."""
    options = [option for option in get_args(kind) if option is not type(None)] or [kind]
    if type(None) in get_args(kind):
        return f"{_type_words(options[0])}, or null"
    if get_origin(kind) is list:
        return "a list, such as [a,b]"
    if get_origin(kind) is dict:
        return "a mapping, such as {key:value}"
    if dataclasses.is_dataclass(kind):
        return "the name of an option, or a mapping of its keys"
    return TYPES[kind.__name__]


def _bad_choice(first: str, text: str) -> ValignError:
    """Explain an error in the choice of a group's option that names no key of the config."""
    if found := re.search(r"append to your default list use (\S+)", text):
        return ValignError(f"no option of this group is chosen by default; write {found[1]} (with the plus sign).")
    if found := re.match(r"Multiple values for (\S+)\.", text):
        return ValignError(f"{found[1]} is chosen twice; write {found[1]}=... once and without a plus sign.")
    if found := re.match(r"Ambiguous value for argument '(.*)'", text):
        return ValignError(f"'{found[1]}' has several values; add -m to run each of them, or write a list: key=[a,b].")
    return ValignError(f"{first}; --help shows the groups and their options.")
