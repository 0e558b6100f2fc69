"""HTML: what a reader sees of the main text, as blocks."""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Iterator
from typing import Any

from valign.documents.blocks import Block, Source, clean_text, join_blocks, missing_package
from valign.documents.left_out import Omissions
from valign.documents.readers.text import decode

DROPPED = frozenset(
    "script style nav footer noscript template head svg math iframe object audio video canvas button select textarea "
    "input dialog".split()
)
DROPPED_ROLES = frozenset(("navigation", "contentinfo", "banner", "search", "menu"))
RUNNING = frozenset(("header", "footer"))  # of a page, as LibreOffice marks them
INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden")
_HEADING = re.compile(r"h[1-6]")
BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure form h1 h2 "
    "h3 h4 h5 h6 header hr html legend li main ol p pre section summary table tbody tfoot thead tr ul".split()
)
BREAK = "\v"
SPACE = re.compile(r"[ \t\r\n\f\xa0]+")


def read_html(raw: bytes, where: str) -> Source:
    """Read a page: its headings, paragraphs, lists and tables, without navigation, scripts and footers.

    The encoding is that of the byte order mark, else the one that the page declares, else UTF-8.

    Raises:
        ValignError: The package is missing, or the bytes are not in the encoding.
    """
    try:
        from bs4.dammit import EncodingDetector
    except ImportError:
        raise missing_package("HTML", "beautifulsoup4") from None
    text = decode(raw, where, _known(EncodingDetector.find_declared_encoding(raw, is_html=True)))
    return read_page(text, Omissions())


def read_page(text: str, omissions: Omissions) -> Source:
    """Read the characters of a page; what it leaves out is added to what is left out already."""
    try:
        from bs4 import BeautifulSoup
    except ImportError:
        raise missing_package("HTML", "beautifulsoup4") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        soup = BeautifulSoup(text, "html.parser")
    main = soup.find_all(lambda tag: tag.name == "main" or tag.get("role") == "main")
    root = main[0] if len(main) == 1 else soup
    title = None if soup.title is None else clean_text(soup.title.get_text(" ").replace("\n", " "))
    top = soup.h1 if root is not soup and root.find("h1") is None else None
    if top is not None:
        title = clean_text(SPACE.sub(" ", top.get_text(" "))) or title
    return join_blocks(_Page().blocks(root), title or None, omissions)


def _known(encoding: str | None) -> str | None:
    """Return the codec of a declared encoding; browsers read Latin-1 as Windows-1252, and so do we."""
    if encoding is None:
        return None
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        return None
    return {"iso8859-1": "cp1252", "ascii": "cp1252"}.get(name, None if name.startswith("utf") else name)


class _Page:
    """Gathers the text between the tags into blocks, going through the tree without recursion."""

    def __init__(self) -> None:
        self.buffer: list[str] = []
        self.lists: list[int | None] = []
        self.marker = ""
        self.level = 0
        self.pre = 0
        self.cells: list[str] | None = None
        self.rows: list[str] = []
        self.layout: list[bool] = []

    def blocks(self, root: Any) -> Iterator[Block]:
        """Yield the blocks below a tag."""
        stack = [(root, False)]
        while stack:
            node, closing = stack.pop()
            if closing:
                yield from self._close(node)
            elif getattr(node, "name", None) is None:
                if type(node).__name__ == "NavigableString":
                    self.buffer.append(node.replace("\n", BREAK) if self.pre else SPACE.sub(" ", node))
            elif not _dropped(node):
                yield from self._open(node)
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(node.contents))
        yield from self._flush()

    def _open(self, tag: Any) -> Iterator[Block]:
        name = tag.name
        if name in BLOCKS or name in ("td", "th"):
            yield from self._flush()
        if _HEADING.fullmatch(name):
            self.level = int(name[1])
        elif name in ("ul", "ol", "menu"):
            self.lists.append(_whole(tag.get("start"), 1) - 1 if name == "ol" else None)
        elif name == "li":
            self.marker = self._next_marker(tag)
        elif name == "pre":
            self.pre += 1
        elif name == "br":
            self.buffer.append(BREAK)
        elif name == "table":
            self.layout.append(tag.find(["table", "h1", "h2", "h3", "h4", "ul", "ol"]) is not None)
        elif name == "tr" and self.layout and not self.layout[-1]:
            self.cells = []

    def _close(self, tag: Any) -> Iterator[Block]:
        name = tag.name
        if name in ("td", "th") and self.cells is not None:
            self.cells.append(clean_text(SPACE.sub(" ", "".join(self.buffer).replace(BREAK, " "))))
            self.buffer = []
            return
        if name == "tr" and self.cells is not None:
            if row := clean_text(" | ".join(self.cells)).rstrip(" |"):
                self.rows.append(row)
            self.cells = None
        if name in BLOCKS or name in ("td", "th"):
            yield from self._flush()
        if _HEADING.fullmatch(name):
            self.level = 0
        elif name in ("ul", "ol", "menu") and self.lists:
            self.lists.pop()
        elif name == "li":
            self.marker = ""
        elif name == "pre":
            self.pre -= 1
        elif name == "table" and self.layout:
            self.layout.pop()
            if self.rows:
                yield Block("\n".join(self.rows))
                self.rows = []

    def _next_marker(self, tag: Any) -> str:
        count = self.lists[-1] if self.lists else None
        if count is None:
            return "- "
        self.lists[-1] = _whole(tag.get("value"), count + 1)
        return f"{self.lists[-1]}. "

    def _flush(self) -> Iterator[Block]:
        """End the block; within a table's cell a new block is only a space."""
        if self.cells is not None:
            self.buffer.append(" ")
            return
        text, self.buffer = "".join(self.buffer), []
        for part in re.split(rf"\s*{BREAK}\s*{BREAK}\s*", text.strip()):
            lines = [line for line in map(clean_text, part.split(BREAK)) if line]
            if not lines:
                continue
            if self.level:
                yield Block(" ".join(lines), self.level)
            elif self.lists:
                indent = "  " * (len(self.lists) - 1)
                marker, self.marker = self.marker or "   ", ""
                yield Block(
                    "\n".join([f"{indent}{marker}{lines[0]}", *(f"{indent}   {li}" for li in lines[1:])]), 0, True
                )
            else:
                yield Block("\n".join(lines), verbatim=self.pre > 0)


def _dropped(tag: Any) -> bool:
    """Tell whether a tag holds nothing that a reader of the text sees."""
    return (
        tag.name in DROPPED
        or tag.get("hidden") is not None
        or tag.get("role") in DROPPED_ROLES
        or (tag.name == "div" and tag.get("title") in RUNNING)
        or tag.get("aria-hidden") == "true"
        or INVISIBLE.search(tag.get("style") or "") is not None
    )


def _whole(value: str | None, default: int) -> int:
    return int(value) if value is not None and re.fullmatch(r"-?\d{1,6}", value) else default
