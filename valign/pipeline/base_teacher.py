"""The base model where it is asked before it is trained, and the vLLM that serves it with what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from valign.config.schema import RunSettings
from valign.distributed.devices import device_of
from valign.evaluation.served_arms import ENGINE, ServedArms, ServedBase
from valign.models.precision import resolve_precision
from valign.serving.settings import VllmSettings
from valign.teachers.local import LocalTeacher
from valign.teachers.protocol import Teacher


def is_base_teacher(settings: RunSettings) -> bool:
    """Tell whether the base model is its own teacher."""
    teacher = settings.teacher
    return teacher.kind in ("local", "vllm") and teacher.model == settings.base_model.model


def make_base_teacher(
    settings: RunSettings, path: Path | str, id: str, logs: Path, served: ServedArms | None
) -> Teacher:
    """Return the base model as a teacher: behind vLLM where a vLLM answers or teaches, else in this process.

    A teacher's vLLM leaves no room on the device for a model in this process.

    Args:
        settings: Of the run.
        path: The base model's folder, or its id on the hub.
        id: Its name with the version of its weights.
        logs: The folder of servers' logs.
        served: The arms behind vLLM; None where they answer elsewhere.
    """
    base, teacher = settings.base_model, settings.teacher
    if served is None and teacher.kind == "vllm":
        served = _serve(settings, path, logs, teacher.vllm, "teacher.vllm", "base")
    if served is not None:
        return served.model((), f"{id} (vllm)")
    tokens, accelerator = settings.evaluation.batch_tokens, settings.trainer.accelerator
    return LocalTeacher(base.model, base.precision, tokens, "evaluation", accelerator)


def make_served_arms(settings: RunSettings, find_path: Callable[[], Path | str], logs: Path) -> ServedArms | None:
    """Return the arms behind a vLLM that this run starts; None where this process, or another server, answers.

    Args:
        settings: Of the run.
        find_path: Returns the base model's folder, or its id on the hub.
        logs: The folder of servers' logs.
    """
    if settings.evaluation.engine != "vllm":
        return None
    return _serve(settings, find_path(), logs, settings.evaluation.vllm, ENGINE, "answers")


def _serve(
    settings: RunSettings, path: Path | str, logs: Path, vllm: VllmSettings, group: str, name: str
) -> ServedArms:
    base, device = settings.base_model, device_of(settings.trainer.accelerator)
    dtype = str(resolve_precision(base.precision, device)).removeprefix("torch.")
    return ServedArms(vllm, ServedBase(path, dtype, base.trust_remote_code), logs, name, group)
