"""A text's lines between blank lines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from valign.documents.underlines import is_underline

TAB = 4
FENCE = re.compile(r"(```|~~~)")
HASH = re.compile(r"(#{1,6})\s+")


@dataclass(frozen=True)
class Line:
    """A line without the space around it; ``level`` is a heading's, or 0, and ``marks`` the length of its mark."""

    start: int
    end: int
    text: str
    indent: int
    fenced: bool
    level: int = 0
    marks: int = 0


def gather_lines(text: str, headings: Mapping[int, int] | None) -> list[list[Line]]:
    """Gather lines into blocks between blank lines; a fenced block stays whole."""
    position = 0
    last = {mark: text.rfind(f"\n{mark}") for mark in ("```", "~~~")} if headings is None else {}
    blocks: list[list[Line]] = [[]]
    fence: str | None = None
    for raw in text.split("\n"):
        line = raw.strip()
        underlines = fence is None and bool(blocks[-1]) and is_underline(blocks[-1][-1].text, line)
        mark = FENCE.match(line) if headings is None and not underlines else None
        fenced = fence is not None or mark is not None
        if mark and fence is None and last[mark[1]] >= position + len(raw):
            fence = mark[1]
        elif mark and mark[1] == fence:
            fence = None
        if line:
            start = position + raw.index(line[0])
            hashes = HASH.match(line) if headings is None else None
            known = (headings or {}).get(start)
            level = len(hashes[1]) if hashes else known or 0
            marks = hashes.end() if hashes else 0
            is_fenced = fenced or known == 0
            indent = len(text[position:start].expandtabs(TAB))
            blocks[-1].append(Line(start, start + len(line), line, indent, is_fenced, level, marks))
        elif fence is None:
            blocks.append([])
        position += len(raw) + 1
    return [block for block in blocks if block]
