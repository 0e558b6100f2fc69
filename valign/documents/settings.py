"""Which document a run is about, as settings."""

from __future__ import annotations

from dataclasses import dataclass

from valign.core.settings import setting

SHIPPED = ("udhr", "lanternfield", "saltmarsh", "udhr_counterfactual")
SUFFIXES = ("txt", "md", "html", "htm", "docx", "pdf")
"""Of the files that can be read."""


def shipped_names() -> tuple[str, ...]:
    """Return the names of the shipped documents."""
    return SHIPPED


@dataclass(frozen=True, kw_only=True)
class DocumentSettings:
    """What to align to: a file, or where there is no path a shipped document of that name."""

    name: str
    path: str | None
    title: str | None = None
    questions: str | None = None
    max_words: int = setting(160, at_least=20)
    language: str = setting("auto", choices=("auto", "en", "fr"))
