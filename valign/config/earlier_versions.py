"""The configs of runs of earlier versions, read with today's keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from valign.config.messages import RENAMED
from valign.config.schema import SCHEMAS
from valign.core.settings import type_hints, without_none

BEFORE: dict[str, Any] = {
    "synthesis.cite": False,
    "synthesis.templates": None,
    "synthesis.question_teacher": None,
    "synthesis.hold_out_clauses": [],
    "synthesis.instructions.kinds.question": 1.0,
    "synthesis.instructions.examples_per_fact": 0,
    "synthesis.preferences.claim_pairs_per_passage": 0,
    "synthesis.filters.max_evaluation": 1.0,
    "sft.validation": 0.0,
    "sft.replay": 0.0,
    "sft.replay_file": None,
    "dpo.validation": 0.0,
    "dpo.loss": "sigmoid",
    "dpo.simpo_gamma": None,
    "trainer.padding_free": False,
    "evaluation.tax.measure": False,
    "evaluation.tax.max_new_tokens": 24,
    "evaluation.tax.max_nll_increase": 0.1,
    "evaluation.tax.max_accuracy_drop": 0.1,
}


def today(config: DictConfig) -> DictConfig:
    """Return the config of a run with today's keys, whatever version wrote it.

    Values are kept. A key that did not exist yet has the value under which the run was made: what a newer version can
    do was not done. Keys that no longer exist are left out.

    Args:
        config: The ``config.yaml`` of a run's folder, or a composed config, which is returned as it is.
    """
    if OmegaConf.get_type(config) is SCHEMAS["config"]:
        return config
    values = with_new_names(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
    rejected = values.get("synthesis", {}).get("preferences", {}).get("rejected")
    if isinstance(rejected, list):  # a list of kinds was the same as equal shares
        values["synthesis"]["preferences"]["rejected"] = dict.fromkeys(rejected, 1.0)
    return OmegaConf.create(_filled(SCHEMAS["config"], values, ""))


def with_new_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plain config with each renamed key under its new name.

    >>> with_new_names({"seed": 1, "synthesis": {"max_rank": 2, "cite": False}})
    {'seed': 1, 'synthesis': {'cite': False, 'filters': {'max_rank': 2}}}
    """
    found = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for old, new in RENAMED.items():
        above, name = _group(found, old)
        if above is None or name not in above:
            continue
        value = above.pop(name)
        above, name = _group(found, new, make=True)
        assert above is not None
        above.setdefault(name, value)
    return found


def _group(values: dict[str, Any], key: str, make: bool = False) -> tuple[dict[str, Any] | None, str]:
    """Return the mapping that a dotted key lies in, None where there is none, and the key's last part."""
    *groups, name = key.split(".")
    for group in groups:
        inner = values.setdefault(group, {}) if make else values.get(group)
        if not isinstance(inner, dict):
            return None, name
        values = inner
    return values, name


def _filled(schema: Any, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return a group's values by today's keys, those that are missing as they were before the key existed."""
    found: dict[str, Any] = {}
    for each in dataclasses.fields(schema):
        hint, key = type_hints(schema)[each.name], f"{prefix}{each.name}"
        kind, value = without_none(hint), values.get(each.name, MISSING)
        if dataclasses.is_dataclass(kind) and (isinstance(value, Mapping) or kind is hint):
            found[each.name] = _filled(kind, value if isinstance(value, Mapping) else {}, f"{key}.")
            continue
        if value == MISSING:
            value = BEFORE[key] if key in BEFORE else _default(each)
        if value != MISSING:
            found[each.name] = value
    return found


def _default(each: dataclasses.Field[Any]) -> Any:
    return each.default_factory() if callable(each.default_factory) else each.default
