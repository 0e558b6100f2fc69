"""PDF files: page by page to lines, without running headers and footers, and from those to blocks."""

from __future__ import annotations

import logging
from typing import Any

from valign.core.errors import ValignError
from valign.documents.blocks import Source, join_blocks, missing_package
from valign.documents.readers.pdf_lines import PdfLine, page_lines
from valign.documents.readers.pdf_paragraphs import to_blocks
from valign.documents.readers.pdf_running import drop_running_lines
from valign.documents.readers.pdf_words import page_words

log = logging.getLogger(__name__)

MAX_UNKNOWN = 0.2
FEW_LETTERS = 5
PASSWORD_ERROR, SECURITY_ERROR = 4, 5


def read_pdf(raw: bytes, where: str, max_chars: int) -> Source:
    """Read the text layer of a PDF in reading order; one page at a time is open.

    Raises:
        ValignError: The package is missing, or the file is encrypted, damaged, scanned, too long, or its letters
            cannot be told.
    """
    try:
        import pypdfium2
    except ImportError:
        raise missing_package("PDF", "pypdfium2") from None
    if b"%PDF-" not in raw[:1024]:
        raise ValignError(f"{where} is not a PDF file; check what it is, and give it the suffix of its kind.")
    try:
        document = pypdfium2.PdfDocument(raw)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (PASSWORD_ERROR, SECURITY_ERROR):
            raise ValignError(f"{where} is encrypted; save a copy without a password.") from None
        raise ValignError(f"{where} is a damaged PDF, or is cut off; open it and print it to a new PDF.") from None
    with document:
        lines = _lines(document, where, max_chars)
    lines = drop_running_lines(lines)
    return join_blocks(to_blocks(lines)) if lines else Source("\n")


def _lines(document: Any, where: str, max_chars: int) -> list[PdfLine]:
    """Return the lines of all pages; those that are only pictures are named in a warning, or an error if all are."""
    lines: list[PdfLine] = []
    pictures: list[int] = []
    letters = unknown = 0
    for number in range(1, len(document) + 1):
        words, own, strange, picture = _page(document, number, where)
        letters, unknown = letters + own, unknown + strange
        if letters > max_chars:
            raise ValignError(
                f"{where} has more than {max_chars:,} characters (at page {number}); split it into several files."
            )
        if own < FEW_LETTERS and picture:
            pictures.append(number)
        lines.extend(page_lines(words, number))
    if unknown > MAX_UNKNOWN * letters:
        raise ValignError(f"{where}: its fonts do not tell which letters they show; run OCR on it (such as ocrmypdf).")
    if pictures and letters < FEW_LETTERS * len(document):
        raise ValignError(f"{where} holds pictures of pages without text (a scan); run OCR on it (such as ocrmypdf).")
    if pictures:
        named = ", ".join(map(str, pictures[:10])) + (", ..." if len(pictures) > 10 else "")
        log.warning("%s: pages without text, only pictures: %s; what they show is not read.", where, named)
    return lines


def _page(document: Any, number: int, where: str) -> tuple[list[Any], int, int, bool]:
    """Return the words of a page, the number of its letters and of the unknown ones, and whether it has a picture."""
    import pypdfium2
    from pypdfium2 import raw

    try:
        page = document[number - 1]
    except pypdfium2.PdfiumError:
        raise ValignError(f"{where}: page {number} is damaged; open the file and print it to a new PDF.") from None
    try:
        text_page = page.get_textpage()
        try:
            words, letters, unknown = page_words(text_page)
        finally:
            text_page.close()
        few = letters < FEW_LETTERS
        picture = few and next(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None
        return words, letters, unknown, picture
    finally:
        page.close()
