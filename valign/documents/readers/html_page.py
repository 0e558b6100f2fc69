"""The blocks of a web page: its headings, paragraphs, lists and tables in reading order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from valign.core.text import count_words
from valign.documents.blocks import GAP, Block, clean_text
from valign.documents.left_out import Omissions, Reason
from valign.documents.raised import exponent, is_mark, place_lowered, place_numerator, place_raised
from valign.documents.readers.html_lists import ListMarkers
from valign.documents.readers.html_looks import ON_THE_LINE, gap_behind_number, is_own_block
from valign.documents.readers.html_notes import NOTE_CLASS, is_note_link
from valign.documents.readers.html_parts import (
    BLOCKS,
    HEADING_TAGS,
    MOST_TITLE_TAGS,
    PageParts,
    is_heading,
    unread_words,
)
from valign.documents.readers.html_signs import is_exponent, signs
from valign.documents.readers.html_table import TableRows
from valign.documents.readers.html_tree import Tag

BREAK = "\v"
SPACE = re.compile(r"[ \t\r\n\f\xa0]+")
RAISED_STYLE = re.compile(r"vertical-align\s*:\s*super", re.IGNORECASE)
RAISED_CLASS = re.compile(r"(?<![a-z])(?:super(?:script)?|sup)(?![a-z])|foot-?note|note-?ref|fn-?ref", re.IGNORECASE)
LOWERED_STYLE = re.compile(r"vertical-align\s*:\s*sub", re.IGNORECASE)
MOST_TITLE_WORDS = 25
MOST_IN_FRACTION = 2
RAISED_BY = re.compile(
    r"vertical-align\s*:\s*(?P<place>(?:text-)?top\b|[\d.]{0,6}[1-9][\d.]{0,6}(?:px|pt|r?em|ex|%))", re.IGNORECASE
)
IN_PAGE_MARK = re.compile(r"\W*\d{1,3}\W*|[^\w\s]{1,3}")
LINE_MARKS = {"br": BREAK, "img": GAP, "area": GAP}
OWN_LINES = frozenset(("nav", "footer"))
LEAVES_GAP = frozenset((Reason.CONTROL, Reason.MEDIA, Reason.NAVIGATION))
"""What stands in a line although it is no text of it."""


@dataclass
class _Raised:
    """Raised or lowered text that is being read: its tag, its place in the line, and what it is."""

    tag: Tag
    start: int
    kind: str
    is_note: bool


class PageReader:
    """Gathers the text between the tags into blocks, going through the tree without recursion.

    Args:
        parts: Which tags hold text.
        omissions: Takes what is left out.
    """

    def __init__(self, parts: PageParts, omissions: Omissions) -> None:
        self.parts = parts
        self.omissions = omissions
        self.buffer: list[str] = []
        self.raised: list[_Raised] = []
        self.lists = ListMarkers()
        self.levels: list[tuple[Tag, int]] = []
        self.last_level = self.pre = 0
        self.is_code = False
        self.table: TableRows | None = None

    def blocks(self, top: Tag) -> Iterator[Block]:
        """Yield the blocks of a page."""
        stack: list[tuple[Tag | str, bool]] = [(top, False)]
        while stack:
            node, is_closing = stack.pop()
            if isinstance(node, str):
                self.buffer.append(node.replace("\n", BREAK) if self.pre else SPACE.sub(" ", node))
            elif is_closing:
                yield from self._close(node, [after for after, closes in stack[:-3:-1] if not closes])
            elif reason := self.parts.reason(node):
                self.omissions.add(reason, unread_words(node))
                if node.name in OWN_LINES:
                    yield from self._flush()
                elif reason in LEAVES_GAP:
                    self.buffer.append(GAP)
            elif node in self.parts.above_main:
                stack.extend((child, False) for child in reversed(node.children) if self._is_inner(child))
            elif node is not self.parts.title and not self.parts.is_moved(node):
                yield from self._open(node)
                stack.append((node, True))
                children = node.children if node.name == "mroot" else reversed(node.children)
                stack.extend((child, False) for child in children)
        for title in self.parts.panel_titles.values():
            self.omissions.add(Reason.NAVIGATION, title)
        yield from self._flush()

    def _is_inner(self, child: Tag | str) -> bool:
        """Tell whether it is the main part of the page or holds it, and count it where it is not."""
        if isinstance(child, Tag) and (child is self.parts.main or child in self.parts.above_main):
            return True
        if isinstance(child, str):
            self.omissions.add(Reason.MARGIN, child)
        elif child.name == "head":
            return True
        else:
            self.omissions.add(self.parts.reason(child) or Reason.MARGIN, child.text())
        return False

    def _open(self, tag: Tag) -> Iterator[Block]:
        name = tag.name
        level = _level(tag, self.parts, self.last_level)
        if name in BLOCKS or name in ("td", "th") or level or is_own_block(tag):
            yield from self._flush()
        self.buffer += gap_behind_number(tag, self.buffer)
        if title := self.parts.panel_titles.pop(tag, None):
            yield Block(clean_text(title), self.last_level + 1)
        if level:
            self.levels.append((tag, level))
        elif name in ("ul", "ol", "menu"):
            self.lists.open(tag)
        elif name == "li":
            self.lists.begin_item(tag)
        elif name == "pre":
            self.pre += 1
        elif name == "code" and self.pre:
            self.is_code = True
        elif name in LINE_MARKS:
            self.omissions.add(Reason.MEDIA, unread_words(tag))
            self.buffer.append(LINE_MARKS[name])
        elif name == "table" and tag not in self.parts.layout:
            self.table = self.table or TableRows(tag)
        elif name == "tr" and self.table is not None:
            self.table.begin_row()
        elif kind := _raised_kind(tag, self.raised):
            is_note = kind == "note" or NOTE_CLASS.search(tag.get("class")) is not None
            self.raised.append(_Raised(tag, len(self.buffer), kind, is_note))
        if sign := signs(tag)[0]:
            self.buffer.append(sign)

    def _close(self, tag: Tag, following: list[Tag | str]) -> Iterator[Block]:
        name = tag.name
        if sign := signs(tag)[1]:
            self.buffer.append(sign)
        self.buffer += gap_behind_number(tag, self.buffer)
        if self.raised and self.raised[-1].tag is tag:
            self._place(self.raised.pop(), following)
        if name in ("td", "th") and self.table is not None and self.table.is_in_row:
            self.table.add_cell(tag, clean_text(SPACE.sub(" ", "".join(self.buffer).replace(BREAK, " "))))
            self.buffer = []
            return
        if name == "tr" and self.table is not None:
            self.table.end_row()
        ends_heading = bool(self.levels) and self.levels[-1][0] is tag
        if name in BLOCKS or name in ("td", "th") or ends_heading or is_own_block(tag):
            yield from self._flush()
        if ends_heading:
            _, level = self.levels.pop()
            self.last_level = level if is_heading(tag) else self.last_level
        elif name in ("ul", "ol", "menu"):
            self.lists.close()
        elif name == "li":
            self.lists.end_item()
        elif name == "pre":
            self.pre -= 1
            self.is_code = False
        elif name == "table" and self.table is not None and self.table.tag is tag:
            if self.table.lines:
                yield Block("\n".join(self.table.lines))
            self.table = None

    def _place(self, raised: _Raised, following: list[Tag | str]) -> None:
        """Put raised or lowered text into its line, or count it as the mark of a note."""
        text = "".join(self.buffer[raised.start :])
        before = "".join(self.buffer[max(raised.start - 8, 0) : raised.start]).rpartition(BREAK)[2]
        placed = _placed_numerator(raised, before, text, following) or _placed(raised, before, text)
        if placed is None:
            self.omissions.add(Reason.NOTE_MARK, text)
        self.buffer[raised.start :] = [placed] if placed else []

    def _flush(self) -> Iterator[Block]:
        """End the block; within a table's cell a new block is only a space."""
        if self.table is not None and self.table.is_in_row:
            self.buffer.append(" ")
            return
        if not self.buffer:
            return
        lines, self.buffer, self.raised = "".join(self.buffer).split(BREAK), [], []
        paragraph: list[str] = []
        for line in [*map(clean_text, lines), ""]:
            if line:
                paragraph.append(line)
            elif paragraph:
                yield self._block(paragraph)
                paragraph = []

    def _block(self, lines: list[str]) -> Block:
        if self.levels:
            return Block(" ".join(lines), self.levels[-1][1])
        if self.lists.depth:
            return Block(self.lists.mark(lines), 0, True)
        return Block("\n".join(lines), verbatim=self.is_code)


