"""PDF files: page by page to lines, without running headers and footers, and from those to blocks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from valign.core.errors import ValignError
from valign.documents.blocks import Source, clean_text, join_blocks, missing_package
from valign.documents.left_out import Omissions, Reason
from valign.documents.readers.pdf_annotations import count_annotations
from valign.documents.readers.pdf_lines import PdfLine, page_lines
from valign.documents.readers.pdf_paragraphs import to_blocks
from valign.documents.readers.pdf_running import drop_running_lines
from valign.documents.readers.pdf_words import PageWords, page_words

log = logging.getLogger(__name__)

MAX_UNKNOWN = 0.2
MAX_REVERSED = 0.05
FEW_LETTERS = 5
PASSWORD_ERROR, SECURITY_ERROR = 4, 5


def read_pdf(raw: bytes, where: str, max_chars: int) -> Source:
    """Read the text layer of a PDF in reading order; one page at a time is open.

    Args:
        raw: The file.
        where: Its name, for messages.
        max_chars: The most characters that it may have.

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
        omissions = Omissions()
        lines = _lines(document, where, max_chars, omissions)
        title = clean_text(document.get_metadata_value("Title"))
    lines = drop_running_lines(lines, omissions, title)
    # What a PDF calls itself is often a file's name: it only confirms which heading is the title.
    return replace(join_blocks(to_blocks(lines) if lines else [], title, omissions), title=None)


def _lines(document: Any, where: str, max_chars: int, omissions: Omissions) -> list[PdfLine]:
    """Return the lines of all pages; those that are only pictures are named in a warning, or an error if all are."""
    lines: list[PdfLine] = []
    pictures: list[int] = []
    letters = unknown = reverse = 0
    for number in range(1, len(document) + 1):
        found, picture = _page(document, number, where, omissions)
        letters, unknown, reverse = letters + found.letters, unknown + found.unknown, reverse + found.reversed
        if letters > max_chars:
            raise ValignError(
                f"{where} has more than {max_chars:,} characters (at page {number}); split it into several files."
            )
        if found.letters < FEW_LETTERS and picture:
            pictures.append(number)
        try:
            lines.extend(page_lines(found.words, number))
        except ValignError as error:
            raise ValignError(f"{where}: page {number} has {error}") from None
        for mark in found.marks:
            omissions.add(Reason.NOTE_MARK, mark)
        for words in found.turned:
            omissions.add(Reason.TURNED, words)
    if reverse > MAX_REVERSED * letters:
        raise ValignError(
            f"{where} is written from right to left, which is not read from PDF; save it as .docx, .html or .txt."
        )
    if reverse:
        log.warning("%s: %d letters of a script from right to left; check the order of their words.", where, reverse)
    if unknown > MAX_UNKNOWN * letters:
        raise ValignError(f"{where}: its fonts do not tell which letters they show; run OCR on it (such as ocrmypdf).")
    if pictures and letters < FEW_LETTERS * len(document):
        raise ValignError(f"{where} holds pictures of pages without text (a scan); run OCR on it (such as ocrmypdf).")
    if pictures:
        named = ", ".join(map(str, pictures[:10])) + (", ..." if len(pictures) > 10 else "")
        log.warning("%s: pages without text, only pictures: %s; what they show is not read.", where, named)
    return lines


def _page(document: Any, number: int, where: str, omissions: Omissions) -> tuple[PageWords, bool]:
    """Return the words of a page, and whether it has few, and a picture."""
    import pypdfium2
    from pypdfium2 import raw

    try:
        page = document[number - 1]
    except pypdfium2.PdfiumError:
        raise ValignError(f"{where}: page {number} is damaged; open the file and print it to a new PDF.") from None
    try:
        text_page = page.get_textpage()
        try:
            found = page_words(text_page, page.get_bbox())
        finally:
            text_page.close()
        count_annotations(page, omissions)
        few = found.letters < FEW_LETTERS
        picture = (few or bool(found.unseen)) and (
            next(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None
        )
        if picture or len(found.unseen) > len(found.words):  # what is painted are pictures of these words
            found = found._replace(words=found.words + found.unseen)
        else:
            omissions.add(Reason.HIDDEN, " ".join(word.text for word in found.unseen))
        return found, few and picture
    finally:
        page.close()
