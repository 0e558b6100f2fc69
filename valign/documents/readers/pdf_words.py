"""The words on a PDF page, with their positions, from the page's text layer."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any, NamedTuple

from valign.documents.raised import place_lowered, place_raised
from valign.documents.readers.pdf_letters import HYPHEN, LetterStyle, PageLetters, turned

SPACE_CODES = frozenset((0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0xA0, 0x3000))
QUARTER_TURN = math.pi / 2
TILT = 0.1
RAISED_CHARS = frozenset("0123456789+-\u2212\u2013,*†‡()[]")
STROKES = frozenset("/\u2044\u2215")
NEAR, TOUCHING = 0.6, 0.1
FARTHEST = 14_400.0  # points: the largest page that PDF allows
RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")


class Word(NamedTuple):
    """A word: its left and right end and its baseline (upwards), in points along the direction of the page's text.

    ``marks`` are those of the notes that it cites.
    """

    text: str
    left: float
    right: float
    base: float
    size: float
    bold: bool
    marks: str = ""


class PageWords(NamedTuple):
    """The words of a page.

    Attributes:
        words: Those that run in its main direction.
        letters: The number of its letters, those of other directions too.
        unknown: How many of the letters have no known meaning.
        reversed: How many are of scripts that run from right to left.
        marks: The marks of notes, which are in no word.
        turned: The words across the page, and those outside of it.
        unseen: Those that are not painted, as of the text below a scanned picture.
    """

    words: list[Word]
    letters: int
    unknown: int
    reversed: int
    marks: list[str]
    turned: list[str]
    unseen: list[Word]


def page_words(text_page: Any, box: tuple[float, float, float, float]) -> PageWords:
    """Return the words that run in the page's main direction; stamps across the page are left out.

    Args:
        text_page: A ``pypdfium2.PdfTextPage``.
        box: What of the page is shown: left, bottom, right and top, in points.
    """
    reader = _Reader(text_page)
    found = reader.words()
    turns = Counter[int]()
    for word, style in found:
        turns[round(style.angle / QUARTER_TURN) % 4] += len(word.text)
    main = turns.most_common(1)[0][0] if turns else 0
    kept: list[Word] = []
    unseen: list[Word] = []
    apart: list[str] = []
    for word, style in found:
        straight = abs(_apart(style.angle, main * QUARTER_TURN)) < TILT
        near = max(abs(word.left), abs(word.right), abs(word.base), word.size) <= FARTHEST
        if straight and near and _is_within(word, style.angle, box):
            (kept if style.is_seen else unseen).append(word)
        else:
            apart.append(word.text)
    reverse = sum(len(RIGHT_TO_LEFT.findall(word.text)) for word in kept + unseen)
    return PageWords(kept, reader.letters, reader.unknown, reverse, reader.marks, apart, unseen)


def _is_within(word: Word, angle: float, box: tuple[float, float, float, float]) -> bool:
    """Tell whether any of a word is on the page."""
    corners = [turned(x, y, angle) for x in box[::2] for y in box[1::2]]
    across, up = [x for x, _ in corners], [y for _, y in corners]
    return (
        word.right > min(across) and word.left < max(across) and word.base + word.size > min(up) and word.base < max(up)
    )


def _apart(angle: float, other: float) -> float:
    return (angle - other + math.pi) % (2 * math.pi) - math.pi


class _Reader(PageLetters):
    """Splits the characters of a page into words; asks for a position only where a word begins or ends."""

    def __init__(self, text_page: Any) -> None:
        super().__init__(text_page)
        self.letters = 0
        self.unknown = 0
        self.marks: list[str] = []

    def words(self) -> list[tuple[Word, LetterStyle]]:
        """Return the words in the order of the page's content, with the style of their first letter."""
        words: list[tuple[Word, LetterStyle]] = []
        letters: list[str] = []
        marks: list[str] = []
        first = last = foot = 0
        index, count = 0, self.page.count_chars()

        def finish() -> None:
            if letters:
                word, style = self._word(letters, first, last, foot)
                words.append((word._replace(marks=" ".join(marks)), style))
                letters.clear()
                marks.clear()

        while index < count:
            code = self.code(index)
            if code in SPACE_CODES:
                finish()
                index += 1
                continue
            end = self._raised_end(letters, words, last, index, count)
            if end > index:
                run = "".join(self.character(k) for k in range(index, end) if self.code(k) not in SPACE_CODES)
                self.letters += len(run)
                before = "".join(letters) or f"{words[-1][0].text} "
                stroke = self._stroke_behind(end, count)
                placed = f" {run}" if stroke else place_raised(before, run)
                if placed is not None and placed != placed.strip():
                    finish()
                if placed is None:
                    self._cite(run, words, marks if letters else None)
                else:
                    if not letters:
                        first, foot = index, last
                    letters.extend(placed.strip())
                    last = end - 1
                index = stroke or self._behind_seen_space(end, count)
                continue
            self._count(code)
            if letters and self._sinks(letters, last, index):
                foot = index
                finish()
            if not letters:
                first = foot = index
            is_lowered = bool(letters) and letters[-1].isdigit() and self.is_below(index, foot)
            last = index
            letters.append(place_lowered(letters[-1], self.character(index)) if is_lowered else self.character(index))
            if code == HYPHEN:
                finish()
            index += 1
        finish()
        return words

    def _count(self, code: int) -> None:
        self.letters += 1
        self.unknown += code in (0, 0xFFFD) or 0xE000 <= code <= 0xF8FF

    def _cite(self, mark: str, words: list[tuple[Word, LetterStyle]], marks: list[str] | None) -> None:
        """Note the mark of a note for the word that is being read, or else for the last one."""
        self.marks.append(mark)
        if marks is not None:
            marks.append(mark)
        else:
            word, style = words[-1]
            words[-1] = (word._replace(marks=f"{word.marks} {mark}"), style)

    def _raised_end(self, letters: list[str], words: list[Any], last: int, index: int, count: int) -> int:
        """Return the index behind a number or sign that is smaller and higher than what it stands behind."""
        if not (letters or words) or self.code(index) == HYPHEN:
            return index
        if not self._is_raised(index, last) and not self._is_raised_letter(letters, last, index):
            return index
        if not letters:
            own, before = self.style_of(index), self.style_of(last)
            gap = self.origin(index, own.angle)[0] - words[-1][0].right
            if not -before.size < gap < NEAR * before.size:
                return index
        end = index + 1
        while end < count and self._is_raised(end, last):
            end += 1
        if end < count and self.character(end).isalpha() and self.style_of(end).size <= self.style_of(index).size:
            return index
        return end

    def _is_raised(self, index: int, last: int) -> bool:
        return self.character(index) in RAISED_CHARS and self.is_above(index, last)

    def _is_raised_letter(self, letters: list[str], last: int, index: int) -> bool:
        """Tell whether a letter can be the mark of a note behind a number."""
        return (
            letters[-1:] != []
            and letters[-1].isdigit()
            and self.character(index).islower()
            and self.is_above(index, last)
        )

    def _sinks(self, letters: list[str], last: int, index: int) -> bool:
        """Tell whether all letters before this one are the raised number or sign with which a note begins."""
        is_number = RAISED_CHARS.issuperset(letters) and self.character(index) not in STROKES
        return is_number and self.is_above(last, index)

    def _behind_seen_space(self, end: int, count: int) -> int:
        """Return the index behind raised text, and behind a space that the library only saw there: ``(m²)``."""
        after = end
        while (
            after < count and self.code(after) in SPACE_CODES and self.raw.FPDFText_IsGenerated(self.page, after) == 1
        ):
            after += 1
        if after in (end, count) or self.code(after) in SPACE_CODES:
            return end
        style = self.style_of(after)
        left, base = self.origin(after, 0.0)
        raised_right, raised_base = self.page.get_charbox(end - 1, loose=True)[2], self.origin(end - 1, 0.0)[1]
        is_close = abs(left - raised_right) < TOUCHING * style.size and 0 < raised_base - base < style.size
        return after if is_close and not style.angle else end

    def _stroke_behind(self, end: int, count: int) -> int:
        """Return the index of a stroke that follows closely, for a fraction; 0 where there is none.

        The library may see a line end or a space between them.
        """
        after = end
        while after < count and self.code(after) in SPACE_CODES:
            after += 1
        if after >= count or self.character(after) not in STROKES:
            return 0
        own = self.style_of(end - 1)
        near = abs(self.origin(after, own.angle)[0] - self.origin(end - 1, own.angle)[0]) < 0.75 * own.size
        return after if near else 0

    def _word(self, letters: list[str], first: int, last: int, foot: int) -> tuple[Word, LetterStyle]:
        """Return a word from its first to its last letter, on the line of the letter ``foot``."""
        style = self.style_of(foot)
        left, base = self.origin(first, style.angle)[0], self.origin(foot, style.angle)[1]
        box = self.page.get_charbox(last, loose=True)
        ends = [box[2]] if not style.angle else [turned(x, y, style.angle)[0] for x in box[::2] for y in box[1::2]]
        text = "".join(letters).encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
        return Word(text, left, max(left, *ends), base, style.size, style.bold), style
