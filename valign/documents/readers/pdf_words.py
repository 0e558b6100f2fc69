"""The words on a PDF page, with their positions, from the page's text layer."""

from __future__ import annotations

import ctypes
import math
import re
from collections import Counter
from typing import Any, NamedTuple

from valign.documents.raised import place_raised

BOLD_NAME = re.compile(r"bold|black|heavy|semibd|demi", re.IGNORECASE)
BOLD_WEIGHT = 600
HYPHEN = 0x2
SPACE_CODES = frozenset((0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0xA0, 0x3000))
QUARTER_TURN = math.pi / 2
TILT = 0.1
RAISED, SMALL = 0.15, 0.85
RAISED_CHARS = frozenset("0123456789+-\u2212\u2013,*†‡")
STROKES = frozenset("/\u2044\u2215")
NEAR = 0.6
UNPAINTED = (3, 7)  # modes of text that only places or clips
FARTHEST = 14_400.0  # points: the largest page that PDF allows
RIGHT_TO_LEFT = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")


class Word(NamedTuple):
    """A word: its left and right end and its baseline (upwards), in points along the direction of the page's text."""

    text: str
    left: float
    right: float
    base: float
    size: float
    bold: bool


class _Style(NamedTuple):
    size: float
    bold: bool
    angle: float
    is_seen: bool


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
    turned: list[str] = []
    for word, style in found:
        straight = abs(_apart(style.angle, main * QUARTER_TURN)) < TILT
        near = max(abs(word.left), abs(word.right), abs(word.base), word.size) <= FARTHEST
        if straight and near and _is_within(word, style.angle, box):
            (kept if style.is_seen else unseen).append(word)
        else:
            turned.append(word.text)
    reverse = sum(len(RIGHT_TO_LEFT.findall(word.text)) for word in kept + unseen)
    return PageWords(kept, reader.letters, reader.unknown, reverse, reader.marks, turned, unseen)


def _is_within(word: Word, angle: float, box: tuple[float, float, float, float]) -> bool:
    """Tell whether any of a word is on the page."""
    corners = [_turned(x, y, angle) for x in box[::2] for y in box[1::2]]
    across, up = [x for x, _ in corners], [y for _, y in corners]
    return (
        word.right > min(across) and word.left < max(across) and word.base + word.size > min(up) and word.base < max(up)
    )


def _apart(angle: float, other: float) -> float:
    return (angle - other + math.pi) % (2 * math.pi) - math.pi


