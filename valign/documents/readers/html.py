"""HTML: what a reader sees of the main text, as blocks."""

from __future__ import annotations

import codecs
import re

from valign.documents.blocks import Source, clean_text, join_blocks
from valign.documents.left_out import Omissions
from valign.documents.readers.html_classes import apply_classes
from valign.documents.readers.html_notes import place_linked_notes
from valign.documents.readers.html_numbers import part_numbers
from valign.documents.readers.html_page import PageReader
from valign.documents.readers.html_parts import PageParts
from valign.documents.readers.html_tree import Tag, parse_page
from valign.documents.readers.text import decode

DECLARED = re.compile(
    rb"<meta\b[^<>]{0,500}?\bcharset\s*=\s*[\"']?\s*([\w:.+-]{1,40})"
    rb"|^\s*<\?xml\b[^<>]{0,200}?\bencoding\s*=\s*[\"']([\w:.+-]{1,40})",
    re.IGNORECASE,
)
DECLARED_WITHIN = 8192
ENCODINGS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
} | {
    name: name
    for name in (
        "cp866 cp874 cp932 cp949 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 big5hkscs gb18030 "
        "euc_jp iso2022_jp koi8-r koi8-u mac-roman mac-cyrillic iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 "
        "iso8859-7 iso8859-8 iso8859-10 iso8859-13 iso8859-14 iso8859-15 iso8859-16"
    ).split()
}
"""Python's codecs for the encodings of web pages; browsers read some as a larger one, and so do we."""


def read_html(raw: bytes, where: str) -> Source:
    """Read a page: its headings, paragraphs, lists and tables, without navigation, scripts and footers.

    The encoding is that of the byte order mark, else the one that the page declares, else UTF-8.

    Raises:
        ValignError: The package is missing, the bytes are not in the encoding, or the page is cut off.
    """
    return read_page(decode(raw, where, _declared(raw)), Omissions(), where)


def read_page(text: str, omissions: Omissions, where: str = "The text") -> Source:
    """Read the characters of a page.

    Args:
        text: The page.
        omissions: Takes what is left out.
        where: The page's name, for messages.

    Raises:
        ValignError: The package is missing, or the page is cut off.
    """
    top = parse_page(text, where)
    part_numbers(top, text)
    apply_classes(top)
    place_linked_notes(top, omissions)
    parts = PageParts(top)
    title = None if parts.title is None else _words(parts.title)
    if parts.main is not None and not any(tag.name == "h1" for tag in parts.main.walk()):
        first = next((tag for tag in top.walk() if tag.name == "h1"), None)
        title = (_words(first) if first else None) or title
    return join_blocks(PageReader(parts, omissions).blocks(top), title or None, omissions)


def _words(tag: Tag) -> str:
    return clean_text(" ".join(tag.text().split()))


def _declared(raw: bytes) -> str | None:
    """Return the codec of the encoding that a page declares, where there is one for text."""
    found = DECLARED.search(raw[:DECLARED_WITHIN])
    if found is None:
        return None
    try:
        return ENCODINGS.get(codecs.lookup((found[1] or found[2]).decode("ascii", "replace")).name)
    except LookupError:
        return None
