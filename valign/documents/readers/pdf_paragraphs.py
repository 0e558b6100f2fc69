"""From the lines of a PDF to headings, paragraphs and list items."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from valign.core.text import WIDE_ENDS, count_words, join_lines
from valign.documents.blocks import BULLET, Block, clean_text
from valign.documents.labels import read_section_label
from valign.documents.readers.pdf_lines import PdfLine
from valign.documents.readers.pdf_notes import SMALLER, note_groups, note_lines, place_footnotes

ITEM_LABEL = re.compile(r"(?:\(?(?:\d{1,3}(?:\.\d{1,3})*|[a-z]|[ivx]{1,4})[.)]|\d{1,3}(?:\.\d{1,3})+|[-–—*]|§+)\s+\S")  # noqa: RUF001
HEADING_DEPTH = re.compile(r"(\d{1,3}(?:\.\d{1,3})*)\.?\s+\S")
TERMINAL = re.compile(rf"[.:;!?{WIDE_ENDS}：][\"'”’」』）)\]]*$")  # noqa: RUF001
LINE_HYPHEN = re.compile(r"(?<!\w)(\w+)[-‐]$")  # noqa: RUF001
LONGEST_TAIL = 80
FIRST_WORD = re.compile(r"\w+")
TENS_WORDS = frozenset("twenty thirty forty fifty sixty seventy eighty ninety".split())
_UNIT_WORDS = frozenset(
    "one two three four five six seven eight nine first second third fourth fifth sixth seventh eighth ninth".split()
)
_WORD_PATTERN = re.compile(r"[\w'’]+(?:-[\w'’]+)*")  # noqa: RUF001
LARGER = 1.08
_HEADING_WORDS, HEADING_LINES = 25, 4
LEVELS_PER_STYLE = 5
_GAP, INDENT = 1.35, 0.8


@dataclass(frozen=True)
class Look:
    """How most of a document is set: size and boldness of its text, distance of its lines, right ends of columns."""

    size: float
    bold: bool
    leading: float
    rights: dict[tuple[int, int], float]

    def right(self, line: PdfLine) -> float:
        """Return the right end of the column in which a line stands."""
        return max(self.rights[line.page, line.flow], line.right)


def to_blocks(lines: list[PdfLine]) -> list[Block]:
    """Join lines to paragraphs, also over the ends of columns and pages, and find the headings by their look."""
    look = _look(lines)
    words = _vocabulary(lines)
    small = note_lines(lines, look.size)
    found = list(_groups(lines, small, look))
    citing = [group for group in found if not _is_heading(group, look)]
    groups, notes = place_footnotes(found, citing, small, lambda group: _joined(group, words)[0])
    styles = {_style(group[0]) for group in groups if _is_heading(group, look)}
    ranks = {style: rank for rank, style in enumerate(sorted(styles, reverse=True))}
    blocks: list[Block] = []
    for index, group in enumerate(groups):
        text, pages = _rows(group) if group[0].table else _joined(group, words)
        text += "".join(f" [Note: {note}]" for note in notes[index])
        if group[0].table:
            blocks.append(Block(text, pages=pages))
            continue
        if _is_heading(group, look):
            number = HEADING_DEPTH.match(text)
            depth = min(number[1].count(".") if number else 0, LEVELS_PER_STYLE - 1)
            level = 1 + LEVELS_PER_STYLE * min(ranks[_style(group[0])], 5) + depth
            blocks.append(Block(text, level, pages=pages))
        else:
            is_item = ITEM_LABEL.match(text) is not None or _goes_on(text, blocks)
            blocks.append(Block(text, 0, is_item, pages))
    return blocks


def _goes_on(text: str, blocks: list[Block]) -> bool:
    """Tell whether text is a list within an item, whose bullets are drawn: it goes on with the item's sentence."""
    return bool(blocks) and blocks[-1].item and text[:1].islower() and not TERMINAL.search(blocks[-1].text)


