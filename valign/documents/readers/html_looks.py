"""How a browser sets words off from what stands beside them, without a space in the page."""

from __future__ import annotations

import re

from valign.documents.blocks import GAP
from valign.documents.readers.html_tree import Tag

ON_THE_LINE = frozenset("a b em font i small span strong".split())
OWN_BLOCK = re.compile(r"display\s*:\s*(?:block|flex|grid|list-item|table(?:-row)?)(?![\w-])", re.IGNORECASE)
IN_ROW = re.compile(r"display\s*:\s*(?:inline-)?(?:flex|grid)\b", re.IGNORECASE)
OFF_THE_LINE = re.compile(r"display\s*:\s*(?:inline-|table-cell)|float\s*:\s*(?:left|right)", re.IGNORECASE)


def is_own_block(tag: Tag) -> bool:
    """Tell whether the style of a tag that stands on a line makes it a block."""
    return tag.name in ON_THE_LINE and OWN_BLOCK.search(tag.get("style")) is not None


def gap_behind_number(tag: Tag, line: list[str]) -> list[str]:
    """Return a gap where a line ends in a digit and a tag that is set apart begins or ends: 30 and 40 are no 3040.

    Args:
        tag: The tag.
        line: What of the line is read.
    """
    if tag.name not in ON_THE_LINE or not line or not line[-1][-1:].isdigit():
        return []
    in_row = tag.parent is not None and IN_ROW.search(tag.parent.get("style"))
    return [GAP] if in_row or OFF_THE_LINE.search(tag.get("style")) else []
