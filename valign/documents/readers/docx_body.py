"""The body of a Word file: headings, paragraphs, lists, tables and text boxes, as blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from valign.core.errors import ValignError
from valign.documents.blocks import BULLET, Block, clean_text
from valign.documents.left_out import Reason
from valign.documents.readers.docx_numbering import Numbering
from valign.documents.readers.docx_styles import ParagraphStyle, W, child_value, outline_level, own_look
from valign.documents.readers.docx_text import DELETED, MC, TextReader, chosen, is_placeholder

MAX_TABLE_DEPTH = 20
MOST_COLUMNS = 63
PROPERTIES = frozenset(f"{W}{name}" for name in ("sectPr", "tcPr", "pPr", "tblPr", "tblGrid", "trPr", "sdtPr"))


class BodyReader:
    """Goes through the body of a Word file in reading order.

    Args:
        texts: Reads the words of a paragraph.
        numbering: Counts the numbered paragraphs.
    """

    def __init__(self, texts: TextReader, numbering: Numbering) -> None:
        self.texts = texts
        self.styles = texts.styles
        self.numbering = numbering
        self.joined = ""  # words of paragraphs whose end was deleted; they belong to the next one
        self.cells = 0

    def blocks(self, parent: Any, depth: int = 0) -> Iterator[Block]:
        """Yield the blocks of a body, a cell or a text box."""
        for child in parent:
            tag = child.tag
            if tag == f"{W}p":
                yield from self._paragraph(child, depth)
            elif tag in DELETED:
                self.texts.omit(Reason.DELETED, child)
            elif tag == f"{W}tbl":
                yield from self._end_joined()
                yield from self._table(child, depth)
            elif tag == f"{W}altChunk":
                raise ValignError("it embeds another file (altChunk); open it in Word and save it again.")
            elif tag == f"{W}sdt" and (reason := _control_reason(child)):
                self.texts.omit(reason, child)
            elif isinstance(tag, str) and tag not in PROPERTIES:
                inner = chosen(child) if tag == f"{MC}AlternateContent" else child
                yield from self.blocks(() if inner is None else inner, depth)
        yield from self._end_joined()

    def _end_joined(self) -> Iterator[Block]:
        text, self.joined = clean_text(self.joined.replace("\n", " ")), ""
        if text:
            yield Block(text)

    def _paragraph(self, paragraph: Any, depth: int) -> Iterator[Block]:
        properties = paragraph.find(f"{W}pPr")
        mark = None if properties is None else properties.find(f"{W}rPr")
        style = self.styles.paragraph(None if properties is None else child_value(properties, "pStyle"))
        read = self.texts.read(paragraph)
        if mark is not None and any(mark.find(tag) is not None for tag in DELETED):
            self.joined += read.text
        else:
            whole, self.joined = self.joined + read.text, ""
            lines = [line for line in map(clean_text, whole.split("\n")) if line]
            if style.is_contents:
                self.texts.omissions.add(Reason.CONTENTS, " ".join(lines))
            elif lines or not own_look(mark).is_hidden:
                yield from self._block(lines, properties, style)
        if read.boxes and depth >= MAX_TABLE_DEPTH:
            raise ValignError(f"a text box is nested more than {MAX_TABLE_DEPTH} deep; simplify the layout.")
        for box in read.boxes:
            yield from self.blocks(box, depth + 1)

    def _block(self, lines: list[str], properties: Any, style: ParagraphStyle) -> Iterator[Block]:
        """Yield a paragraph with its number; an empty one only counts, but in a cell its number is shown."""
        label, indent = self._label(properties, style)
        outline = None if properties is None else outline_level(properties)
        level = outline or style.level
        if not lines:
            if label and label != "-" and self.cells:
                yield Block(label)
        elif level:
            yield Block(" ".join([label, *lines]).strip(), level)
        else:
            text = "\n".join(lines)
            text = BULLET.sub("- ", text, count=1) if BULLET.match(text) else text
            marked = f"{'  ' * indent}{label} {text}" if label else text
            yield Block(marked, 0, bool(label) or text.startswith("- "))

    def _label(self, properties: Any, style: ParagraphStyle) -> tuple[str, int]:
        """Return the number or bullet that Word puts before a paragraph, and its depth in the list."""
        list_id, depth, named_by = style.numbers
        own = None if properties is None else properties.find(f"{W}numPr")
        own_list = None if own is None else child_value(own, "numId")
        own_depth = None if own is None else child_value(own, "ilvl")
        list_id = own_list or list_id
        if list_id is None or list_id == "0":
            return "", 0
        by_style = None
        if own_list is None and own_depth is None:
            by_style = self.numbering.depth_of(list_id, named_by)
        depth = own_depth or depth
        level = by_style if by_style is not None else int(depth) if depth and depth in "012345678" else 0
        return self.numbering.label(list_id, level), level

    def _table(self, table: Any, depth: int) -> Iterator[Block]:
        """Yield one block with a line for each row; a table of one column is layout, and its cells are read as text."""
        if depth >= MAX_TABLE_DEPTH:
            raise ValignError(f"a table is nested more than {MAX_TABLE_DEPTH} deep; simplify the layout.")
        rows = [self._cells(row) for row in self._kept(table, "tr", ("trPr/del", "trPr/hidden"))]
        if all(len(row) <= 1 for row in rows):
            for row in rows:
                for cell in row:
                    yield from self.blocks(() if cell is None else cell, depth + 1)
            return
        lines = []
        self.cells += 1
        for row in rows:
            cells = ["" if cell is None else self._cell(cell, depth + 1) for cell in row]
            if line := clean_text(" | ".join(cells)).rstrip(" |"):
                lines.append(line)
        self.cells -= 1
        if lines:
            yield Block("\n".join(lines))

    def _cell(self, cell: Any, depth: int) -> str:
        return " ".join(block.text.replace("\n", " ").strip() for block in self.blocks(cell, depth))

    def _cells(self, row: Any) -> list[Any]:
        """Return the cells of a row; None for each column that it leaves free before the first."""
        before = row.find(f"{W}trPr/{W}gridBefore")
        free = "" if before is None else before.get(f"{W}val", "")
        cells = self._kept(row, "tc", ("tcPr/cellDel",))
        return [None] * (min(int(free), MOST_COLUMNS) if free.isdecimal() else 0) + cells

    def _kept(self, parent: Any, name: str, deleted: tuple[str, ...]) -> list[Any]:
        """Return the rows or cells below an element, those within content controls too, but for deleted ones."""
        kept: list[Any] = []
        stack = list(reversed(parent))
        while stack:
            element = stack.pop()
            if element.tag == f"{W}{name}":
                paths = [path for path in deleted if element.find("/".join(W + p for p in path.split("/"))) is not None]
                if paths:
                    self.texts.omit(Reason.HIDDEN if "hidden" in paths[0] else Reason.DELETED, element)
                else:
                    kept.append(element)
            elif element.tag in DELETED:
                self.texts.omit(Reason.DELETED, element)
            elif isinstance(element.tag, str) and element.tag not in PROPERTIES:
                stack.extend(reversed(element))
        return kept


def _control_reason(control: Any) -> Reason | None:
    """Return why a content control is left out: it holds the table of contents, or only asks to be filled in."""
    gallery = control.find(f"{W}sdtPr/{W}docPartObj/{W}docPartGallery")
    if gallery is not None and gallery.get(f"{W}val") == "Table of Contents":
        return Reason.CONTENTS
    return Reason.CONTROL if is_placeholder(control) else None
