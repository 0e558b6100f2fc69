"""Makes a teacher from its settings."""

from __future__ import annotations

from pathlib import Path

from valign.core.errors import ValignError
from valign.teachers.absent import NoTeacher
from valign.teachers.api import ApiTeacher
from valign.teachers.batch import BatchTeacher
from valign.teachers.local import LocalTeacher
from valign.teachers.protocol import Teacher
from valign.teachers.replay import ReplayTeacher
from valign.teachers.settings import TEACHERS, TeacherSettings
from valign.teachers.usage import Meter
from valign.teachers.vllm import VllmTeacher


def make_teacher(
    settings: TeacherSettings, group: str = "teacher", accelerator: str = "auto", logs: Path | None = None
) -> Teacher:
    """Make a teacher; nothing is loaded or called yet.

    Args:
        settings: Which one, and how it is asked.
        group: Where the settings stand in the config, for messages.
        accelerator: Where a teacher in this process computes: ``cpu``, ``gpu`` or ``auto``.
        logs: The folder of the log of a vLLM that the teacher starts; None for that of this process.

    Raises:
        ValignError: The kind is unknown, or a setting that it needs is missing or wrong.
    """
    s = settings
    if s.kind == "local":
        return LocalTeacher(s.model, s.precision, s.batch_tokens, group, accelerator)
    meter = Meter(*s.paid_prices, s.max_cost, s.max_tokens)
    if s.kind == "vllm":
        return VllmTeacher(s, group, meter, logs or Path.cwd())
    if s.kind == "api":
        asking = (s.api_key_env, s.concurrency, s.timeout, s.max_retries)
        return ApiTeacher(s.model, s.base_urls, *asking, meter, group, s.thinking_tokens)
    if s.kind == "batch":
        if s.requests is None:
            raise ValignError(f"{group}=batch needs a folder for its files: add {group}.requests=FOLDER.")
        results = None if s.results is None else Path(s.results).expanduser()
        return BatchTeacher(
            s.model, Path(s.requests).expanduser(), results, meter, s.requests_per_file, s.thinking_tokens
        )
    if s.kind == "replay":
        if s.recording is None:
            raise ValignError("teacher=replay needs its recording: add teacher.recording=/path/to/file.jsonl.")
        return ReplayTeacher(Path(s.recording).expanduser(), s.model)
    if s.kind == "none":
        return NoTeacher()
    raise ValignError(f"teacher.kind={s.kind} is unknown; choose from: {', '.join(TEACHERS)}.")
