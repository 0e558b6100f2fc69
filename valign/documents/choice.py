"""The document that is asked for: a file of the user's, or a shipped one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from valign.core.control_tokens import NamedText, warn_of_control_tokens
from valign.core.errors import ValignError
from valign.core.records import Document
from valign.documents.read import read_document
from valign.documents.settings import DocumentSettings, shipped_names
from valign.documents.shipped import shipped_document


def chosen_document(settings: DocumentSettings) -> Document:
    """Read and split the document that settings name, and warn of clauses that hold control tokens.

    Raises:
        ValignError: It needs a path, or cannot be read.
    """
    if settings.path is not None:
        path = Path(settings.path).expanduser()
        document = read_document(path, settings.name, settings.title, settings.max_words)
        parts = (NamedText(p.clause, part) for p in document.passages for part in (*p.heading, p.text))
        warn_of_control_tokens("clauses", parts)
        return replace(document, language=settings.language)
    if settings.name not in shipped_names():
        raise ValignError(f"document.path is missing: add document.path=/path/to/{settings.name}.pdf")
    return replace(shipped_document(settings.name, settings.max_words), language=settings.language)
