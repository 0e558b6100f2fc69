"""The numbers that Word computes for lists and headings, from ``numbering.xml``."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

ROMAN_DIGITS = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


class _Level(NamedTuple):
    start: int
    kind: str
    text: str


class Numbering:
    """Counts the numbered paragraphs of a document in reading order.

    Args:
        root: The root element of ``numbering.xml``, or None where a document has none.
    """

    def __init__(self, root: Any) -> None:
        self.levels: dict[str, dict[int, _Level]] = {}
        self.lists: dict[str, tuple[str, dict[int, int]]] = {}
        self.counts: dict[str, dict[int, int]] = {}
        self.restarted: set[str] = set()
        if root is None:
            return
        for abstract in root.iterfind(f"{W}abstractNum"):
            own = {_int(lvl.get(f"{W}ilvl")): _level(lvl) for lvl in abstract.iterfind(f"{W}lvl")}
            self.levels[abstract.get(f"{W}abstractNumId", "")] = own
        for num in root.iterfind(f"{W}num"):
            starts = {}
            for override in num.iterfind(f"{W}lvlOverride"):
                if (start := child_value(override, "startOverride")) is not None:
                    starts[_int(override.get(f"{W}ilvl"))] = _int(start, 1)
            self.lists[num.get(f"{W}numId", "")] = (child_value(num, "abstractNumId") or "", starts)

    def label(self, list_id: str, depth: int) -> str:
        """Return the next label of a list at this depth, such as ``2.1.``, ``(b)`` or ``-``; empty without one."""
        abstract, starts = self.lists.get(list_id, ("", {}))
        levels = self.levels.get(abstract, {})
        level = levels.get(depth)
        if level is None:
            return ""
        counts = self.counts.setdefault(abstract, {})
        if starts and list_id not in self.restarted:
            self.restarted.add(list_id)
            for changed in starts:
                counts.pop(changed, None)
        counts[depth] = counts[depth] + 1 if depth in counts else starts.get(depth, level.start)
        for deeper in [d for d in counts if d > depth]:
            del counts[deeper]
        if level.kind == "bullet":
            return "-"
        if level.kind == "none":
            return ""

        def number(match: re.Match[str]) -> str:
            wanted = int(match[1]) - 1
            above = levels.get(wanted, level)
            return number_text(counts.setdefault(wanted, above.start), above.kind)

        return re.sub(r"%([1-9])", number, level.text).strip()


def number_text(number: int, kind: str) -> str:
    """Return a number in one of Word's formats; those without a form of their own here are decimal."""
    if kind in ("lowerLetter", "upperLetter") and number > 0:
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter if kind == "lowerLetter" else letter.upper()
    if kind in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        roman = ""
        for size, sign in ROMAN_DIGITS:
            roman += sign * (number // size)
            number %= size
        return roman if kind == "lowerRoman" else roman.upper()
    return f"{number:02d}" if kind == "decimalZero" else str(number)


def child_value(element: Any, name: str) -> str | None:
    """Return the ``w:val`` of a child element, where there is one."""
    child = element.find(f"{W}{name}")
    return None if child is None else child.get(f"{W}val")


def _level(element: Any) -> _Level:
    start, kind, text = (child_value(element, name) for name in ("start", "numFmt", "lvlText"))
    return _Level(_int(start, 1), kind or "decimal", text or "")


def _int(text: str | None, default: int = 0) -> int:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,9}", text) else default
