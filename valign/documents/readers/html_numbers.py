"""The numbers of headings, which LibreOffice writes into a page without the space behind them: ``1.1Scope``."""

from __future__ import annotations

import re

from valign.documents.readers.html_parts import HEADING_TAGS
from valign.documents.readers.html_tree import Tag

GENERATOR = re.compile(r"<meta\b[^<>]{0,200}\b(?:LibreOffice|OpenOffice)", re.IGNORECASE)
WITHIN = 8192  # characters, in which a page says what wrote it
WORD = re.compile(r"(\.?)\s*(?=[^\W\d_]{2})")


def part_numbers(top: Tag, text: str) -> None:
    """Put a space behind the numbers of the headings in a page by LibreOffice.

    Only where every heading begins with just the number that it has by its place, and then a word in capitals or of
    a script without them: headings such as ``3D printing`` and ``1st floor`` are left as they are.

    Args:
        top: The page; its tree is changed.
        text: The page's characters.
    """
    if not GENERATOR.search(text, 0, WITHIN):
        return
    headings = [tag for tag in top.walk() if tag.name in HEADING_TAGS]
    highest = min((tag.name for tag in headings), default="")
    counts: list[int] = []
    places: list[tuple[Tag, int, int]] = []
    for tag in headings:
        depth = int(tag.name[1]) - int(highest[1]) + 1
        counts = [*counts, *[0] * depth][:depth]
        counts[-1] += 1
        place = _behind_number(tag, ".".join(map(str, counts)))
        if place is None:
            return
        places.append(place)
    for tag, child, end in places:
        words = str(tag.children[child])
        tag.children[child] = f"{words[:end]} {words[end:]}"


def _behind_number(tag: Tag, number: str) -> tuple[Tag, int, int] | None:
    """Return the child of a heading, and the offset in it, where a number ends that touches the first word."""
    text = tag.text().lstrip()
    word = WORD.match(text, len(number)) if text.startswith(number) else None
    if word is None or text[word.end()].islower():
        return None
    for child, part in enumerate(tag.children):
        words = part if isinstance(part, str) else part.text()
        if words.strip():
            end = len(words) - len(words.lstrip()) + word.end(1)
            return (tag, child, end) if isinstance(part, str) and len(words) >= end else None
    return None
