"""The numbers and bullets of a web page's lists."""

from __future__ import annotations

import re
from dataclasses import dataclass

from valign.documents.numerals import number_text
from valign.documents.readers.html_tree import Tag

KINDS = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
STYLES = {
    "lower-alpha": "lowerLetter", "lower-latin": "lowerLetter", "upper-alpha": "upperLetter",
    "upper-latin": "upperLetter", "lower-roman": "lowerRoman", "upper-roman": "upperRoman",
}  # fmt: skip
STYLE = re.compile(r"list-style(?:-type)?\s*:[^;]*?\b((?:lower|upper)-(?:alpha|latin|roman))")
WITHOUT_NUMBERS = re.compile(r"list-style(?:-type)?\s*:[^;]*\bnone\b", re.IGNORECASE)
DEEPEST_INDENT = 20


@dataclass
class _List:
    """A list that is open: the number of its last item, the step to the next one, and the form of its numbers."""

    number: int
    step: int
    kind: str


class ListMarkers:
    """Keeps the lists that are open, and the marker of the item that begins."""

    def __init__(self) -> None:
        self._lists: list[_List | None] = []
        self._marker = ""

    @property
    def depth(self) -> int:
        """How many lists are open."""
        return len(self._lists)

    def open(self, tag: Tag) -> None:
        """Begin a list: one with numbers, or one with bullets or nothing before its items."""
        if tag.name != "ol" or WITHOUT_NUMBERS.search(tag.get("style")):
            self._lists.append(None)
            return
        style = STYLE.search(tag.get("style"))
        kind = STYLES[style[1]] if style else KINDS.get(tag.get("type"), "decimal")
        step = -1 if "reversed" in tag.attributes else 1
        items = sum(isinstance(child, Tag) and child.name == "li" for child in tag.children) if step < 0 else 1
        self._lists.append(_List(_whole(tag.get("start"), items) - step, step, kind))

    def close(self) -> None:
        """End the innermost list."""
        if self._lists:
            self._lists.pop()

    def begin_item(self, tag: Tag) -> None:
        """Take the marker of an item."""
        own = self._lists[-1] if self._lists else None
        if own is None:
            self._marker = "- "
            return
        own.number = _whole(tag.get("value"), own.number + own.step)
        self._marker = f"{number_text(own.number, own.kind)}. "

    def end_item(self) -> None:
        """Forget the marker of an item without text."""
        self._marker = ""

    def mark(self, lines: list[str]) -> str:
        """Return the lines of an item, or of a later paragraph of it, indented by their depth."""
        indent = "  " * min(len(self._lists) - 1, DEEPEST_INDENT)
        marker, self._marker = self._marker or "   ", ""
        return "\n".join([f"{indent}{marker}{lines[0]}", *(f"{indent}   {line}" for line in lines[1:])])


def _whole(value: str, default: int) -> int:
    return int(value) if re.fullmatch(r"-?\d{1,6}", value) else default