def _placed(raised: _Raised, before: str, text: str) -> str | None:
    """Return raised or lowered text as it stands in a line; None for the mark of a note."""
    if raised.kind == "exponent":
        return exponent(text.strip())
    if raised.kind == "named":
        return place_raised(before, text, raised.is_note) if before[-1:].strip() and is_mark(text) else text
    if raised.kind == "linked":
        return None if before[-1:].isdigit() and IN_PAGE_MARK.fullmatch(text) else text
    if raised.kind == "sub":
        return place_lowered(before, text)
    if raised.kind == "sup" or (raised.is_note and is_mark(text)):
        return place_raised(before, text, raised.is_note)
    return text


def _placed_numerator(raised: _Raised, before: str, text: str, following: list[Tag | str]) -> str | None:
    """Return the upper part of a fraction as it stands in a line; None for any other text."""
    if raised.kind not in ("sup", "named") or not following or not isinstance(following[0], str):
        return None
    below = following[1] if len(following) > 1 else ""
    behind = following[0] + (below if isinstance(below, str) else below.text(MOST_IN_FRACTION))
    return place_numerator(before, text, behind, isinstance(below, Tag) and _raised_kind(below, []) == "sub")


def _level(tag: Tag, parts: PageParts, last_level: int) -> int:
    """Return the level of a heading, of a title that opens a panel too; 0 for any other tag."""
    if tag.name in HEADING_TAGS:
        return int(tag.name[1])
    if tag.get("role") == "heading":
        own = tag.get("aria-level")
        return int(own) if re.fullmatch(r"[1-9]", own) else 2
    if parts.is_opener(tag) and count_words(tag.text(MOST_TITLE_TAGS)) <= MOST_TITLE_WORDS:
        return last_level + 1
    return 0


