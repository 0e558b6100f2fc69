"""Which document a run is about, as settings."""

from __future__ import annotations

from dataclasses import dataclass

from valign.core.settings import setting


@dataclass(frozen=True, kw_only=True)
class DocumentSettings:
    """What to align to: a file, or where there is no path a shipped document of that name."""

    name: str
    path: str | None
    title: str | None = None
    questions: str | None = None
    max_words: int = setting(160, at_least=20)
    language: str = setting("auto", choices=("auto", "en", "fr"))
