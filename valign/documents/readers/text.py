"""Plain text: bytes to characters."""

from __future__ import annotations

import codecs
import re

from valign.core.errors import ValignError
from valign.documents.blocks import CONTROL, LIGATURES, Source
from valign.documents.left_out import Omissions, Reason
from valign.documents.readers.front_matter import split_front_matter
from valign.documents.readers.text_pages import join_pages

MAGIC = {
    b"%PDF-": "a PDF file; rename it to end in .pdf",
    b"PK\x03\x04": "a ZIP or Office file; rename a Word file to end in .docx",
    b"\xd0\xcf\x11\xe0": "an old or encrypted Office file; save it as .docx without a password",
    b"{\\rtf": "an RTF file; save it as .docx",
}
UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
LINE_END = re.compile("\r\n?|[\v\x1c-\x1e\x85\u2028]")
OVERSTRUCK = re.compile("[^\n\b]\b")
"""A letter that a printer prints over, as manual pages make bold and underlined words."""
TERMINAL_CODE = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]{0,500}(?:\x07|\x1b\\)")
"""What colours words in a terminal, or links them."""
UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def read_text(raw: bytes, where: str) -> Source:
    """Read a text in UTF-8, with or without a byte order mark, or in UTF-16 with one, without its front matter.

    Raises:
        ValignError: The bytes are another encoding or no text.
    """
    omissions = Omissions()
    front = split_front_matter(join_pages(_read_lines(raw, where), omissions), is_markdown=False)
    omissions.add(Reason.FRONT_MATTER, front.text)
    text = CONTROL.sub("", OVERSTRUCK.sub("", front.rest).translate(LIGATURES))
    return Source(text, front.title, left_out=omissions.counts())


def read_characters(raw: bytes, where: str) -> str:
    """Return the characters of a text or Markdown file, with LF line ends.

    Raises:
        ValignError: The bytes are another encoding or no text.
    """
    return _read_lines(raw, where).replace("\f", "\n")


def _read_lines(raw: bytes, where: str) -> str:
    for magic, wrong in MAGIC.items():
        if raw.startswith(magic):
            raise ValignError(f"{where} is no text but {wrong}.")
    return plain_lines(decode(raw, where))


def decode(raw: bytes, where: str, fallback: str | None = None) -> str:
    """Return the characters, without a byte order mark.

    Args:
        raw: The file.
        where: Its name, for messages.
        fallback: The encoding that the file itself declares; it counts where there is no byte order mark.
    """
    if raw.startswith(UTF32):
        raise ValignError(f"{where} is UTF-32, which is not supported; save it as UTF-8.")
    if encoding := UTF16.get(raw[:2]):
        try:
            return raw[2:].decode(encoding)
        except UnicodeDecodeError as error:
            raise ValignError(f"{where} is broken UTF-16 (byte {error.start + 2}); save it as UTF-8.") from None
    if (nul := raw.find(b"\0")) >= 0:
        raise ValignError(f"{where} is binary or UTF-16 without its mark (NUL at byte {nul}); save it as UTF-8 text.")
    encoding = "utf-8" if fallback is None or raw.startswith(codecs.BOM_UTF8) else fallback
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8" else encoding
        raise ValignError(f"{where} is not {name} text (byte {error.start}); save it as UTF-8.") from None


def plain_lines(text: str) -> str:
    """Return the text with LF line ends, without a terminal's colours; a form feed stays where a page begins.

    Unicode's paragraph separator begins a paragraph.
    """
    return LINE_END.sub("\n", TERMINAL_CODE.sub("", text)).replace("\u2029", "\n\n")
