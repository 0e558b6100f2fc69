"""From the words of a PDF page to its lines in reading order, column by column."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from valign.core.errors import ValignError
from valign.documents.readers.pdf_cells import MARKER, WordRow, cell_starts
from valign.documents.readers.pdf_words import Word

CELL = 2.0
MIN_GUTTER = 3
WORD_END, NARROWEST_COLUMN = 5.0, 40.0
MIN_LINES = 4
MIN_SHARE = 0.12
MIN_WORDS = 2.0
MIN_FILL = 0.5  # of a column's width: that is how far half of its lines reach; cells of a table reach less far
MOST_WORK = 40_000_000
TABLE_GAP = 2.5


@dataclass(slots=True)
class PdfLine:
    """A line of one column.

    Attributes:
        text: Its words; cells of a table's row are separated by `` | ``.
        left: Left end, in points.
        right: Right end.
        base: Baseline, counted upwards.
        size: Size of most of its letters.
        bold: Whether all its words are bold.
        table: Whether it is a row of a table.
        first: Width of its first word.
        page: Page number.
        flow: Number of the column on its page, in reading order.
        columns: Number of columns side by side where it stands.
        marks: Those of the notes that it cites.
    """

    text: str
    left: float
    right: float
    base: float
    size: float
    bold: bool
    table: bool
    first: float
    page: int
    flow: int = 0
    columns: int = 1
    marks: str = ""


def page_lines(words: list[Word], page: int) -> list[PdfLine]:
    """Return the lines of a page: full-width lines divide it into bands, in which the columns are read one by one.

    Raises:
        ValignError: The page has more words, or wider ones, than a page can have.
    """
    gutters = _gutters(words)
    lines: list[PdfLine] = []
    band: dict[int, list[WordRow]] = defaultdict(list)
    band_wide = False
    for row in _rows(words):
        pieces = list(_pieces(row, gutters))
        wide = any(_crosses(piece, gutters) for piece in pieces)
        if wide != band_wide:
            _end_band(band, lines, page, 1 if band_wide else len(gutters) + 1)
            band_wide = wide
        for piece in pieces:
            band[0 if wide else sum(piece[0].left > gutter[0] for gutter in gutters)].append(piece)
    _end_band(band, lines, page, 1 if band_wide else len(gutters) + 1)
    return lines


def _end_band(band: dict[int, list[WordRow]], lines: list[PdfLine], page: int, columns: int) -> None:
    """Move the rows of a band to the lines of the page, column by column."""
    flow = lines[-1].flow + 1 if lines else 0
    for column in sorted(band):
        for row, starts in zip(band[column], cell_starts(band[column]), strict=True):
            lines.append(replace(_line(row, page, starts), flow=flow, columns=columns))
        flow += 1
    band.clear()


def _rows(words: list[Word]) -> list[WordRow]:
    """Gather words with the same baseline, from the top down and from left to right."""
    rows: list[WordRow] = []
    anchor = 0.0
    for word in sorted(words, key=lambda w: -w.base):
        if rows and anchor - word.base <= 0.35 * min(word.size, rows[-1][0].size):
            rows[-1].append(word)
        else:
            rows.append([word])
            anchor = word.base
    for row in rows:
        row.sort(key=lambda w: w.left)
    return rows


def _gutters(words: list[Word]) -> list[tuple[float, float]]:
    """Return the spaces between columns: strips that no word crosses for some lines, with text on both sides."""
    if not words:
        return []
    cells = int((max(word.right for word in words) - min(word.left for word in words)) // CELL) + 2
    if cells * len(words) > MOST_WORK:
        raise ValignError(
            f"{len(words):,} words on one page that is {cells * CELL:,.0f} points wide; print it smaller."
        )
    crossing: dict[int, list[float]] = defaultdict(list)
    for word in words:
        for cell in range(int(word.left // CELL), int(word.right // CELL) + 1):
            crossing[cell].append(word.base)
    low, high = min(crossing), max(crossing)
    by_base = sorted(words, key=lambda w: w.base)
    bottom, top = by_base[0].base - 1, by_base[-1].base + 1
    edge = MIN_SHARE * (high - low)
    found: list[tuple[float, float]] = []
    start: int | None = None
    for cell in range(low, high + 2):
        inside = low + edge < cell < high - edge
        free = inside and _parts_columns(by_base, cell * CELL, sorted([bottom, *crossing.get(cell, ()), top]))
        if free and start is None:
            start = cell
        elif not free and start is not None:
            apart = start * CELL - found[-1][1] if found else NARROWEST_COLUMN
            if apart < WORD_END:
                start = int(found.pop()[0] // CELL)
            if cell - start >= MIN_GUTTER and not WORD_END <= apart < NARROWEST_COLUMN:
                found.append((start * CELL, cell * CELL))
            start = None
    return found


def _parts_columns(words: list[Word], left: float, crossed: list[float]) -> bool:
    """Tell whether there are columns of text on both sides of a strip, between two words that cross it.

    ``words`` are in the order of their baselines, as are those of the crossing ones.
    """
    height = MIN_LINES * 1.1 * words[len(words) // 2].size
    for below, above in pairwise(crossed):
        if above - below < height:
            continue
        sides: tuple[list[Word], list[Word]] = ([], [])
        first = bisect_right(words, below, key=lambda w: w.base)
        for word in words[first : bisect_left(words, above, key=lambda w: w.base)]:
            sides[word.left >= left].append(word)
        if all(_is_column(side) for side in sides):
            return True
    return False


def _is_column(words: list[Word]) -> bool:
    ends: dict[int, tuple[float, float]] = {}
    for word in words:
        left, right = ends.get(round(word.base), (word.left, word.right))
        ends[round(word.base)] = (min(left, word.left), max(right, word.right))
    if len(ends) < MIN_LINES or len(words) < MIN_WORDS * len(ends):
        return False
    width = max(right for _, right in ends.values()) - min(left for left, _ in ends.values())
    return median(right - left for left, right in ends.values()) >= MIN_FILL * width


def _pieces(row: WordRow, gutters: list[tuple[float, float]]) -> Iterator[WordRow]:
    """Split a row where a gutter lies between two of its words."""
    piece: WordRow = []
    for word in row:
        if piece:
            before = piece[-1].right
            room = max(MIN_GUTTER * CELL, 0.5 * word.size)
            marked = len(piece) == 1 and MARKER.fullmatch(piece[0].text) and word.left - before < 2 * word.size
            if not marked and any(min(word.left, right) - max(before, left) >= room for left, right in gutters):
                yield piece
                piece = []
        piece.append(word)
    yield piece


def _crosses(piece: WordRow, gutters: list[tuple[float, float]]) -> bool:
    return any(piece[0].left < left and piece[-1].right > right for left, right in gutters)


def _line(words: WordRow, page: int, starts: Set[float]) -> PdfLine:
    """Return the line of some words; ``starts`` are the left ends of words that begin a cell of a table."""
    parts = [words[0].text]
    table = False
    for index, (before, word) in enumerate(pairwise(words)):
        wide = word.left - before.right > TABLE_GAP * word.size and not (index == 0 and MARKER.fullmatch(before.text))
        wide = wide or word.left in starts
        table = table or wide
        parts.append(" | " if wide else " ")
        parts.append(word.text)
    weights: dict[float, int] = defaultdict(int)
    for word in words:
        weights[word.size] += len(word.text)
    lettered = [word for word in words if any(c.isalnum() for c in word.text)]
    return PdfLine(
        "".join(parts),
        words[0].left,
        words[-1].right,
        words[0].base,
        max(weights, key=lambda size: weights[size]),
        bool(lettered) and all(word.bold for word in lettered),
        table,
        words[0].right - words[0].left,
        page,
        marks=" ".join(word.marks for word in words if word.marks),
    )
