"""From a file to a document: its text, its passages and their clause ids."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.records import Document, LeftOut, Passage
from valign.core.whole_text import describe_absence
from valign.documents.blocks import Source
from valign.documents.left_out import Omissions, Reason, merge_counts
from valign.documents.limits import call_limited
from valign.documents.lines import LETTER
from valign.documents.outline import Outline, find_outline
from valign.documents.passages import split_passages
from valign.documents.readers.docx import read_docx
from valign.documents.readers.html import read_html
from valign.documents.readers.markdown import read_markdown
from valign.documents.readers.pdf import read_pdf
from valign.documents.readers.text import read_text
from valign.documents.settings import SUFFIXES

MAX_BYTES = 50 * 1024 * 1024
MAX_CHARS = 10_000_000
MAX_WORDS = 160
READERS: dict[str, Callable[[bytes, str], Source]] = {
    "txt": read_text,
    "md": lambda raw, where: read_markdown(raw, where, MAX_CHARS),
    "html": read_html,
    "htm": read_html,
    "docx": read_docx,
    "pdf": lambda raw, where: read_pdf(raw, where, MAX_CHARS),
}
"""What reads a file, by its suffix, which is one of SUFFIXES."""


def read_document(path: Path, name: str, title: str | None = None, max_words: int = MAX_WORDS) -> Document:
    """Read a file and split it into passages, in a process of its own with limits of time and memory.

    Args:
        path: A text or Markdown file, a web page, a Word file or a PDF, by its suffix.
        name: First part of every clause id.
        title: The document's title; by default its first heading or title line.
        max_words: The longest passage, in words; a longer paragraph is cut into parts.

    Raises:
        ValignError: The file cannot be read, or there is nothing in it.
    """
    if path.is_dir():
        raise ValignError(f"{path} is a folder, not a document; give the path of the file itself.")
    if not path.is_file():
        raise ValignError(f"{path} {describe_absence(path)}; check the path.")
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in SUFFIXES:
        raise ValignError(
            f"{path} has the suffix '{path.suffix}', which is not supported; save it as one of: {', '.join(SUFFIXES)}."
        )
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValignError(
            f"{path} has {size / 2**20:.0f} MB, more than the {MAX_BYTES >> 20} MB allowed; "
            "save it without pictures, or split it into several files."
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValignError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None
    return call_limited(parse_document, raw, name, title, max_words, str(path), suffix, where=str(path))


def parse_document(
    raw: bytes,
    name: str,
    title: str | None = None,
    max_words: int = MAX_WORDS,
    where: str = "document",
    suffix: str = "txt",
) -> Document:
    """Split the bytes of a file into passages.

    The document's text has LF line ends and no byte order mark; its hash is that of the bytes. The text of a PDF, Word
    or HTML file consists of its paragraphs, with blank lines between them.

    Args:
        raw: The file's bytes.
        name: First part of every clause id.
        title: The document's title; by default its first heading or title line.
        max_words: The longest passage, in words.
        where: The source of the bytes, for messages.
        suffix: The file's suffix without the dot, which says its format.

    Raises:
        ValignError: The bytes are not a file of this kind, hold no words, or a setting is impossible.
    """
    if max_words < 1:
        raise ValignError(f"document.max_words={max_words} must be at least 1; the default is {MAX_WORDS}.")
    if not name.strip("/. ") or "/" in name:
        raise ValignError(f"document.name='{name}' must be a word without '/'; it starts every clause id.")
    source = _read(raw, where, suffix)
    text = source.text
    if not LETTER.search(text):
        raise ValignError(f"{where} is empty; a document needs at least one paragraph.")
    if len(text) > MAX_CHARS:
        raise ValignError(
            f"{where} has {len(text):,} characters, more than {MAX_CHARS:,}; split it into several files."
        )
    parts = find_outline(text, source.headings)
    title = title or parts.title or source.title or name.replace("-", " ").replace("_", " ").capitalize()
    found = tuple(split_passages(text, name, title, parts, max_words, source.page_of))
    if not found:
        raise ValignError(f"{where} holds no paragraph below its title; add the text to align to.")
    left_out = merge_counts(source.left_out, _untold(parts, text, found))
    return Document(name, title, text, hashlib.sha256(raw).hexdigest(), found, left_out)


def _untold(parts: Outline, text: str, found: Sequence[Passage]) -> tuple[LeftOut, ...]:
    """Count what no passage has: headings with nothing below them, and what has no letter."""
    told = {s.path[:depth] for s in parts.sections if s.paragraphs for depth in range(1, len(s.path) + 1)}
    omissions = Omissions()
    for section in parts.sections:
        if section.path and section.path not in told:
            omissions.add(Reason.NO_TEXT_BELOW, section.path[-1])
    for start, end in parts.contents:
        omissions.add(Reason.CONTENTS, text[start:end])
    starts = [passage.start for passage in found]
    for start, end in parts.unread:
        index = bisect_right(starts, start) - 1
        if index < 0 or found[index].end <= start:
            omissions.add(Reason.NO_LETTER, text[start:end])
    return omissions.counts()


def _read(raw: bytes, where: str, suffix: str) -> Source:
    """Return the text of a file with the reader of its kind."""
    if not raw:
        raise ValignError(f"{where} is empty; a document needs at least one paragraph.")
    return READERS[suffix](raw, where)
