"""The styles of a Word file: what a paragraph and a run of words look like, with what their styles are based on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
HEADING_STYLE = re.compile(r"heading ([1-9])", re.IGNORECASE)
CONTENTS_STYLE = re.compile(r"toc \d|toc heading|table of (?:figures|authorities)", re.IGNORECASE)
NOTE_STYLE = re.compile(r"(?:foot|end)note (?:reference|anchor|characters)", re.IGNORECASE)
OFF = frozenset(("0", "false", "off", "none"))
RAISED_FROM = 4  # half points
LONGEST_CHAIN = 64


class RunLook(NamedTuple):
    """How words look; None where that is not said.

    Attributes:
        is_hidden: Whether Word does not show them.
        is_struck: Whether they are struck through.
        place: ``superscript``, ``subscript`` or ``baseline``.
        is_note: Whether they are the mark of a note.
    """

    is_hidden: bool | None = None
    is_struck: bool | None = None
    place: str | None = None
    is_note: bool | None = None

    def over(self, below: RunLook) -> RunLook:
        """Return this look, and where it says nothing, the one below."""
        return RunLook(
            below.is_hidden if self.is_hidden is None else self.is_hidden,
            below.is_struck if self.is_struck is None else self.is_struck,
            below.place if self.place is None else self.place,
            below.is_note if self.is_note is None else self.is_note,
        )


@dataclass(frozen=True)
class ParagraphStyle:
    """What a paragraph has from its style.

    Attributes:
        level: Of a heading, from 1; 0 for a paragraph, None where only the paragraph itself may say so.
        is_contents: Whether it is a line of a table of contents.
        numbers: Of its list: the list's id, the depth and the id of the style that says so.
        look: Of its words.
    """

    level: int | None
    is_contents: bool
    numbers: tuple[str | None, str | None, str]
    look: RunLook


class Styles:
    """The styles of a file.

    Args:
        root: The root element of ``styles.xml``, or None where a file has none.
    """

    def __init__(self, root: Any) -> None:
        self._elements: dict[str, Any] = {}
        self._default = ""
        self._paragraphs: dict[str, ParagraphStyle] = {}
        self._looks: dict[str, RunLook] = {}
        for style in () if root is None else root.iterfind(f"{W}style"):
            key = style.get(f"{W}styleId", "")
            self._elements[key] = style
            if style.get(f"{W}default") == "1" and style.get(f"{W}type") == "paragraph" and not self._default:
                self._default = key

    def paragraph(self, style_id: str | None) -> ParagraphStyle:
        """Return what a style gives to a paragraph; without a style, the default one."""
        key = self._default if style_id is None else style_id
        if key not in self._paragraphs:
            self._paragraphs[key] = self._resolve(key)
        return self._paragraphs[key]

    def look(self, properties: Any, base: RunLook) -> RunLook:
        """Return how a run looks by its own properties, its style's, and those of the paragraph."""
        if properties is None:
            return base
        style = child_value(properties, "rStyle")
        if style is None:
            return own_look(properties).over(base)
        if style not in self._looks:
            self._looks[style] = self._chain_look(style)
        return own_look(properties).over(self._looks[style]).over(base)

    def list_of(self, style_id: str) -> str | None:
        """Return the id of the list that a style for lists names."""
        element = self._elements.get(style_id)
        numbers = None if element is None else element.find(f"{W}pPr/{W}numPr")
        return None if numbers is None else child_value(numbers, "numId")

    def _chain(self, style_id: str) -> dict[str, Any]:
        """Return a style and those that it is based on, by their ids."""
        chain: dict[str, Any] = {}
        key: str | None = style_id
        while key in self._elements and key not in chain and len(chain) < LONGEST_CHAIN:
            chain[key] = self._elements[key]
            key = child_value(chain[key], "basedOn")
        return chain

    def _chain_look(self, style_id: str) -> RunLook:
        found = RunLook()
        for style in self._chain(style_id).values():
            own = own_look(style.find(f"{W}rPr"))
            if NOTE_STYLE.fullmatch(child_value(style, "name") or ""):
                own = own._replace(is_note=True)
            found = found.over(own)
        return found

    def _resolve(self, style_id: str) -> ParagraphStyle:
        level: int | None = None
        outline: int | None = None
        is_contents = False
        list_id = depth = None
        named_by = ""
        for key, style in self._chain(style_id).items():
            name = child_value(style, "name") or ""
            is_contents = is_contents or CONTENTS_STYLE.match(name) is not None
            if level is None and name.lower() == "title":
                level = 1
            elif level is None and (match := HEADING_STYLE.fullmatch(name)):
                level = int(match[1]) + 1
            properties = style.find(f"{W}pPr")
            if properties is None:
                continue
            outline = outline_level(properties) if outline is None else outline
            numbers = properties.find(f"{W}numPr")
            if numbers is not None:
                if list_id is None and (list_id := child_value(numbers, "numId")) is not None:
                    named_by = key
                depth = depth or child_value(numbers, "ilvl")
        level = outline if level is None else level
        return ParagraphStyle(level, is_contents, (list_id, depth, named_by), self._chain_look(style_id))


def own_look(properties: Any) -> RunLook:
    """Return what the properties of a run say about its look."""
    if properties is None or not len(properties):
        return RunLook()
    strikes = [s for s in (_switch(properties, "strike"), _switch(properties, "dstrike")) if s is not None]
    place = child_value(properties, "vertAlign")
    position = child_value(properties, "position")
    if place is None and position is not None and re.fullmatch(r"-?\d{1,4}", position):
        raised = int(position)
        place = "superscript" if raised >= RAISED_FROM else "subscript" if raised <= -RAISED_FROM else None
    return RunLook(_switch(properties, "vanish"), any(strikes) if strikes else None, place)


def outline_level(properties: Any) -> int | None:
    """Return the level of heading that an outline level makes: 2 for the outermost, 0 for body text."""
    level = child_value(properties, "outlineLvl")
    if level is None:
        return None
    return int(level) + 2 if re.fullmatch(r"[0-8]", level) else 0


def child_value(element: Any, name: str) -> str | None:
    """Return the ``w:val`` of a child element, where there is one."""
    child = element.find(f"{W}{name}")
    return None if child is None else child.get(f"{W}val")


def _switch(properties: Any, name: str) -> bool | None:
    child = properties.find(f"{W}{name}")
    return None if child is None else child.get(f"{W}val", "1").lower() not in OFF
