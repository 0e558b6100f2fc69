"""What a data set was written from: the document's clauses and the prompts, kept in ``source.json`` beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from valign.records import Document, Passage, from_dict
from valign.store import complete, read_json, write_json
from valign.synthesis.templates import Template

SOURCE = "source.json"
DATA = "data"


@dataclass(frozen=True)
class Source:
    """A document and the prompts about it, as they were when the data was written.

    Attributes:
        name: First part of the clause ids.
        title: The document's title.
        sha256: SHA-256 (hex) of the document's file.
        path: The document's file; None for a shipped document.
        passages: All clauses, in reading order.
        templates: ``(hash, text)`` of each prompt template, by id.
    """

    name: str
    title: str
    sha256: str
    path: str | None
    passages: tuple[Passage, ...]
    templates: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def write_source(folder: Path, document: Document, path: str | None, templates: Sequence[Template]) -> None:
    """Write ``source.json`` to the folder of a data set."""
    texts = {template.id: (template.hash, template_text(template)) for template in templates}
    source = Source(document.name, document.title, document.sha256, path, document.passages, texts)
    write_json(folder / SOURCE, asdict(source))


def read_source(folder: Path) -> Source | None:
    """Read the source of a data set; None where it was written without one."""
    file = folder / SOURCE
    if not file.is_file():
        return None
    data: dict[str, Any] = read_json(file)
    data["passages"] = tuple(from_dict(Passage, passage, str(file)) for passage in data["passages"])
    data["templates"] = {name: (pair[0], pair[1]) for name, pair in data["templates"].items()}
    return Source(**data)


def latest_source(artifacts: Path, name: str) -> tuple[Path, Source] | None:
    """Return the newest complete data set of a document in the store, and its source."""
    folders = [file.parent for file in (artifacts / DATA).glob(f"*/{SOURCE}") if complete(file.parent)]
    for folder in sorted(folders, key=lambda f: (f / SOURCE).stat().st_mtime_ns, reverse=True):
        source = read_source(folder)
        if source is not None and source.name == name:
            return folder, source
    return None


def template_text(template: Template) -> str:
    """Return a template's turns as its file has them."""
    return "\n\n".join(f"### {turn['role']}\n{turn['content']}" for turn in template.turns)
