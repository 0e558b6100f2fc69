"""What names a run and what decides its result."""

from __future__ import annotations

import copy
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from valign.config.schema import SCHEMAS
from valign.teachers.urls import strip_login

# Top-level keys that are no part of a run's name.
NOT_IN_RUN_NAME = (
    "artifacts",
    "dry_run",
    "experiment",
    "experiment_name",
    "hydra",
    "logger",
    "recipe",
    "run_dir",
    "run_name",
    "runs",
)
# Top-level keys that do not decide a run's result.
NOT_RESULTS = ("runs", "artifacts", "run_dir", "run_name", "logger", "dry_run")
# A key that says what has to be so before a run, and not what it does.
REQUIRED = "synthesis.require_review"
# Keys of a teacher, or of a server of the arms, that say how it is called and not what it answers.
CALL_KEYS = (
    "base_urls",
    "api_key_env",
    "concurrency",
    "timeout",
    "max_retries",
    "thinking_tokens",
    "requests",
    "requests_per_file",
    "results",
    "batch_discount",
    "price_in",
    "price_out",
    "max_cost",
    "max_tokens",
    "share",
    "vllm.command",
    "vllm.start_seconds",
)
# The groups that have such keys.
CALLED = (
    "teacher",
    "synthesis.question_teacher",
    "evaluation.judge_model",
    "evaluation.policy_judge",
    "evaluation.server",
)
VLLM_CALL_KEYS = ("evaluation.vllm.command", "evaluation.vllm.start_seconds")
SERVED_MODELS = "evaluation.server.models"


def register_config() -> None:
    """Make the schemas and the resolvers of ``conf/`` known to Hydra; doing it again changes nothing."""
    for name, schema in SCHEMAS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=schema)
    OmegaConf.register_new_resolver("valign.run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("valign.by_prompts", by_prompts, replace=True)
    OmegaConf.register_new_resolver("valign.stem", lambda path: _slug(Path(path).stem.lower()), replace=True)


def by_prompts(prompts: str, small: float, large: float) -> float:
    """Return a setting's default by ``synthesis.prompts``; another value, which is refused later, counts as small."""
    return large if prompts == "large" else small


def run_name(recipe: str, experiment: str, document: str) -> str:
    """Name a run by its recipe and by what else was set on the command line, in alphabetical order.

    Args:
        recipe: The recipe's name, the first part.
        experiment: The experiment's name, which is the folder that the run's folder lies in.
        document: The document's name; where the experiment has it too, the choice of document is not repeated.

    Returns:
        For example ``sft_dpo+seed-1+sft.epochs-3``; no character in it has to be quoted for Hydra or a shell.
    """
    parts = []
    for override in OverridesParser.create().parse_overrides(task_overrides()):
        key = override.key_or_group
        group = key.partition(".")[0]
        unnamed = group in NOT_IN_RUN_NAME or (key == "document" and experiment == document)
        unnamed = unnamed or key.startswith((SERVED_MODELS, REQUIRED))
        unnamed = (
            unnamed or key in VLLM_CALL_KEYS or any(key == f"{node}.{name}" for node in CALLED for name in CALL_KEYS)
        )
        if not unnamed:
            parts.append(f"{'no-' if override.is_delete() else ''}{key}-{_slug(override.get_value_element_as_str())}")
    name = "+".join([recipe, *sorted(parts)])
    return name if len(name) <= 200 else f"{name[:180]}-{_digest(name)}"


def task_overrides() -> list[str]:
    """Return the settings of the command line (of this job in a multirun), without Hydra's own."""
    if not HydraConfig.initialized():
        return []
    return cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))


def strip_logins(cfg: DictConfig) -> DictConfig:
    """Return a resolved copy of a config that may be written to files, without the logins in the URLs of servers."""
    copy = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(copy, DictConfig)
    for key in CALLED:
        teacher = OmegaConf.select(copy, key)
        if teacher is not None and teacher.get("base_urls"):
            teacher.base_urls = [strip_login(url) for url in teacher.base_urls]
    return copy


def _slug(text: str) -> str:
    """Keep letters, digits, ``.``, ``_`` and ``-`` of a text; a digest tells one that has more, or is long, apart."""
    if re.fullmatch(r"[\w.-]{1,100}", text, re.ASCII) and text.strip("."):
        return text
    words = re.sub(r"[^\w.-]+", "-", text.rpartition("/")[2], flags=re.ASCII).strip("-")
    words = words if words.strip(".") else ""  # dots alone would name another folder
    return f"{words[:40]}-{_digest(text)}".lstrip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:6]


def _drop(settings: dict[str, Any], key: str) -> None:
    """Delete a dotted key, where it is there."""
    *groups, name = key.split(".")
    for group in groups:
        settings = settings.get(group) or {}
    settings.pop(name, None)


def result_settings(noted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that decide a run's result: not where it lies, how it is logged or how servers are asked.

    Args:
        noted: The whole config as plain values.
    """
    decides: dict[str, Any] = copy.deepcopy({key: value for key, value in noted.items() if key not in NOT_RESULTS})
    decides["synthesis"].pop(REQUIRED.partition(".")[2], None)
    decides["base_model"].pop("recommended", None)  # what is taken of it stands in sft and dpo
    for stage in ("sft", "dpo"):
        decides[stage].pop("batch_tokens", None)  # a step's examples, and so its loss, are the same
    evaluation = decides["evaluation"]
    is_served = bool(evaluation["server"]["base_urls"])
    judges = (evaluation["judge_model"] or {}, evaluation["policy_judge"] or {})
    for settings in (decides["teacher"], *judges, evaluation["server"], evaluation):
        for key in CALL_KEYS:
            _drop(settings, key)
    evaluation["server"]["is_asked"] = is_served
    return decides
