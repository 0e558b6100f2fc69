"""Makes a teacher from plain settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from valign.core.errors import ValignError
from valign.teachers.api import ApiTeacher
from valign.teachers.local import LocalTeacher
from valign.teachers.protocol import Teacher
from valign.teachers.replay import ReplayTeacher
from valign.teachers.usage import Meter


def make_teacher(
    kind: str,
    model: str,
    *,
    group: str = "teacher",
    precision: str = "auto",
    batch_tokens: int = 8192,
    recording: str | None = None,
    base_urls: Sequence[str] = (),
    api_key_env: str = "OPENAI_API_KEY",
    concurrency: int = 64,
    timeout: float = 120.0,
    max_retries: int = 8,
    price_in: float | None = None,
    price_out: float | None = None,
    max_cost: float | None = None,
    max_tokens: int | None = None,
) -> Teacher:
    """Make a teacher; its arguments are the keys of ``conf/teacher/``, and ``group`` is where they stand.

    Nothing is loaded or called yet.

    Raises:
        ValignError: The kind is unknown, or a setting that it needs is missing or wrong.
    """
    if kind == "local":
        return LocalTeacher(model, precision, batch_tokens, group)
    if kind == "api":
        meter = Meter(price_in, price_out, max_cost, max_tokens)
        return ApiTeacher(model, base_urls, api_key_env, concurrency, timeout, max_retries, meter, group)
    if kind != "replay":
        raise ValignError(f"teacher.kind={kind} is unknown; choose from: local, replay, api.")
    if recording is None:
        raise ValignError("teacher=replay needs its recording: add teacher.recording=/path/to/file.jsonl.")
    return ReplayTeacher(Path(recording).expanduser(), model)
