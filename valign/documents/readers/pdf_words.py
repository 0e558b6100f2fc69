"""The words on a PDF page, with their positions, from the page's text layer."""

from __future__ import annotations

import ctypes
import math
import re
from collections import Counter
from typing import Any, NamedTuple

BOLD_NAME = re.compile(r"bold|black|heavy|semibd|demi", re.IGNORECASE)
BOLD_WEIGHT = 600
HYPHEN = 0x2
SPACE_CODES = frozenset((0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0xA0, 0x3000))
QUARTER_TURN = math.pi / 2
TILT = 0.1
RAISED, SMALL = 0.15, 0.85


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


class PageWords(NamedTuple):
    """The words of a page, the number of its letters, and how many of those have no known meaning."""

    words: list[Word]
    letters: int
    unknown: int


def page_words(text_page: Any) -> PageWords:
    """Return the words that run in the page's main direction; stamps across the page are left out.

    Args:
        text_page: A ``pypdfium2.PdfTextPage``.
    """
    reader = _Reader(text_page)
    found = [word for word in reader.words() if word is not None]
    if not found:
        return PageWords([], reader.letters, reader.unknown)
    turns = Counter[int]()
    for word, style in found:
        turns[round(style.angle / QUARTER_TURN) % 4] += len(word.text)
    main = turns.most_common(1)[0][0]
    kept = [word for word, style in found if abs(_apart(style.angle, main * QUARTER_TURN)) < TILT]
    return PageWords(kept, reader.letters, reader.unknown)


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

    def words(self) -> list[tuple[Word, _Style]]:
        """Return the words in the order of the page's content, with the style of their first letter."""
        raw, page = self.raw, self.page
        unicode_of = raw.FPDFText_GetUnicode
        words: list[tuple[Word, _Style]] = []
        letters: list[str] = []
        first = last = 0
        for index in range(page.count_chars()):
            code = unicode_of(page, index)
            if code in SPACE_CODES:
                if letters:
                    words.append(self._word(letters, first, last))
                    letters = []
                continue
            self.letters += 1
            if code in (0, 0xFFFD) or 0xE000 <= code <= 0xF8FF:
                self.unknown += 1
            if letters and code != HYPHEN and self._is_note_mark(code, letters, last, index):
                continue
            if not letters:
                first = index
            last = index
            letters.append("-" if code == HYPHEN else chr(code))
            if code == HYPHEN:
                words.append(self._word(letters, first, last))
                letters = []
        if letters:
            words.append(self._word(letters, first, last))
        return words

    def _is_note_mark(self, code: int, letters: list[str], last: int, index: int) -> bool:
        """Tell whether a digit is a footnote's mark: smaller and higher than the word that it stands behind."""
        if not 0x30 <= code <= 0x39 or not (letters[-1].isalpha() or letters[-1] in ".,;:)\"'”"):
            return False
        before, own = self._style(last), self._style(index)
        if own.size >= SMALL * before.size or sum(letter.isalpha() for letter in letters) < 3:
            return False
        return self._origin(index, own.angle)[1] - self._origin(last, own.angle)[1] > RAISED * before.size

    def _word(self, letters: list[str], first: int, last: int) -> tuple[Word, _Style]:
        style = self._style(first)
        left, base = self._origin(first, style.angle)
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
            self.styles[key] = _Style(round(size, 1) or 1.0, bold, raw.FPDFText_GetCharAngle(self.page, index))
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
