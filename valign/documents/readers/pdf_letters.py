"""The letters of a PDF page, one by one: what they are, where they stand and how they look."""

from __future__ import annotations

import ctypes
import math
import re
from typing import Any, NamedTuple

BOLD_NAME = re.compile(r"bold|black|heavy|semibd|demi", re.IGNORECASE)
BOLD_WEIGHT = 600
HYPHEN = 0x2
RAISED, SMALL = 0.15, 0.85
FAR_RAISED = 0.25
"""What is raised that far, in sizes of the letters beside it, need not be smaller."""
UNPAINTED = (3, 7)  # modes of text that only places or clips


class LetterStyle(NamedTuple):
    """Size in points, boldness, the angle of the text's direction, clockwise, and whether it is painted."""

    size: float
    bold: bool
    angle: float
    is_seen: bool


class PageLetters:
    """Gives access to the letters of a page by their index.

    Args:
        text_page: A ``pypdfium2.PdfTextPage``.
    """

    def __init__(self, text_page: Any) -> None:
        from pypdfium2 import raw

        self.raw = raw
        self.page = text_page
        self.styles: dict[int, LetterStyle] = {}

    def code(self, index: int) -> int:
        """Return a letter's number in Unicode, 0 where it has none."""
        return int(self.raw.FPDFText_GetUnicode(self.page, index))

    def character(self, index: int) -> str:
        """Return a letter; the hyphen that divides a word at a line's end is a plain one."""
        code = self.code(index)
        return "-" if code == HYPHEN else chr(code)

    def origin(self, index: int, angle: float) -> tuple[float, float]:
        """Return the left end of a letter's baseline, in points along, and above, text of this angle."""
        x, y = ctypes.c_double(), ctypes.c_double()
        self.raw.FPDFText_GetCharOrigin(self.page, index, x, y)
        return turned(x.value, y.value, angle)

    def style_of(self, index: int) -> LetterStyle:
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
            self.styles[key] = LetterStyle(round(size, 1) or 1.0, bold, angle, is_seen)
        return self.styles[key]

    def is_above(self, small: int, index: int) -> bool:
        """Tell whether a character is raised beside another one, and smaller than that or far above it."""
        return self._rises(small, index, 1)

    def is_below(self, small: int, index: int) -> bool:
        """Tell whether a character is lowered beside another one, and smaller."""
        return self._rises(small, index, -1)

    def _rises(self, small: int, index: int, sign: int) -> bool:
        placed, own = self.style_of(small), self.style_of(index)
        if placed.size > own.size or placed.angle != own.angle:
            return False
        rise = sign * (self.origin(small, own.angle)[1] - self.origin(index, own.angle)[1])
        least = RAISED if placed.size < SMALL * own.size else FAR_RAISED
        return least * own.size < rise < own.size

    def _font_name(self, text_object: Any) -> str:
        font = self.raw.FPDFTextObj_GetFont(text_object)
        if not font:
            return ""
        buffer = ctypes.create_string_buffer(128)
        self.raw.FPDFFont_GetBaseFontName(font, buffer, len(buffer))
        return buffer.value.decode("utf-8", "ignore")


def turned(x: float, y: float, angle: float) -> tuple[float, float]:
    """Return a point's place along, and above, text that is turned clockwise by an angle."""
    if not angle:
        return x, y
    cos, sin = math.cos(angle), math.sin(angle)
    return x * cos - y * sin, x * sin + y * cos