class _Reader:
    """Splits the characters of a page into words; asks for a position only where a word begins or ends."""

    def __init__(self, text_page: Any) -> None:
        from pypdfium2 import raw

        self.raw = raw
        self.page = text_page
        self.styles: dict[int, _Style] = {}
        self.letters = 0
        self.unknown = 0
        self.marks: list[str] = []

    def words(self) -> list[tuple[Word, _Style]]:
        """Return the words in the order of the page's content, with the style of their first letter."""
        words: list[tuple[Word, _Style]] = []
        letters: list[str] = []
        first = last = foot = 0
        index, count = 0, self.page.count_chars()

        def finish() -> None:
            if letters:
                words.append(self._word(letters, first, last, foot))
                letters.clear()

        while index < count:
            code = self._code(index)
            if code in SPACE_CODES:
                finish()
                index += 1
                continue
            end = self._raised_end(letters, words, last, index, count)
            if end > index:
                run = "".join(self._character(k) for k in range(index, end) if self._code(k) not in SPACE_CODES)
                self.letters += len(run)
                before = "".join(letters) or f"{words[-1][0].text} "
                stroke = self._stroke_behind(end, count)
                placed = f" {run}" if stroke else place_raised(before, run)
                if placed is not None and placed != placed.strip():
                    finish()
                if placed is None:
                    self.marks.append(run)
                else:
                    if not letters:
                        first, foot = index, last
                    letters.extend(placed.strip())
                    last = end - 1
                index = stroke or end
                continue
            self.letters += 1
            self.unknown += code in (0, 0xFFFD) or 0xE000 <= code <= 0xF8FF
            if not letters:
                first = foot = index
            last = index
            letters.append(self._character(index))
            if code == HYPHEN:
                finish()
            index += 1
        finish()
        return words

    def _code(self, index: int) -> int:
        return int(self.raw.FPDFText_GetUnicode(self.page, index))

    def _character(self, index: int) -> str:
        code = self._code(index)
        return "-" if code == HYPHEN else chr(code)

    def _raised_end(self, letters: list[str], words: list[Any], last: int, index: int, count: int) -> int:
        """Return the index behind a number or sign that is smaller and higher than what it stands behind."""
        if not (letters or words) or not self._is_raised(index, last) or self._code(index) == HYPHEN:
            return index
        if not letters:
            own, before = self._style(index), self._style(last)
            gap = self._origin(index, own.angle)[0] - words[-1][0].right
            if not -before.size < gap < NEAR * before.size:
                return index
        end = index + 1
        while end < count and self._is_raised(end, last):
            end += 1
        if end < count and self._character(end).isalpha() and self._style(end).size <= self._style(index).size:
            return index
        return end

    def _is_raised(self, index: int, last: int) -> bool:
        if self._character(index) not in RAISED_CHARS:
            return False
        before, own = self._style(last), self._style(index)
        if own.size >= SMALL * before.size or own.angle != before.angle:
            return False
        rise = self._origin(index, own.angle)[1] - self._origin(last, own.angle)[1]
        return RAISED * before.size < rise < before.size

    def _stroke_behind(self, end: int, count: int) -> int:
        """Return the index of a stroke that follows closely, for a fraction; 0 where there is none.

        The library may see a line end or a space between them.
        """
        after = end
        while after < count and self._code(after) in SPACE_CODES:
            after += 1
        if after >= count or self._character(after) not in STROKES:
            return 0
        own = self._style(end - 1)
        near = abs(self._origin(after, own.angle)[0] - self._origin(end - 1, own.angle)[0]) < 0.75 * own.size
        return after if near else 0

    def _word(self, letters: list[str], first: int, last: int, foot: int) -> tuple[Word, _Style]:
        """Return a word from its first to its last letter, on the line of the letter ``foot``."""
        style = self._style(foot)
        left, base = self._origin(first, style.angle)[0], self._origin(foot, style.angle)[1]
        box = self.page.get_charbox(last, loose=True)
        ends = [box[2]] if not style.angle else [_turned(x, y, style.angle)[0] for x in box[::2] for y in box[1::2]]
        text = "".join(letters).encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
        return Word(text, left, max(left, *ends), base, style.size, style.bold), style

    def _origin(self, index: int, angle: float) -> tuple[float, float]:
        x, y = ctypes.c_double(), ctypes.c_double()
        self.raw.FPDFText_GetCharOrigin(self.page, index, x, y)
        return _turned(x.value, y.value, angle)

    def _style(self, index: int) -> _Style:
        """Return size, boldness and direction of a letter; letters of one text object share them."""
        raw = self.raw
        found = raw.FPDFText_GetTextObject(self.page, index)
        key = ctypes.cast(found, ctypes.c_void_p).value or -1
        if key not in self.styles:
            matrix = raw.FS_MATRIX()
            scale = 1.0
            if raw.FPDFText_GetMatrix(self.page, index, matrix):
                scale = math.hypot(matrix.c, matrix.d) or 1.0
            size = raw.FPDFText_GetFontSize(self.page, index) * scale
            bold = raw.FPDFText_GetFontWeight(self.page, index) >= BOLD_WEIGHT
            if not bold and found:
                bold = BOLD_NAME.search(self._font_name(found)) is not None
            is_seen = not found or raw.FPDFTextObj_GetTextRenderMode(found) not in UNPAINTED
            angle = raw.FPDFText_GetCharAngle(self.page, index)
            self.styles[key] = _Style(round(size, 1) or 1.0, bold, angle, is_seen)
        return self.styles[key]

    def _font_name(self, text_object: Any) -> str:
        font = self.raw.FPDFTextObj_GetFont(text_object)
        if not font:
            return ""
        buffer = ctypes.create_string_buffer(128)
        self.raw.FPDFFont_GetBaseFontName(font, buffer, len(buffer))
        return buffer.value.decode("utf-8", "ignore")


def _turned(x: float, y: float, angle: float) -> tuple[float, float]:
    """Return a point's place along, and above, text that is turned clockwise by an angle."""
    if not angle:
        return x, y
    cos, sin = math.cos(angle), math.sin(angle)
    return x * cos - y * sin, x * sin + y * cos
