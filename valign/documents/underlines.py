"""Lines of marks below a heading, as Markdown, reStructuredText and e-mail have them."""

from __future__ import annotations

import re

UNDERLINE = re.compile(r"=+|-{2,}|([~^\"'*+#])\1{3,}")
MARKDOWN = {"=": 1, "-": 2}
FEW = 2  # characters by which a line of other marks may be shorter or longer than its heading


def is_underline(heading: str, below: str) -> bool:
    """Tell whether a line underlines the one above it.

    Of other marks than Markdown's it is about as long, and below no sentence.
    """
    found = UNDERLINE.fullmatch(below)
    if found is None or found[1] is None:
        return found is not None
    return abs(len(below) - len(heading)) <= FEW and heading[-1:] not in ".:;,!"


def underline_levels(text: str) -> dict[str, int]:
    """Return the level of each mark that underlines headings in a text.

    Markdown's are 1 and 2. Where others are used too, the one that comes first is the outermost, and so on.
    """
    lines = [line.strip() for line in text.split("\n")]
    pairs = zip(["", *lines], lines, strict=False)
    found = dict.fromkeys(below[0] for above, below in pairs if above and is_underline(above, below))
    if found.keys() <= MARKDOWN.keys():
        return MARKDOWN
    return {mark: level for level, mark in enumerate(found, start=1)}
