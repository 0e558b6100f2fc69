"""PDF files for tests, drawn line by line, so that each line's place is known."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

WIDTH, HEIGHT = 595, 842
FONTS = {"": "Times-Roman", "b": "Times-Bold", "i": "Times-Italic", "m": "Courier"}

Text = tuple[Any, ...]


def pdf(*pages: Iterable[Text], **options: Any) -> bytes:
    """Return a PDF. Each text is (left, baseline from the bottom, words[, size 10[, font of FONTS]])."""
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(WIDTH, HEIGHT), invariant=1, **options)
    for page in pages:
        for text in page:
            left, base, words = text[:3]
            size = text[3] if len(text) > 3 else 10
            font = text[4] if len(text) > 4 else ""
            canvas.setFont(FONTS[font], size)
            canvas.drawString(left, base, words)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def column(lines: list[str], left: float = 72, top: float = 760, step: float = 12) -> list[Text]:
    """Return lines of body text below each other."""
    return [(left, top - step * index, line) for index, line in enumerate(lines)]
