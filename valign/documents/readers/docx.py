"""Word files: headings, paragraphs, lists, tables and footnotes, as blocks."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any

from valign.core.errors import ValignError
from valign.documents.blocks import BULLET, Block, Source, clean_text, join_blocks, missing_package
from valign.documents.readers.docx_numbering import Numbering, W, child_value

MAX_UNPACKED = 200 * 1024 * 1024
MAX_RATIO = 200
RATIO_FROM = 10 * 1024 * 1024
MAX_TABLE_DEPTH = 20
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
SKIPPED = frozenset(f"{W}{name}" for name in ("del", "moveFrom", "pPr", "rPr", "txbxContent")) | {FALLBACK}
HEADING_STYLE = re.compile(r"heading ([1-9])", re.IGNORECASE)


def read_docx(raw: bytes, where: str) -> Source:
    """Read a Word file. Headers, footers, comments, deleted text and the table of contents are left out.

    A footnote stands in brackets behind the paragraph that refers to it. Pages are not kept: Word computes them
    when it shows the file.

    Raises:
        ValignError: The package is missing, or the file is encrypted, broken, too large or no Word file.
    """
    try:
        import docx
        from docx.oxml import parse_xml
    except ImportError:
        raise missing_package("Word", "python-docx") from None
    _check_archive(raw, where)
    try:
        document = docx.Document(io.BytesIO(raw))
        related = {rel.reltype.rsplit("/", 1)[-1]: rel for rel in document.part.rels.values() if not rel.is_external}
        parts = {
            kind: parse_xml(related[kind].target_part.blob) if kind in related else None
            for kind in ("numbering", "styles", "footnotes", "endnotes")
        }
        title = clean_text(document.core_properties.title or "")
        return join_blocks(_Reader(parts).blocks(document.element.body), title or None)
    except ValignError as error:
        raise ValignError(f"{where}: {error}") from None
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValignError(
            f"{where} is a damaged Word file ({reason[:120]}); open it in Word or LibreOffice and save it again."
        ) from None


def _check_archive(raw: bytes, where: str) -> None:
    """Refuse what is no Word file, or would unpack to more than is sensible."""
    if raw.startswith(b"\xd0\xcf\x11\xe0"):
        raise ValignError(f"{where} is encrypted or an old .doc file; save it as .docx without a password.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        raise ValignError(f"{where} is not a Word file, or is cut off; save it as .docx again.") from None
    members = archive.infolist()
    if "[Content_Types].xml" not in archive.namelist() or not any(m.filename.startswith("word/") for m in members):
        raise ValignError(f"{where} is a ZIP archive but not a Word file; give the .docx file itself.")
    if any(member.flag_bits & 1 for member in members):
        raise ValignError(f"{where} is encrypted; save a copy without a password.")
    total = sum(member.file_size for member in members)
    bomb = any(m.file_size > RATIO_FROM and m.file_size > MAX_RATIO * max(m.compress_size, 1) for m in members)
    if total > MAX_UNPACKED or bomb:
        raise ValignError(
            f"{where} unpacks to {total / 2**20:.0f} MB, which looks like a decompression bomb; at most "
            f"{MAX_UNPACKED >> 20} MB and {MAX_RATIO} times the packed size are read; save it without pictures."
        )
    for member in members:
        if member.filename.endswith((".xml", ".rels")) and b"<!DOCTYPE" in archive.read(member):
            raise ValignError(f"{where} has a document type definition in {member.filename}; save it in Word again.")


class _Reader:
    """Goes through the body of a Word file in reading order."""

    def __init__(self, parts: dict[str, Any]) -> None:
        self.numbering = Numbering(parts["numbering"])
        styles = [] if parts["styles"] is None else parts["styles"].iterfind(f"{W}style")
        self.styles = {style.get(f"{W}styleId"): style for style in styles}
        self.notes: dict[tuple[str, str], Any] = {}
        for kind in ("footnote", "endnote"):
            root = parts[f"{kind}s"]
            for note in () if root is None else root.iterfind(f"{W}{kind}"):
                self.notes[kind, note.get(f"{W}id", "")] = note

    def blocks(self, parent: Any, depth: int = 0) -> Iterator[Block]:
        """Yield the blocks of a body, a cell or a text box."""
        for child in parent:
            if child.tag == f"{W}p":
                yield from self._paragraph(child, depth)
            elif child.tag == f"{W}tbl":
                yield from self._table(child, depth)
            elif child.tag == f"{W}sdt" and not _is_contents(child):
                yield from self.blocks(child.find(f"{W}sdtContent") if child.find(f"{W}sdtContent") is not None else ())
            elif child.tag in (f"{W}ins", f"{W}moveTo", f"{W}customXml", f"{W}smartTag"):
                yield from self.blocks(child, depth)

    def _paragraph(self, paragraph: Any, depth: int) -> Iterator[Block]:
        chain = self._chain(
            child_value(paragraph.find(f"{W}pPr"), "pStyle") if paragraph.find(f"{W}pPr") is not None else None
        )
        names = [child_value(style, "name") or "" for style in chain]
        properties = [p for p in [paragraph.find(f"{W}pPr"), *(s.find(f"{W}pPr") for s in chain)] if p is not None]
        lines = [clean_text(line) for line in self._text(paragraph).split("\n")]
        text = "\n".join(line for line in lines if line)
        if text and not any(name.lower().startswith(("toc ", "toc heading")) for name in names):
            level = _heading_level(names, properties)
            label, indent = self._label(properties)
            if level:
                yield Block(" ".join([label, *text.split("\n")]).strip(), level)
            else:
                text = BULLET.sub("- ", text, count=1) if BULLET.match(text) else text
                marked = f"{'  ' * indent}{label} {text}" if label else text
                yield Block(marked, 0, bool(label) or text.startswith("- "))
        if depth < MAX_TABLE_DEPTH:
            for box in paragraph.iter(f"{W}txbxContent"):
                if next(box.iterancestors(FALLBACK), None) is None:
                    yield from self.blocks(box, depth + 1)

    def _chain(self, style_id: str | None) -> list[Any]:
        """Return a style and those that it is based on; without a style, the default one."""
        chain: list[Any] = []
        if style_id is None:
            chain = [
                s for s in self.styles.values() if s.get(f"{W}default") == "1" and s.get(f"{W}type") == "paragraph"
            ]
            return chain[:1]
        while style_id in self.styles and self.styles[style_id] not in chain:
            chain.append(self.styles[style_id])
            style_id = child_value(chain[-1], "basedOn")
        return chain

    def _label(self, properties: list[Any]) -> tuple[str, int]:
        """Return the number or bullet that Word puts before a paragraph, and its depth in the list."""
        list_id = depth = None
        for own in properties:
            numbers = own.find(f"{W}numPr")
            if numbers is not None:
                list_id = list_id or child_value(numbers, "numId")
                depth = depth or child_value(numbers, "ilvl")
        if list_id is None or list_id == "0":
            return "", 0
        level = int(depth) if depth and depth.isdecimal() else 0
        return self.numbering.label(list_id, level), level

    def _text(self, root: Any) -> str:
        """Return the text of a paragraph and the notes that it refers to."""
        parts: list[str] = []
        notes: list[str] = []
        stack = list(reversed(root))
        while stack:
            element = stack.pop()
            name = element.tag.removeprefix(W) if isinstance(element.tag, str) else ""
            if element.tag in SKIPPED:
                continue
            if name == "t":
                parts.append((element.text or "").replace("\n", " "))
            elif name in ("tab", "ptab"):
                parts.append(" ")
            elif name in ("br", "cr"):
                parts.append("\n" if element.get(f"{W}type") in (None, "textWrapping") else " ")
            elif name == "noBreakHyphen":
                parts.append("-")
            elif name in ("footnoteReference", "endnoteReference"):
                note = self.notes.get((name.removesuffix("Reference"), element.get(f"{W}id", "")))
                if note is not None:
                    texts = (clean_text(self._text(p).replace("\n", " ")) for p in note.iter(f"{W}p"))
                    notes.append(" ".join(text for text in texts if text))
            else:
                stack.extend(reversed(element))
        return "".join(parts) + "".join(f" [Note: {note}]" for note in notes if note)

    def _table(self, table: Any, depth: int) -> Iterator[Block]:
        """Yield one block with a line for each row; a table of one column is layout, and its cells are read as text."""
        if depth >= MAX_TABLE_DEPTH:
            raise ValignError(f"a table is nested more than {MAX_TABLE_DEPTH} deep; simplify the layout.")
        rows = [list(row.iterfind(f"{W}tc")) for row in _rows(table)]
        if all(len(row) <= 1 for row in rows):
            for row in rows:
                for cell in row:
                    yield from self.blocks(cell, depth + 1)
            return
        lines = []
        for row in rows:
            cells = [" ".join(b.text.replace("\n", " ").strip() for b in self.blocks(cell, depth + 1)) for cell in row]
            if line := clean_text(" | ".join(cells)).rstrip(" |"):
                lines.append(line)
        if lines:
            yield Block("\n".join(lines))


def _rows(table: Any) -> Iterator[Any]:
    """Yield the rows of a table, those within content controls too."""
    for child in table:
        if child.tag == f"{W}tr":
            yield child
        elif child.tag == f"{W}sdt":
            yield from child.iter(f"{W}tr")


def _heading_level(names: list[str], properties: list[Any]) -> int:
    """Return the level of a heading: the title 1, ``Heading 1`` 2; 0 for a paragraph."""
    for name in names:
        if name.lower() == "title":
            return 1
        if match := HEADING_STYLE.fullmatch(name):
            return int(match[1]) + 1
    for own in properties:
        level = child_value(own, "outlineLvl")
        if level is not None:
            return int(level) + 2 if level.isdecimal() and int(level) < 9 else 0
    return 0


def _is_contents(control: Any) -> bool:
    """Tell whether a content control holds the table of contents."""
    gallery = next(control.iter(f"{W}docPartGallery"), None)
    return gallery is not None and gallery.get(f"{W}val") == "Table of Contents"