def _look(lines: list[PdfLine]) -> Look:
    sizes: Counter[tuple[float, bool]] = Counter()
    gaps: Counter[float] = Counter()
    for line in lines:
        sizes[round(line.size, 1), line.bold] += len(line.text)
    size, bold = sizes.most_common(1)[0][0]
    for line, after in zip(lines, [*lines[1:], None], strict=True):
        if after and (after.page, after.flow) == (line.page, line.flow) and abs(line.size - size) < 0.3:
            gaps[round((line.base - after.base) * 2) / 2] += 1
    likely = [(gap, count) for gap, count in gaps.items() if 0.8 * size < gap < 2.5 * size]
    leading = max(likely, key=lambda entry: (entry[1], -entry[0]))[0] if likely else 1.2 * size
    return Look(size, bold, leading, _rights(lines))


def _rights(lines: list[PdfLine]) -> dict[tuple[int, int], float]:
    """Return the right end of each column, by page and flow: the furthest among the columns in the same place."""
    places: dict[tuple[int, int], tuple[int, float]] = {}
    for line in lines:
        columns, left = places.get((line.page, line.flow), (line.columns, line.left))
        places[line.page, line.flow] = (columns, min(left, line.left))
    rounded = {key: (columns, round(left / 12)) for key, (columns, left) in places.items()}
    furthest: dict[tuple[int, int], float] = {}
    for line in lines:
        place = rounded[line.page, line.flow]
        furthest[place] = max(furthest.get(place, line.right), line.right)
    return {key: furthest[place] for key, place in rounded.items()}


def _vocabulary(lines: list[PdfLine]) -> set[str]:
    """Return the words that stand within lines, to tell ``con-duct`` from ``co-operate`` at a line's end."""
    words: set[str] = set()
    for line in lines:
        found = _WORD_PATTERN.findall(line.text.casefold())
        words.update(found[1:-1])
    return words


def _style(line: PdfLine) -> tuple[float, bool]:
    return round(line.size * 2) / 2, line.bold


def _stands_out(line: PdfLine, look: Look) -> bool:
    larger = line.size > LARGER * look.size
    return not line.table and (larger or (line.bold and not look.bold and line.size > SMALLER * look.size))


def _is_heading(group: list[PdfLine], look: Look) -> bool:
    """Tell whether a group of lines looks like a heading: it stands out, is short, and is no sentence in bold."""
    if not _stands_out(group[0], look) or len(group) > HEADING_LINES:
        return False
    text = " ".join(line.text for line in group)
    if len(text.split()) > _HEADING_WORDS or BULLET.match(text) or not any(c.isalpha() for c in text):
        return False
    return text[-1] not in ".;," or len(text.split()) <= 3 or group[0].size > LARGER * look.size


def _groups(lines: list[PdfLine], small: set[int], look: Look) -> Iterator[list[PdfLine]]:
    """Yield the lines of each heading, paragraph, list item and table; footnotes wait for the end of a paragraph."""
    group: list[PdfLine] = []
    notes: list[PdfLine] = []
    for line in lines:
        if id(line) in small:
            notes.append(line)
            continue
        if group and _begins(group, line, look):
            yield group
            group = []
            yield from note_groups(notes)
            notes = []
        group.append(line)
    if group:
        yield group
    yield from note_groups(notes)


def _begins(group: list[PdfLine], line: PdfLine, look: Look) -> bool:
    """Tell whether a line begins something new after the lines of a group."""
    last = group[-1]
    if line.table or last.table:
        return not (line.table and last.table and line.page == last.page)
    if abs(line.size - last.size) > 0.1 * look.size or _stands_out(line, look) != _stands_out(last, look):
        return True
    if (line.page, line.flow) != (last.page, last.flow):
        return _begins_column(group, line, look)
    gap = last.base - line.base
    if gap < 0 or gap > _GAP * max(look.leading * line.size / look.size, line.size):
        return True
    if _stands_out(line, look):
        return bool(
            ITEM_LABEL.match(line.text) or HEADING_DEPTH.match(line.text) or _is_label(line.text)
        ) and not _is_bare(last)
    return _begins_below(group, line, look)


