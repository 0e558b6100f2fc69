"""Comments on a PDF page and the fields of a form: counted, as they are no text of the page."""

from __future__ import annotations

import ctypes
from typing import Any

from valign.documents.left_out import Omissions, Reason

FORM_FIELD = 20
WITHOUT_WORDS = frozenset((2, 16))  # links, and the windows of comments, which repeat them
LONGEST_VALUE = 1 << 20


def count_annotations(page: Any, omissions: Omissions) -> None:
    """Count what the comments and the form fields of a page say.

    Args:
        page: A ``pypdfium2.PdfPage``.
        omissions: Takes the words.
    """
    from pypdfium2 import raw

    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if kind == FORM_FIELD:
            omissions.add(Reason.CONTROL, _value(annotation, b"V"))
        elif kind not in WITHOUT_WORDS:
            omissions.add(Reason.COMMENT, _value(annotation, b"Contents"))
        raw.FPDFPage_CloseAnnot(annotation)


def _value(annotation: Any, key: bytes) -> str:
    """Return a text in the dictionary of an annotation."""
    from pypdfium2 import raw

    size = min(raw.FPDFAnnot_GetStringValue(annotation, key, None, 0), LONGEST_VALUE)
    buffer = ctypes.create_string_buffer(size)
    raw.FPDFAnnot_GetStringValue(annotation, key, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), size)
    return buffer.raw[:size].decode("utf-16-le", "ignore").rstrip("\0")
