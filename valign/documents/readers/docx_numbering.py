"""The numbers that Word computes for lists and headings, from ``numbering.xml``."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from valign.core.errors import ValignError
from valign.documents.numerals import number_text
from valign.documents.readers.docx_styles import Styles, W, child_value

LONGEST_LABEL = 255


class _Level(NamedTuple):
    """A level of a list: where it starts, its form, and after which level (from 1) it starts anew; 0: after none."""

    start: int
    kind: str
    text: str
    is_legal: bool
    restart: int | None
    style: str | None


class Numbering:
    """Counts the numbered paragraphs of a document in reading order.

    Args:
        root: The root element of ``numbering.xml``, or None where a document has none.
        styles: The document's styles, to which lists can refer.
    """

    def __init__(self, root: Any, styles: Styles) -> None:
        self._levels: dict[str, dict[int, _Level]] = {}
        self._links: dict[str, str] = {}
        self._styles = styles
        self._lists: dict[str, tuple[str, dict[int, _Level], dict[int, int]]] = {}
        self._settled: dict[str, tuple[str, dict[int, _Level]]] = {}
        self._counts: dict[str, dict[int, int]] = {}
        self._restarted: set[str] = set()
        if root is None:
            return
        for abstract in root.iterfind(f"{W}abstractNum"):
            key = abstract.get(f"{W}abstractNumId", "")
            self._levels[key] = {_int(lvl.get(f"{W}ilvl")): _level(lvl) for lvl in abstract.iterfind(f"{W}lvl")}
            if (link := child_value(abstract, "numStyleLink")) is not None:
                self._links[key] = link
        for num in root.iterfind(f"{W}num"):
            starts: dict[int, int] = {}
            own: dict[int, _Level] = {}
            for override in num.iterfind(f"{W}lvlOverride"):
                depth = _int(override.get(f"{W}ilvl"))
                if (start := child_value(override, "startOverride")) is not None:
                    starts[depth] = _int(start, 1)
                if (level := override.find(f"{W}lvl")) is not None:
                    own[depth] = _level(level)
            self._lists[num.get(f"{W}numId", "")] = (child_value(num, "abstractNumId") or "", own, starts)

    def depth_of(self, list_id: str, style_id: str) -> int | None:
        """Return the depth at which a list numbers the paragraphs of a style, where it says so."""
        _, levels = self._settle(list_id)
        return next((depth for depth, level in levels.items() if level.style == style_id), None)

    def label(self, list_id: str, depth: int) -> str:
        """Return the next label of a list at this depth, such as ``2.1.``, ``(b)`` or ``-``; empty without one."""
        abstract, levels = self._settle(list_id)
        level = levels.get(depth)
        if level is None:
            return ""
        starts = self._lists[list_id][2]
        counts = self._counts.setdefault(abstract, {})
        if starts and list_id not in self._restarted:
            self._restarted.add(list_id)
            for changed in starts:
                counts.pop(changed, None)
        counts[depth] = counts[depth] + 1 if depth in counts else starts.get(depth, level.start)
        for deeper in [d for d in counts if d > depth]:
            restart = levels[deeper].restart if deeper in levels else None
            if restart is None or depth < restart:
                del counts[deeper]
        if level.kind == "bullet":
            return "-"

        def number(match: re.Match[str]) -> str:
            wanted = int(match[1]) - 1
            above = levels.get(wanted, level)
            if above.kind in ("none", "bullet"):
                return ""
            kind = "decimal" if level.is_legal else above.kind
            return number_text(counts.setdefault(wanted, starts.get(wanted, above.start)), kind)

        return re.sub(r"%([1-9])", number, level.text).strip()

    def _settle(self, list_id: str) -> tuple[str, dict[int, _Level]]:
        """Return the list whose paragraphs are counted together with these, and its levels with the list's own."""
        if list_id not in self._settled:
            abstract, own, _ = self._lists.get(list_id, ("", {}, {}))
            seen: set[str] = set()
            while abstract in self._links and abstract not in seen and not self._levels.get(abstract):
                seen.add(abstract)
                named = self._styles.list_of(self._links[abstract])
                abstract = self._lists.get(named or "", (abstract, {}, {}))[0]
            self._settled[list_id] = (abstract, {**self._levels.get(abstract, {}), **own})
        return self._settled[list_id]


def _level(element: Any) -> _Level:
    start, kind, text = (child_value(element, name) for name in ("start", "numFmt", "lvlText"))
    restart = child_value(element, "lvlRestart")
    legal = element.find(f"{W}isLgl")
    if text and len(text) > LONGEST_LABEL:
        raise ValignError(f"a list's number is a text of {len(text):,} characters; give the list another number.")
    return _Level(
        _int(start, 1),
        kind or "decimal",
        text or "",
        legal is not None and legal.get(f"{W}val", "1") not in ("0", "false", "off"),
        None if restart is None else _int(restart),
        child_value(element, "pStyle"),
    )


def _int(text: str | None, default: int = 0) -> int:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,9}", text) else default