def _begins_column(group: list[PdfLine], line: PdfLine, look: Look) -> bool:
    """Tell whether the first line of a column begins something new; a sentence that is not complete goes on there."""
    last = group[-1]
    if _stands_out(line, look) or _is_label(line.text) or BULLET.match(line.text):
        return True
    if not TERMINAL.search(last.text):
        return bool(ITEM_LABEL.match(line.text)) and _ended_early(last, line, look)
    return line.columns != last.columns or bool(ITEM_LABEL.match(line.text)) or _ended_early(last, line, look)


def _begins_below(group: list[PdfLine], line: PdfLine, look: Look) -> bool:
    """Tell whether a line close below the last one begins something new, by its marker, indent or room."""
    last, step = group[-1], INDENT * look.size
    early = _ended_early(last, line, look)
    if BULLET.match(line.text) or (early and (_is_label(last.text) or _is_label(line.text))):
        return True
    marked = ITEM_LABEL.match(line.text) is not None
    if marked and (early or TERMINAL.search(last.text) or abs(line.left - last.left) > step):
        return True
    listed = ITEM_LABEL.match(group[0].text) or BULLET.match(group[0].text)
    if len(group) > 1 and line.left > last.left + step:
        return True
    if listed and line.left < last.left - step and len(group) > 1:
        return True
    if not listed and len(group) == 1 and line.left > last.left + step and TERMINAL.search(last.text):
        return True
    return early and (TERMINAL.search(last.text) is not None or not line.text[0].islower())


def _ended_early(last: PdfLine, line: PdfLine, look: Look) -> bool:
    """Tell whether a line was ended on purpose: the next word would have fitted, with some room to spare."""
    return not LINE_HYPHEN.search(last.text) and last.right + line.first + 0.8 * last.size < look.right(last)


def _is_label(text: str) -> bool:
    """Tell whether a line is a label such as ``Article 5`` with a title at most."""
    label = read_section_label(text)
    if label is None or text[0].islower():
        return False
    return not label.rest or (count_words(label.rest) <= 10 and label.rest[-1] not in f".;,{WIDE_ENDS}")


def _is_bare(line: PdfLine) -> bool:
    label = read_section_label(line.text)
    return label is not None and not label.rest


def _joined(group: list[PdfLine], words: set[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return the text of a paragraph, with the offsets at which its pages begin."""
    text, pages = "", [(0, group[0].page)]
    for line in group:
        own = clean_text(line.text)
        if not text:
            own = BULLET.sub("- ", own, count=1) if BULLET.match(own) else own
        elif LINE_HYPHEN.search(text[-LONGEST_TAIL:]) and own[:1].isalnum():
            text = _unhyphenated(text, own, words)
        elif " " in join_lines(f"{text[-1]}\n{own[:1]}"):
            text += " "
        if line.page != pages[-1][1]:
            pages.append((len(text), line.page))
        text += own
    return text, tuple(pages)


def _unhyphenated(text: str, after: str, words: set[str]) -> str:
    """Return the text to which the next line is joined: without its last hyphen where that only divides a word."""
    tail, head = LINE_HYPHEN.search(text[-LONGEST_TAIL:]), FIRST_WORD.match(after)
    if tail is None or head is None or not after[0].islower() or not tail[1][-1].isalpha():
        return text
    left, right = tail[1].casefold(), head[0].casefold()
    if left in TENS_WORDS and right in _UNIT_WORDS:
        return text
    if left + right not in words and (f"{left}-{right}" in words or {left, right} <= words):
        return text
    return text[:-1]


def _rows(group: list[PdfLine]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return a table as one line a row."""
    return "\n".join(clean_text(line.text) for line in group), ((0, group[0].page),)
