"""The footnotes of a PDF: small lines at the foot of a page, and the paragraphs that cite them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from valign.documents.readers.pdf_lines import PdfLine

NOTE = re.compile(r"(?:\d{1,3}|[*†‡])[.)]?\s*\S")
NOTE_LABEL = re.compile(r"(\d{1,3}|[*†‡]+)[.)]?\s*")
MARKS = re.compile(r"\d{1,3}|[*†‡]+")
SMALLER = 0.92


def note_lines(lines: list[PdfLine], size: float) -> set[int]:
    """Return the footnotes: the small lines that end a column, from the first that starts with a mark.

    Args:
        lines: Of the whole document.
        size: Of most of its letters.

    Returns:
        The ids of these lines, as ``id`` gives them.
    """
    found: set[int] = set()
    pending: list[PdfLine] = []
    is_end = False
    for line, after in zip(reversed(lines), [None, *reversed(lines[1:])], strict=True):
        is_last = after is None or (after.page, after.flow) != (line.page, line.flow)
        is_end = line.size < SMALLER * size and (is_last or is_end)
        pending = [] if is_last or not is_end else pending
        if is_end:
            pending.append(line)
            if NOTE.match(line.text):
                found.update(id(small) for small in pending)
                pending = []
    return found


def note_groups(notes: Iterable[PdfLine]) -> Iterator[list[PdfLine]]:
    """Yield the lines of each note."""
    group: list[PdfLine] = []
    for line in notes:
        if group and NOTE.match(line.text):
            yield group
            group = []
        group.append(line)
    if group:
        yield group


def place_footnotes(
    found: list[list[PdfLine]],
    citing: list[list[PdfLine]],
    small: set[int],
    text_of: Callable[[list[PdfLine]], str],
) -> tuple[list[list[PdfLine]], dict[int, list[str]]]:
    """Return the groups of lines without the notes that others cite, and these notes by the index of the citing group.

    The mark stands on the page of the note, or on the page before it. Other notes stay where they are.

    Args:
        found: The groups of all lines: paragraphs, headings, notes.
        citing: Those that may cite notes.
        small: The lines of notes, by their ids.
        text_of: Returns the words of a group.
    """
    cited: dict[tuple[int, str], int] = {}
    for group in citing:
        for line in group if id(group[0]) not in small else ():
            for mark in MARKS.findall(line.marks):
                cited.setdefault((line.page, mark), id(group))
    placed: dict[int, list[str]] = defaultdict(list)
    kept: list[list[PdfLine]] = []
    for group in found:
        text = text_of(group) if id(group[0]) in small else ""
        label, page = NOTE_LABEL.match(text), group[0].page
        key = cited.get((page, label[1]), cited.get((page - 1, label[1]))) if label else None
        if label and key is not None and len(text) > label.end():
            placed[key].append(text[label.end() :])
        else:
            kept.append(group)
    return kept, {index: placed.get(id(group), []) for index, group in enumerate(kept)}
