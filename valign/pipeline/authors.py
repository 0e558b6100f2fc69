"""Who writes the data, and what is asked of them."""

from __future__ import annotations

from dataclasses import replace

from valign.synthesis.settings import SynthesisSettings
from valign.teachers.settings import TeacherSettings

SAME_BY_EMBEDDED = "the same with the embedded teacher"
SMALL_PROMPTS = (
    "the prompts for small models, and only for questions (synthesis.prompts=small); with synthesis.prompts=large a "
    "capable one also writes the answers, their verdicts, and both answers of each pair"
)
LARGE_TEACHERS = "a large one decides more cases rightly (docs/teachers.md, What a large teacher brings)"


def author_line(teacher: TeacherSettings, settings: SynthesisSettings, document: str) -> str | None:
    """Say who writes the data where that is what comes with valign, and how to have another teacher or ask for more."""
    if settings.rows == "shipped":
        other = "+experiment=udhr_embedded" if document == "udhr" else "teacher=local synthesis.rows=null"
        return f"data: by a large teacher, recorded (synthesis.rows=shipped); {SAME_BY_EMBEDDED}: {other}"
    if teacher.kind in ("local", "vllm") and teacher.model.startswith("embedded:") and settings.rows is None:
        return f"data: by the embedded teacher, a small model; {LARGE_TEACHERS}"
    is_served = teacher.kind in ("api", "batch", "vllm")
    if is_served and (settings.prompts, settings.answers, settings.rows) == ("small", "quote", None):
        return f"data: {teacher.model} is asked with {SMALL_PROMPTS}"
    return None


def asked_of(teacher: TeacherSettings, settings: SynthesisSettings) -> SynthesisSettings:
    """Return what is asked of a teacher: with ``teacher=none`` nothing, and the given rows are all there is."""
    if teacher.kind != "none":
        return settings
    return replace(
        settings,
        instructions=replace(settings.instructions, questions_per_passage=0, extract="rules"),
        preferences=replace(settings.preferences, scenarios_per_passage=0),
        coverage=replace(settings.coverage, top_up_rounds=0),
    )
