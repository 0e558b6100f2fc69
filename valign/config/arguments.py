"""From a composed config to the plain arguments that the library takes."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from valign.core.settings import make_settings
from valign.synthesis.settings import SynthesisSettings
from valign.teachers.factory import make_teacher
from valign.teachers.protocol import Teacher
from valign.teachers.settings import TeacherSettings


def plain(node: Any) -> dict[str, Any]:
    """Return a config node as plain dictionaries and lists."""
    resolved: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return resolved


def build_teacher(config: DictConfig, group: str) -> Teacher:
    """Return the teacher of a config group, neither loaded nor asked yet.

    Args:
        config: The group's node.
        group: Its name, such as ``teacher``, for messages.
    """
    return make_teacher(make_settings(TeacherSettings, plain(config)), group)


def synthesis_settings(config: DictConfig) -> SynthesisSettings:
    """Return the settings of the synthesis; the teacher of the evaluation questions is no part of them.

    Args:
        config: The node ``synthesis``.
    """
    values = plain(config)
    values.pop("question_teacher", None)
    return make_settings(SynthesisSettings, values)