def _raised_kind(tag: Tag, around: list[_Raised]) -> str:
    """Return ``sup``, ``sub``, ``exponent`` (in a formula), ``note``, ``named`` or ``linked``; nothing on the line.

    What is ``named`` has a class that is called so, as on pages whose style sheet stands elsewhere, or is only a little
    higher; what is ``linked`` leads to another place on the page. Both are read as the mark of a note behind a number.
    """
    if is_exponent(tag):
        return "exponent"
    if is_note_link(tag):
        if not around:
            return "note"
        around[-1].is_note = True
    if tag.name == "sup" or RAISED_STYLE.search(tag.get("style")):
        return "sup"
    if tag.name == "sub" or LOWERED_STYLE.search(tag.get("style")):
        return "sub"
    return "" if around else _likely_kind(tag)


def _likely_kind(tag: Tag) -> str:
    """Return ``named`` or ``linked`` for what can be the mark of a note by its class, height or target."""
    if tag.name not in ON_THE_LINE:
        return ""
    place = RAISED_BY.search(tag.get("style"))
    is_higher = place is not None and (not place["place"].lower().endswith("top") or "font-size" in tag.get("style"))
    if is_higher or RAISED_CLASS.search(tag.get("class")):
        return "named"
    return "linked" if tag.get("href").startswith("#") else ""
