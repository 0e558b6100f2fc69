"""The judges' prompts, as they lie in the package."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources

from valign.core.records import Message
from valign.core.store import digest
from valign.teachers.prompts import parse_turns


@lru_cache(maxsize=8)
def read_prompt(name: str) -> tuple[str, tuple[Message, ...]]:
    """Return the hash of a prompt's words, and its turns.

    Args:
        name: A file in ``prompts/``.
    """
    text = resources.files("valign.evaluation.judging").joinpath("prompts", name).read_text(encoding="utf-8")
    return digest(text), parse_turns(text)
