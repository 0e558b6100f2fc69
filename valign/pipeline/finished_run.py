"""What a run's folder says of it: read with care, since the folder may be a stranger's."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from valign.config.schema import STAGES
from valign.core.errors import ValignError, first_line
from valign.core.files import read_json
from valign.evaluation.arm_names import is_arm_name
from valign.pipeline.artifacts import Artifacts, pinned_by
from valign.pipeline.context import Context
from valign.pipeline.recipes import Arm
from valign.runs.layout import ARTIFACTS, CONFIG, RUN
from valign.teachers.settings import TeacherSettings

_NO_CONFIG = (
    *(TypeError, AttributeError, ValueError, OSError, RecursionError, AssertionError),
    *(yaml.YAMLError, OmegaConfBaseException),
)
LARGEST_CONFIG = 1 << 20  # bytes
DEEPEST_CONFIG = 100  # lists and mappings in each other
ASKED_ELSEWHERE = ("api", "batch", "vllm")
STARTED = "is a program that would be started"


def trained_run(folder: Path, is_trusted: bool = False) -> tuple[Context, Artifacts]:
    """Return what is known of a run that has trained, also where its answers are not there yet.

    Args:
        folder: The run's folder.
        is_trusted: Whether its config may run code.

    Raises:
        ValignError: The folder is not that of such a run, or is not trusted.
    """
    if not (folder / ARTIFACTS).is_file() or not (folder / CONFIG).is_file():
        raise ValignError(f"{folder} is not the folder of a run that has trained; give one such as runs/udhr/sft_dpo.")
    context = context_of_run(folder, is_trusted)
    return context, Artifacts(context.store, pinned_by({"artifacts": read_json(folder / ARTIFACTS)}))


def context_of_run(folder: Path, is_trusted: bool = False) -> Context:
    """Return what is known of a run, from the config in its folder.

    Args:
        folder: The run's folder.
        is_trusted: Whether code that comes with the model may be run because this config says so.

    Raises:
        ValignError: That is not the config of a run, it looks something up when it is read, such as an environment
            variable, or it would run code.
    """
    file = folder / CONFIG
    try:
        config = OmegaConf.load(io.StringIO(_plain_yaml(file)))
        looked_up = next(_lookups(OmegaConf.to_container(config, resolve=False)), None)
        if looked_up:
            raise ValignError(f"{file} has {looked_up}, which no run writes; a run's config holds plain values alone.")
        if not isinstance(config, DictConfig):
            raise TypeError("no keys")
        context = Context.of(config)
    except FileNotFoundError:
        raise ValignError(f"{file} is missing; give the folder of a finished run.") from None
    except _NO_CONFIG as error:
        raise ValignError(f"{file} is not the config of a run ({first_line(error)}); choose another run.") from None
    if context.settings.base_model.trust_remote_code and not is_trusted:
        raise untrusted(file, "base_model.trust_remote_code=true", "runs code that comes with its model")
    return context


def _plain_yaml(file: Path) -> str:
    """Return a run's config as text, if it is of the sort that runs write.

    Raises:
        ValignError: It is very large or nested very deep, or has references, by which a few lines can stand for any
            number of values.
        FileNotFoundError: There is none.
    """
    if file.exists() and not file.is_file():
        raise ValignError(f"{file} is no ordinary file; choose another run.")
    if file.stat().st_size > LARGEST_CONFIG:
        raise ValignError(
            f"{file} is larger than {LARGEST_CONFIG >> 10:,} KB, which no run writes; choose another run."
        )
    text = file.read_text(encoding="utf-8")
    depth = accumulate(1 if mark in "[{" else -1 for mark in re.findall(r"[][{}]", text))
    if max(depth, default=0) > DEEPEST_CONFIG:  # the parser's time grows with its square
        raise ValignError(f"{file} is nested too deep to be the config of a run; choose another run.")
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
        raise ValignError(f"{file} has a reference (*NAME), which no run writes; choose another run.")
    return text


def _lookups(value: Any) -> Iterator[str]:
    """Yield the values of a plain config that OmegaConf would replace when they are read."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lookups(key)
            yield from _lookups(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _lookups(inner)
    elif isinstance(value, str) and "${" in value:
        yield value


def require_known_servers(context: Context, folder: Path, is_engine_chosen: bool) -> None:
    """Refuse an evaluation that would ask servers, with keys, or start programs, that only the run's own config names.

    Args:
        context: What is known of the run.
        folder: Its folder.
        is_engine_chosen: Whether the command line says what computes the answers.

    Raises:
        ValignError: It would.
    """
    evaluation = context.settings.evaluation
    server = evaluation.server
    if server.base_urls and not is_engine_chosen:
        said = f"evaluation.server.base_urls=[{','.join(server.base_urls)}]"
        raise untrusted(folder / CONFIG, said, f"is sent the questions and the key in {server.api_key_env}")
    if evaluation.engine == "vllm" and not is_engine_chosen:
        raise untrusted(folder / CONFIG, f"evaluation.vllm.command={evaluation.vllm.command}", STARTED)
    for key, judge in (("judge_model", evaluation.judge_model), ("policy_judge", evaluation.policy_judge)):
        if judge is not None and judge.kind in ASKED_ELSEWHERE:
            raise untrusted(folder / CONFIG, *_asked(f"evaluation.{key}", judge))


def _asked(key: str, judge: TeacherSettings) -> tuple[str, str]:
    """Return the setting of a judge that must not be a stranger's, and what it does."""
    if judge.kind == "api":
        does = f"is sent the answers and the key in {judge.api_key_env}"
        return f"{key}.base_urls=[{','.join(judge.base_urls)}]", does
    if judge.kind == "vllm":
        return f"{key}.vllm.command={judge.vllm.command}", STARTED
    return f"{key}.requests={judge.requests}", "is written to"


def untrusted(file: Path, what: str, does: str) -> ValignError:
    """Return the error for what a stranger's config must not decide."""
    return ValignError(f"{file} has {what}, which {does}; where the run is your own, or you trust it, add trust=true.")


def arms_of_run(folder: Path) -> tuple[dict[str, Any], list[Arm]]:
    """Read what a finished run notes of itself, and its arms.

    Raises:
        ValignError: The folder's ``run.json`` is not that of a run.
    """
    details = read_json(folder / RUN)
    try:
        arms = [Arm(a["name"], tuple(a["stages"]), bool(a["retrieval"]), a.get("retriever")) for a in details["arms"]]
        if not isinstance(details["artifacts"], dict) or not isinstance(details["state"], str):
            raise TypeError("artifacts or state")
        for arm in arms:
            if not is_arm_name(arm.name) or not set(arm.stages) <= set(STAGES):
                raise ValueError(f"an arm {arm.name!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValignError(f"{folder / RUN} is not that of a run ({error}); choose another run.") from None
    return details, arms
