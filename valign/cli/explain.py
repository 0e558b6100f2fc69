"""Errors of Hydra, OmegaConf and YAML as one line that names the key and the remedy."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from valign.config import messages
from valign.config.schema import SCHEMAS, key_type, keys
from valign.core.errors import ValignError, first_line
from valign.core.text import typed

EXTRAS = {"hydra/sweeper=optuna": "sweep", "hydra/launcher=submitit_slurm": "slurm"}
TYPES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


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
        return messages.missing(found[1])
    if isinstance(error, InterpolationResolutionError):
        return ValignError(
            f"{error.full_key}: cannot resolve its value ({first_line(error)}); check what ${{...}} names."
        )
    return _bad_key_or_value(error, schema)


def _path_with_spaces(part: str) -> tuple[str, str] | None:
    """Return key and whole of a path with spaces, which the shell cut into arguments, one of them this; else None."""
    given = sys.argv[1:]
    at = given.index(part) if part in given and "=" not in part else 0
    start = next((i for i in range(at - 1, -1, -1) if "=" in given[i]), None)
    if start is None:
        return None
    end = next((i for i in range(at, len(given)) if "=" in given[i]), len(given))
    key, _, first = given[start].partition("=")
    whole = " ".join([first, *given[start + 1 : end]])
    return (key, whole) if Path(whole).expanduser().exists() else None


def _bad_syntax(error: OverrideParseException) -> ValignError:
    if found := _path_with_spaces(error.override):
        return ValignError(f"'{found[1]}' has a space in it; put it in quotes: {typed(*found)}")
    if "=" not in error.override and Path(error.override).suffix:
        return ValignError(
            f"'{error.override}' is not a setting; a document is given as document=file "
            f"{typed('document.path', error.override)}"
        )
    if "=" not in error.override:
        return ValignError(f"'{error.override}' is not a setting; write key=value, for example recipe=sft.")
    key, _, value = error.override.partition("=")
    return ValignError(
        f"cannot read '{error.override}'; brackets, quotes and commas have to match. "
        f"Where that is text, write: {typed(key, value or 'text')}"
    )


def _unknown_option(error: MissingConfigException) -> ValignError:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return ValignError(f"{first_line(error)}; check the name of the config and its folder.")
    options = [option for option in error.options or [] if not option.startswith("_")]
    plus = "+" if group == "experiment" else ""
    if not options:
        return ValignError(f"{plus}{group}={name}: there is no group '{group}' with options; --help lists the groups.")
    if extra := EXTRAS.get(f"{group}={name}"):
        return ValignError(f"{group}={name} needs the extra {extra}: pip install -e '.[{extra}]', in a checkout.")
    near = messages.did_you_mean(name, options)
    return ValignError(f"{plus}{group}={name} is unknown{near}; choose from: {', '.join(options)}.")


def _bad_key_or_value(error: Exception, schema: type) -> ValignError:
    """Explain a composition error by what OmegaConf said about it: an unknown key, or a value of another type."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, OmegaConfBaseException):
        inner = inner.__cause__ or inner.__context__
    if inner is None:
        return _bad_choice(first_line(error), str(error), schema)
    file = re.match(r"In '([^']+)':", str(error))
    place = f"conf/{file[1]}.yaml: " if file else ""
    override = re.match(r"Error merging override \+*(.*)", str(error))
    key = inner.full_key or ""
    kind = key_type(schema, key)
    if kind is None:
        known = [] if key.startswith("hydra.") else keys(schema)
        if appended := re.search(r"To append to your config use \+(.*?)=(.*)", str(error)):
            return ValignError(messages.unknown_key(appended[1], known, appended[2]))
        return ValignError(f"{place}{messages.unknown_key(key, known)}")
    given = re.search(r"[Vv]alue:? '?(.*?)'?(?: of type .*| is not a .*)?$", first_line(inner))
    shown = override[1] if override else f"{key}={given[1]}" if given else key
    return ValignError(f"{place}{shown}: {key} has to be {_type_words(kind)}.")


def _type_words(kind: Any) -> str:
    """Return a key's type in words."""
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


def _bad_choice(first: str, text: str, schema: type) -> ValignError:
    """Explain an error in the choice of a group's option that names no key of the config."""
    if found := re.search(r"append to your default list use (\S+)", text):
        return ValignError(f"no option of this group is chosen by default; write {found[1]} (with the plus sign).")
    if found := re.match(r"Multiple values for (\S+)\.", text):
        return ValignError(f"{found[1]} is chosen twice; write {found[1]}=... once and without a plus sign.")
    if found := re.match(r"Could not delete from config\. '(.*)' does not exist", text):
        return ValignError(messages.unknown_key(found[1], keys(schema)))
    if found := re.match(r"Ambiguous value for argument '(.*)'", text):
        return ValignError(f"'{found[1]}' has several values; add -m to run each of them, or write a list: key=[a,b].")
    return ValignError(f"{first}; --help shows the groups and their options.")
