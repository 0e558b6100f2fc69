"""From a composed config to the plain arguments that the library takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from valign.core.settings import make_settings
from valign.synthesis.filters import Limits
from valign.synthesis.settings import Settings
from valign.teachers.factory import make_teacher
from valign.teachers.protocol import Teacher
from valign.teachers.settings import TeacherSettings

LIMITS = tuple(limit.name for limit in fields(Limits))


def plain(node: Any) -> dict[str, Any]:
    """Return a config node as plain dictionaries and lists."""
    resolved: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return resolved


def teacher_of(config: DictConfig, group: str) -> Teacher:
    """Return the teacher of a config group, neither loaded nor asked yet."""
    return make_teacher(make_settings(TeacherSettings, plain(config)), group)


def settings_of(synthesis: Mapping[str, Any]) -> Settings:
    """Return the settings of synthesis among the keys of ``synthesis``; limits and teachers are no part of them."""
    names = {field.name for field in fields(Settings)}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in synthesis.items() if k in names}
    return Settings(**values)


def limits_of(synthesis: Mapping[str, Any]) -> Limits:
    """Return the filters' thresholds among the keys of ``synthesis``."""
    return Limits(**{key: synthesis[key] for key in LIMITS})
