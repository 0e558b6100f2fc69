"""Tables of contents in running text: lists of the headings that follow, which are no clauses."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from valign.documents.sections import Paragraph, Section

FEWEST_ENTRIES = 3
MOST_LINES = 3
COMPLETE = 0.8
LONG = 10
ANY = "any"
SENTENCE_ENDS = (".", "!", "?", ";", "\u3002", "\uff01")
CONTENTS_NAMES = frozenset(
    "contents tableofcontents toc index inhalt inhaltsverzeichnis sommaire tabledesmatières índice índicegeneral "
    "contenido sumário indice sommario inhoud inhoudsopgave spistreści содержание оглавление 目录 目次 차례 "
    "목차".split()
)
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{1,3})*[.)]?\s+")
_LAST_NUMBER = re.compile(r"(?<![^\W_])(?:\d{1,4}|[ivxlc]{1,7})$")
_DOTS = ("..", ". .", "…", "··", "__", "  ", "\t")
BULLET_MARK = re.compile(r"[-*+•–—]\s+")  # noqa: RUF001

Places = dict[tuple[str, str], list[int]]
"""The sections of each heading, by its number (or ANY) and its words."""


def take_contents(text: str, sections: Sequence[Section]) -> list[tuple[int, int]]:
    """Take the tables of contents out of the sections, and return their spans.

    A table of contents names at least three headings in their order, with pages that do not fall, and all or nearly all
    of those between the first and the last that are no deeper. It stands in a section that is called so; or with
    nothing above it before the first heading; or it is long, and names headings of other sections. Other lists state
    something, and stay, and so do those of sentences and those that a colon leads to.

    Args:
        text: The document's text.
        sections: In reading order, one for every heading; their paragraphs are changed.
    """
    places: Places = defaultdict(list)
    for index, section in enumerate(sections):
        number, words = _parts(section.path[-1]) if section.path else ("", "")
        for key in {(number, words), (ANY, words)} if words else ():
            places[key].append(index)
    taken: list[tuple[int, int]] = []
    if sum(len(found) for (number, _), found in places.items() if number == ANY) >= FEWEST_ENTRIES:
        for index, section in enumerate(sections):
            taken += _take(text, sections, index, places) if section.paragraphs else []
    return taken


def _take(text: str, sections: Sequence[Section], index: int, places: Places) -> list[tuple[int, int]]:
    """Take the first table of contents out of one section."""
    section = sections[index]
    at, page, first, named = index, 0, len(section.paragraphs), list[int]()
    spans: list[tuple[int, int]] = []
    for number, paragraph in enumerate(section.paragraphs):
        start = paragraph.start if spans else _list_start(text, paragraph)
        found = _named(text[start : paragraph.end], places, at, page) if start is not None else None
        if start is not None and found:
            first = min(first, number)
            (at, page), named = found[-1], [*named, *(place for place, _ in found)]
            spans.append((start, paragraph.end))
        elif spans:
            break
    if not spans:
        return []
    is_led_to = first > 0 or spans[0][0] > section.paragraphs[0].start
    above = section.paragraphs[first - 1] if first else None
    ends_open = above is not None and text[above.end - 1] in ":\uff1a"
    if ends_open or not _is_table(sections, index, named, is_led_to):
        return []
    opening = section.paragraphs[first]
    rest = replace(opening, end=opening.start + len(text[opening.start : spans[0][0]].rstrip()))
    section.paragraphs[first : first + len(spans)] = [rest] if rest.end > rest.start else []
    return spans


def _list_start(text: str, paragraph: Paragraph) -> int | None:
    """Return where a paragraph's list begins; None where a sentence leads to it."""
    start = paragraph.start
    for line in text[start : paragraph.end].splitlines(keepends=True):
        if BULLET_MARK.match(line.strip()):
            above = text[paragraph.start : start].rstrip()
            return None if above.endswith((":", "\uff1a")) else start
        start += len(line)
    return paragraph.start


def _named(text: str, places: Places, at: int, page: int) -> list[tuple[int, int]] | None:
    """Return the sections that the lines of a list name, each with its page or the one before; None for another list.

    Args:
        text: The list.
        places: The sections of each heading.
        at: The section behind which they are.
        page: The page behind which they are.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    found: list[tuple[int, int]] = []
    index = 0
    while index < len(lines):
        for count in range(1, MOST_LINES + 1):
            entry, own = _without_page(" ".join(lines[index : index + count]))
            place = None if entry.endswith(SENTENCE_ENDS) else _place(entry, places, at)
            if place is not None and (own is None or own >= page):
                break
        else:
            return None
        at, index, page = place, index + count, page if own is None else own
        found.append((at, page))
    return found


def _without_page(line: str) -> tuple[str, int | None]:
    """Return an entry without the page's number that dots or a gap part from it, and the number in digits."""
    number = _LAST_NUMBER.search(line[-8:])
    if number is None:
        return line, None
    head = line[: len(line) - len(number[0])]
    entry = head.rstrip(" .\u00b7\u2026_\t\u00a0")
    if not any(dots in head[len(entry) :] for dots in _DOTS):
        return line, None
    return entry, int(number[0]) if number[0].isdigit() else None


def _place(entry: str, places: Places, at: int) -> int | None:
    """Return the next section behind a place that an entry names."""
    number, words = _parts(entry)
    for key in ((number, words), ("", words)) if number else ((ANY, words),):
        indices = places.get(key, [])
        if (position := bisect_right(indices, at)) < len(indices):
            return indices[position]
    return None


def _parts(heading: str) -> tuple[str, str]:
    """Return a heading's number, if it has one, and its letters and digits behind it in lower case."""
    text = BULLET_MARK.sub("", heading.strip(), count=1)
    number = _NUMBER.match(text)
    words = text[number.end() :] if number else text
    return (number[0].strip().rstrip(".)") if number else ""), re.sub(r"[\W_]", "", words.lower())


def _is_table(sections: Sequence[Section], index: int, named: Sequence[int], is_led_to: bool) -> bool:
    """Tell whether a list of headings is a table of contents, by how many it leaves out and where it stands."""
    if len(named) < FEWEST_ENTRIES:
        return False
    deepest = max(len(sections[place].path) for place in named)
    between = sum(0 < len(sections[place].path) <= deepest for place in range(named[0], named[-1] + 1))
    own = sections[index].path
    if own and _parts(own[-1])[1] in CONTENTS_NAMES:
        is_placed = True
    else:
        beyond = not own or any(sections[place].path[: len(own)] != own for place in named)
        is_placed = beyond and (len(named) >= LONG or not (own or is_led_to))
    return len(named) >= COMPLETE * between and is_placed
