"""Word files: the archive, its parts, and from its body to blocks."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from valign.core.errors import ValignError
from valign.documents.blocks import Block, Source, clean_text, join_blocks, missing_package
from valign.documents.left_out import Omissions, Reason
from valign.documents.readers.docx_body import BodyReader
from valign.documents.readers.docx_numbering import Numbering
from valign.documents.readers.docx_styles import Styles, W
from valign.documents.readers.docx_text import TextReader, raw_words

MAX_UNPACKED = 200 * 1024 * 1024
MAX_RATIO = 200
RATIO_FROM = 10 * 1024 * 1024
PEEKED = 4096
PARTS = ("numbering", "styles", "footnotes", "endnotes")
LEFT_OUT_PARTS = {
    "header": Reason.FOOTER,
    "footer": Reason.FOOTER,
    "comments": Reason.COMMENT,
    "chart": Reason.MEDIA,
    "diagramData": Reason.MEDIA,
}
ARCHIVE_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


def read_docx(raw: bytes, where: str) -> Source:
    """Read a Word file. Headers, footers, comments, hidden and deleted text and the table of contents are left out.

    A note stands in brackets behind the first paragraph that cites it. Pages are not kept: Word computes them when it
    shows the file.

    Raises:
        ValignError: The package is missing, or the file is encrypted, broken, too large or no Word file.
    """
    try:
        import docx
    except ImportError:
        raise missing_package("Word", "python-docx") from None
    _check_archive(raw, where)
    try:
        document = docx.Document(io.BytesIO(raw))
        omissions = Omissions()
        title = clean_text(document.core_properties.title or "")
        return join_blocks(_blocks(document, omissions), title or None, omissions)
    except ValignError as error:
        raise ValignError(f"{where}: {error}") from None
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValignError(
            f"{where} is a damaged Word file ({reason[:120]}); open it in Word or LibreOffice and save it again."
        ) from None


def _blocks(document: Any, omissions: Omissions) -> Iterator[Block]:
    """Yield the blocks of the body, and count what the other parts of the file say."""
    parts: dict[str, Any] = dict.fromkeys(PARTS)
    _refuse_definitions(document.element, "document")
    for relation in document.part.rels.values():
        kind = relation.reltype.rsplit("/", 1)[-1]
        if relation.is_external or (kind not in PARTS and kind not in LEFT_OUT_PARTS):
            continue
        root = _parsed(relation.target_part.blob, kind)
        if kind in PARTS:
            parts[kind] = root
        else:
            omissions.add(LEFT_OUT_PARTS[kind], raw_words(root))
    notes = {
        (kind, note.get(f"{W}id", "")): note
        for kind in ("footnote", "endnote")
        if parts[f"{kind}s"] is not None
        for note in parts[f"{kind}s"].iterfind(f"{W}{kind}")
        if note.get(f"{W}type") in (None, "normal")
    }
    styles = Styles(parts["styles"])
    texts = TextReader(styles, notes, omissions)
    yield from BodyReader(texts, Numbering(parts["numbering"], styles)).blocks(document.element.body)
    for note in texts.notes.values():  # nothing that is shown cites them
        texts.omit(Reason.HIDDEN, note)


def _parsed(blob: bytes, name: str) -> Any:
    from docx.oxml import parse_xml

    root = parse_xml(blob)
    _refuse_definitions(root, name)
    return root


def _refuse_definitions(root: Any, name: str) -> None:
    """Refuse a part with a document type definition, whatever its encoding: entities are not read, and text is lost."""
    if root.getroottree().docinfo.doctype:
        raise ValignError(f"it has a document type definition in its part {name}; save it in Word again.")


def _check_archive(raw: bytes, where: str) -> None:
    """Refuse what is no Word file, or would unpack to more than is sensible."""
    if raw.startswith(b"\xd0\xcf\x11\xe0"):
        raise ValignError(f"{where} is encrypted or an old .doc file; save it as .docx without a password.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(raw))
    except ARCHIVE_FAULTS:
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
        _check_member(archive, member, where)


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> None:
    """Refuse a member that cannot be unpacked, or an XML part with a document type definition."""
    try:
        with archive.open(member) as file:
            content = file.read(PEEKED)
            # UTF-16 is ASCII with zeros between; a part is XML by its first sign, whatever it is called.
            if content.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"<"):
                content += file.read()
            else:
                content = b""
    except ARCHIVE_FAULTS as error:
        raise ValignError(
            f"{where} is a damaged Word file ({member.filename}: {str(error)[:80]}); save it as .docx again."
        ) from None
    if b"<!DOCTYPE" in content or b"<!DOCTYPE" in content.replace(b"\0", b""):
        raise ValignError(f"{where} has a document type definition in {member.filename}; save it in Word again.")
