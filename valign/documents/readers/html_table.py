"""A table of a web page: a line for each row, with its cells below those of the row before."""

from __future__ import annotations

from valign.documents.blocks import clean_text
from valign.documents.readers.html_tree import Tag

MOST_SPAN = 1000


class TableRows:
    """Gathers the rows of a table.

    A cell that reaches down several rows stands in the first of them, and leaves its place in the others empty.

    Attributes:
        tag: The table.
        lines: The rows that are complete, with `` | `` between cells.
        is_in_row: Whether a row is open.
    """

    def __init__(self, tag: Tag) -> None:
        self.tag = tag
        self.lines: list[str] = []
        self.is_in_row = False
        self._cells: list[str] = []
        self._column = 0
        self._reaching: dict[int, tuple[int, int]] = {}  # column: rows that are still to come, and width

    def begin_row(self) -> None:
        """Begin a row; one that is open ends."""
        if self.is_in_row:
            self.end_row()
        self.is_in_row, self._cells, self._column = True, [], 0

    def add_cell(self, tag: Tag, text: str) -> None:
        """Add a cell behind those that reach down from above."""
        self._skip_reaching()
        self._cells.append(text)
        width, rows = _span(tag.get("colspan")), _span(tag.get("rowspan"))
        if rows > 1 and self._column < MOST_SPAN:
            self._reaching[self._column] = (rows - 1, width)
        self._column += width

    def end_row(self) -> None:
        """End the row."""
        if not self.is_in_row:
            return
        self._skip_reaching()
        self.is_in_row = False
        if line := clean_text(" | ".join(self._cells)).rstrip(" |"):
            self.lines.append(line)

    def _skip_reaching(self) -> None:
        while self._column in self._reaching:
            rows, width = self._reaching.pop(self._column)
            if rows > 1:
                self._reaching[self._column] = (rows - 1, width)
            self._cells.append("")
            self._column += width


def _span(value: str) -> int:
    return min(max(int(value), 1), MOST_SPAN) if value.isdecimal() and len(value) < 6 else 1
