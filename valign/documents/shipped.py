"""The documents that come with the package, and their evaluation questions."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Document, Question
from valign.documents.read import MAX_WORDS, parse_document
from valign.documents.settings import SHIPPED

SHIPPED_FILES = resources.files("valign.documents").joinpath("data")


def shipped_document(name: str, max_words: int = MAX_WORDS) -> Document:
    """Return a shipped document, split into passages.

    Raises:
        ValignError: There is no such document.
    """
    file = SHIPPED_FILES.joinpath(f"{_known(name)}.txt")
    if not file.is_file():
        raise ValignError(f"The shipped document '{name}' is missing from the package; install valign again.")
    return parse_document(file.read_bytes(), name, max_words=max_words, where=f"document={name}")


def shipped_questions(name: str) -> list[Question]:
    """Return the evaluation questions of a shipped document.

    Raises:
        ValignError: There is no such document, or it has no questions.
    """
    file = SHIPPED_FILES.joinpath(f"{_known(name)}_questions.jsonl")
    if not file.is_file():
        raise ValignError(f"The shipped document '{name}' has no questions; give your own with questions=FILE.")
    with resources.as_file(file) as path:
        return read_jsonl(Path(path), Question)


def _known(name: str) -> str:
    if name not in SHIPPED:
        raise ValignError(f"There is no shipped document '{name}'; choose one of: {', '.join(SHIPPED)}.")
    return name
