"""Running headers, footers and page numbers of a PDF: what stands in the same place on page after page."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from valign.documents.left_out import Omissions, Reason
from valign.documents.readers.pdf_lines import PdfLine

OUTER_ROWS = 3
PAGES_FOR_PROOF = 3
_NUMBER_PATTERN = re.compile(r"\d+")
LETTERS = re.compile(r"[^\W_]")
PAGE_COUNT = re.compile(r"\W*(?:(?:of|/)\s*\d{1,4}\W*)?")
ROMAN_NUMERAL = r"[ivxlc]{1,7}|[IVXLC]{1,7}"
PAGE_NUMBER = re.compile(
    rf"[\W_]*(?:(?:page|p\.|pg\.?)\s*)?(?:\d{{1,4}}|{ROMAN_NUMERAL})(?:\s*(?:of|/)\s*\d{{1,4}})?[\W_]*", re.IGNORECASE
)
LAST_NUMBER = re.compile(rf"(?:\d{{1,4}}|{ROMAN_NUMERAL})$")
LEADER = re.compile(r"(?:\s?[.…·_]){4,}")
LONGEST_RUNNING = 300
DOTTED_ROWS = 5
CLOCK = re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?(?: ?[ap]m)?\b")
APART = 1.6

LineRow = list[PdfLine]


def drop_running_lines(lines: list[PdfLine], omissions: Omissions, title: str = "") -> list[PdfLine]:
    """Leave out running headers and footers, page numbers, and the lines of a table of contents (``Gifts .... 7``).

    A row at the top or bottom of a page is running where the same words stand at the same height on three pages (on
    all, where there are only two), with numbers that may count the pages. Of one page, only a number that stands
    apart at its edge is left out, and from the second page on a row that stands apart and names the document's title.
    Where nothing else would be left, as in a stack of the same form, all lines stay.
    """
    pages = _rows_of_pages(lines)
    proven = _proven(pages)
    dropped: set[int] = set()
    for page, rows in pages.items():
        for side in (rows, rows[::-1]):
            for index, row in enumerate(side[:OUTER_ROWS]):
                inner = side[index + 1][0] if index + 1 < len(side) else None
                is_running = _keys(row, page) & proven or (_part_keys(row, page) & proven and _is_apart(row, inner))
                is_running = is_running or (page > 1 and title.casefold() in _parts(row) and _is_apart(row, inner))
                if not (is_running or _is_number(row, inner)):
                    break
                dropped.update(id(line) for line in row)
    contents = {id(line) for rows in pages.values() for row in _contents_rows(rows) for line in row}
    kept = [line for line in lines if id(line) not in dropped and id(line) not in contents]
    if not kept:
        return lines
    for line in lines:
        if id(line) in dropped:
            omissions.add(Reason.FOOTER, line.text)
        elif id(line) in contents:
            omissions.add(Reason.CONTENTS, line.text)
    return kept


def _contents_rows(rows: list[LineRow]) -> list[LineRow]:
    """Return the rows of a page's table of contents: with dots and a number, and among many of these with a number.

    Of five rows and more the numbers are pages, which do not fall; prices and the like stay.
    """
    dotted = [row for row in rows if _is_contents_line(" ".join(line.text.replace(" | ", " ") for line in row))]
    if len(dotted) < DOTTED_ROWS:
        return dotted
    dotted_ids = {id(row) for row in dotted}
    found = [row for row in rows if id(row) in dotted_ids or _ends_apart_in_number(row)]
    for chosen in (found, dotted):
        pages = [int(number[0]) for row in chosen if (number := re.search(r"\d+\Z", row[-1].text.rstrip()))]
        if all(early <= late for early, late in pairwise(pages)):
            return chosen
    return []


def _ends_apart_in_number(row: LineRow) -> bool:
    parts = _parts(row)
    return len(parts) > 1 and LAST_NUMBER.fullmatch(parts[-1]) is not None


def _is_contents_line(text: str) -> bool:
    """Tell whether a line ends in dots and a page number."""
    number = LAST_NUMBER.search(text[-8:])
    if number is None:
        return False
    words = text[: len(text) - len(number[0])].rstrip()
    dots = words[len(words.rstrip(".…·_ ")) :]
    return LEADER.fullmatch(dots.lstrip()) is not None


def _rows_of_pages(lines: Iterable[PdfLine]) -> dict[int, list[LineRow]]:
    """Return the rows of each page from the top down; lines of several columns may share one."""
    pages: dict[int, list[PdfLine]] = defaultdict(list)
    for line in lines:
        pages[line.page].append(line)
    found: dict[int, list[LineRow]] = {}
    for page, own in pages.items():
        rows: list[LineRow] = []
        for line in sorted(own, key=lambda li: (-li.base, li.left)):
            if rows and rows[-1][0].base - line.base < 2.0:
                rows[-1].append(line)
            else:
                rows.append([line])
        found[page] = rows
    return found


def _proven(pages: dict[int, list[LineRow]]) -> set[tuple[str, int, int]]:
    """Return the keys of rows that are seen at the edge of enough pages."""
    seen: dict[tuple[str, int, int], set[int]] = defaultdict(set)
    for page, rows in pages.items():
        for row in [*rows[:OUTER_ROWS], *rows[OUTER_ROWS:][-OUTER_ROWS:]]:
            for key in _keys(row, page) | _part_keys(row, page):
                seen[key].add(page)
    enough = min(PAGES_FOR_PROOF, max(2, len(pages)))
    return {key for key, where in seen.items() if len(where) >= enough}


def _keys(row: LineRow, page: int) -> set[tuple[str, int, int]]:
    """Return what a row has in common with its like on other pages: words, height, size.

    Once the words stand as they are; once a number at the edge stands as its distance from the page's own, so that
    ``Page 7`` and ``Page 8`` are the same but ``Article 7`` and ``Article 9`` on neighbouring pages are not. The
    time of day that a browser prints may pass.
    """
    text = " ".join(_parts(row))
    height, size = round(row[0].base / 3), round(row[0].size)
    keys = {(text, height, size)}
    if len(text) <= LONGEST_RUNNING and not re.match(r"(?:article|section|rule|clause|principle|chapter|§)\W*\d", text):
        for match in _NUMBER_PATTERN.finditer(text):
            before, after = text[: match.start()], text[match.end() :]
            if len(match[0]) < 6 and (not LETTERS.search(before) or PAGE_COUNT.fullmatch(after)):
                keys.add((f"{before}#{int(match[0]) - page}{after}", height, size))
    return keys


def _part_keys(row: LineRow, page: int) -> set[tuple[str, int, int]]:
    """Return the first and last part of a row that has several.

    Beside the document's name, or a number that counts the pages, may stand the chapter's name.
    """
    parts = _parts(row)
    if len(parts) < 2:
        return set()
    counted = [f"#{int(part) - page}" if re.fullmatch(r"\d{1,5}", part) else part for part in parts]
    ends = (("first", counted[0]), ("last", counted[-1]))
    return {
        (f"{end}: {part}", round(row[0].base / 3), round(row[0].size)) for end, part in ends if LETTERS.search(part)
    }


def _parts(row: LineRow) -> list[str]:
    return [CLOCK.sub("#", " ".join(part.casefold().split())) for line in row for part in line.text.split(" | ")]


def _is_number(row: LineRow, inner: PdfLine | None) -> bool:
    """Tell whether a row is a page number that stands apart from the text."""
    return len(row) == 1 and PAGE_NUMBER.fullmatch(row[0].text) is not None and _is_apart(row, inner)


def _is_apart(row: LineRow, inner: PdfLine | None) -> bool:
    """Tell whether a row at the edge of a page stands apart from the next one."""
    return inner is not None and abs(row[0].base - inner.base) > APART * max(row[0].size, inner.size)
