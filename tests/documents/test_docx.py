"""Word files: headings, computed numbers, tables, notes, and files that are not what they claim to be."""

from __future__ import annotations

import io
import sys
import zipfile
from typing import Any, Protocol

import docx
import pytest
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml

from valign.core.errors import ValignError
from valign.core.records import Document
from valign.documents.read import parse_document
from valign.documents.readers import docx as docx_reader
from valign.documents.readers.docx_numbering import number_text

NS = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
NOTE_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"


def saved(document: Any) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def read(raw: bytes) -> Document:
    document = parse_document(raw, "x", where="policy.docx", suffix="docx")
    assert all(document.text[p.start : p.end] == p.text and p.page is None for p in document.passages)
    return document


def add(document: Any, xml: str) -> Any:
    """Add an element to the end of the body; ``xml`` is its content with the prefix ``w``."""
    element = parse_xml(xml.replace(">", f" {NS}>", 1) if not xml.split(">", maxsplit=1)[0].endswith("/") else xml)
    document.element.body.insert(len(document.element.body) - 1, element)
    return element


class AddsItem(Protocol):
    """Adds a paragraph to a list, at a level and in a style."""

    def __call__(self, text: str, level: int, style: str | None = None) -> None:  # noqa: D102
        ...


def numbered(document: Any, levels: list[tuple[str, str]], list_id: int = 77) -> AddsItem:
    """Define a list with a format and a text for each level; return a function that adds a paragraph to it."""
    numbering = document.part.numbering_part.element
    own = "".join(
        f'<w:lvl w:ilvl="{i}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/></w:lvl>'
        for i, (kind, text) in enumerate(levels)
    )
    numbering.insert(0, parse_xml(f'<w:abstractNum {NS} w:abstractNumId="{list_id}">{own}</w:abstractNum>'))
    numbering.append(parse_xml(f'<w:num {NS} w:numId="{list_id}"><w:abstractNumId w:val="{list_id}"/></w:num>'))

    def paragraph(text: str, level: int, style: str | None = None) -> None:
        properties = document.add_paragraph(text, style)._p.get_or_add_pPr().get_or_add_numPr()
        properties.get_or_add_ilvl().val = level
        properties.get_or_add_numId().val = list_id

    return paragraph


def test_heading_styles_nest_and_headers_and_footers_are_left_out() -> None:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Confidential"
    document.sections[0].footer.paragraphs[0].text = "Page 1"
    document.add_paragraph("Staff Code", "Title")
    document.add_paragraph("Gifts", "Heading 1")
    document.add_paragraph("Limits", "Heading 2")
    document.add_paragraph("Nine marks.")
    own = document.styles.add_style("House", 1)
    own.base_style = document.styles["Heading 1"]
    document.add_paragraph("Travel", "House")
    document.add_paragraph("Trains only.")
    found = read(saved(document))
    assert [(p.clause, p.heading, p.text) for p in found.passages] == [
        ("x/limits", ("Staff Code", "Gifts", "Limits"), "Nine marks."),
        ("x/travel", ("Staff Code", "Travel"), "Trains only."),
    ]
    assert "Confidential" not in found.text


def test_an_outline_level_makes_a_heading_and_the_file_tells_its_title() -> None:
    document = docx.Document()
    document.core_properties.title = "Harbour rules"
    for title, text in (("Article 1", "Be kind."), ("Article 2", "Be fair.")):
        heading = document.add_paragraph(title)
        heading._p.get_or_add_pPr().append(parse_xml(f'<w:outlineLvl {NS} w:val="0"/>'))
        document.add_paragraph(text)
    found = read(saved(document))
    assert [(p.clause, p.heading) for p in found.passages] == [
        ("x/article-1", ("Harbour rules", "Article 1")),
        ("x/article-2", ("Harbour rules", "Article 2")),
    ]


def test_computed_numbers_are_written_out() -> None:
    """Levels: Article 1; 1.1, 1.2; (a), (b), which starts anew below 1.2; and Roman numbers in a list of its own."""
    document = docx.Document()
    clause = numbered(document, [("decimal", "Article %1."), ("decimal", "%1.%2"), ("lowerLetter", "(%3)")])
    clause("Gifts", 0)
    clause("Staff take none.", 1)
    clause("Except food:", 1)
    clause("bread;", 2)
    clause("fruit.", 2)
    clause("Travel", 0)
    clause("Take trains.", 1)
    roman = numbered(document, [("lowerRoman", "%1)"), ("bullet", "\uf0b7")], 78)
    for text, level in (("one", 0), ("point", 1), ("two", 0)):
        roman(text, level)
    assert read(saved(document)).text == (
        "Article 1. Gifts\n  1.1 Staff take none.\n  1.2 Except food:\n    (a) bread;\n    (b) fruit.\n"
        "Article 2. Travel\n  2.1 Take trains.\ni) one\n  - point\nii) two\n"
    )


def test_a_heading_takes_its_computed_number() -> None:
    document = docx.Document()
    heading = numbered(document, [("decimal", "%1."), ("decimal", "%1.%2")])
    document.add_paragraph("Code", "Title")
    heading("Gifts", 0, "Heading 1")
    heading("Limits", 1, "Heading 2")
    document.add_paragraph("Nine marks.")
    assert [(p.clause, p.heading[1:]) for p in read(saved(document)).passages] == [
        ("x/section-1.1", ("1. Gifts", "1.1 Limits"))
    ]


@pytest.mark.parametrize(
    ("number", "kind", "expected"),
    [
        (28, "lowerLetter", "bb"),
        (3, "upperLetter", "C"),
        (1994, "upperRoman", "MCMXCIV"),
        (4, "lowerRoman", "iv"),
        (7, "decimalZero", "07"),
        (7, "ordinal", "7"),
        (0, "upperRoman", "0"),
    ],
)
def test_formats_of_numbers(number: int, kind: str, expected: str) -> None:
    assert number_text(number, kind) == expected


def test_tables_are_rows_of_text() -> None:
    document = docx.Document()
    document.add_paragraph("Limits are these.")
    table = document.add_table(rows=3, cols=3)
    for cell, text in zip(table._cells, ["Gift", "Limit", "Who", "Food", "", "all", "", "", ""], strict=True):
        cell.text = text
    table.cell(0, 1).merge(table.cell(0, 2))
    inner = table.cell(2, 0).add_table(1, 2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "a", "b"
    box = document.add_table(rows=1, cols=1)
    box.cell(0, 0).text = "Boxed words."
    assert read(saved(document)).text == (
        "Limits are these.\n\nGift | Limit Who\nFood | | all\na | b\n\nBoxed words.\n"
    )


def test_changes_fields_and_controls() -> None:
    """Inserted text counts, deleted text, field codes and the table of contents do not; a box is read once."""
    document = docx.Document()
    document.add_paragraph("Staff Code", "Title")
    add(document, "<w:sdt><w:sdtPr><w:docPartObj><w:docPartGallery w:val='Table of Contents'/></w:docPartObj></w:sdtPr>"
                  "<w:sdtContent><w:p><w:r><w:t>Gifts 3</w:t></w:r></w:p></w:sdtContent></w:sdt>")  # fmt: skip
    add(document, "<w:sdt><w:sdtContent><w:p><w:r><w:t>Kept words.</w:t></w:r></w:p></w:sdtContent></w:sdt>")
    add(document, "<w:p><w:r><w:t xml:space='preserve'>Staff </w:t></w:r><w:ins><w:r><w:t>may</w:t></w:r></w:ins>"
                  "<w:del><w:r><w:delText>must</w:delText></w:r></w:del><w:r><w:tab/><w:t>go</w:t><w:br/>"
                  "<w:t>home</w:t><w:noBreakHyphen/><w:t>wards</w:t></w:r>"
                  "<w:r><w:instrText>PAGEREF x</w:instrText></w:r><w:r><w:t>.</w:t></w:r></w:p>")  # fmt: skip
    box = "<w:txbxContent><w:p><w:r><w:t>In a box.</w:t></w:r></w:p></w:txbxContent>"
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    both = f"<mc:Choice Requires='wps'>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback>"
    alternate = f"<mc:AlternateContent {mc}>{both}</mc:AlternateContent>"
    add(document, f"<w:p><w:r>{alternate}<w:t>Beside it.</w:t></w:r></w:p>")
    assert read(saved(document)).text == (
        "Staff Code\n\nKept words.\n\nStaff may go\nhome-wards.\n\nBeside it.\n\nIn a box.\n"
    )


def test_a_footnote_stands_behind_the_paragraph_that_refers_to_it() -> None:
    document = docx.Document()
    add(document, "<w:p><w:r><w:t>Nine marks</w:t></w:r><w:r><w:footnoteReference w:id='2'/></w:r>"
                  "<w:r><w:t xml:space='preserve'> at most.</w:t></w:r></w:p>")  # fmt: skip
    notes = (
        f"<w:footnotes {NS}><w:footnote w:id='0'><w:p/></w:footnote><w:footnote w:id='2'><w:p><w:r><w:footnoteRef/>"
        "<w:t>At shop price.</w:t></w:r></w:p></w:footnote></w:footnotes>"
    )
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = Part(PackURI("/word/footnotes.xml"), kind, notes.encode())
    document.part.relate_to(part, NOTE_RELATION)
    assert read(saved(document)).text == "Nine marks at most. [Note: At shop price.]\n"


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def changed(name: str, content: bytes) -> bytes:
    """Return a sound Word file in which one member is replaced or added."""
    with zipfile.ZipFile(io.BytesIO(saved(docx.Document()))) as sound:
        members = {member: sound.read(member) for member in sound.namelist()}
    return archive(**{**members, name: content})


ENTITIES = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>&b;</w:body></w:document>"""


def nested_tables(depth: int) -> bytes:
    document = docx.Document()
    table = document.add_table(1, 2)
    for _ in range(depth - 1):
        table = table.cell(0, 0).add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "in", "deep"
    return saved(document)


def test_tables_within_tables() -> None:
    assert read(nested_tables(20)).text == "in | deep\n"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest",
            "is encrypted or an old .doc file; save it as .docx",
        ),
        (b"plain words", "is not a Word file, or is cut off"),
        (saved(docx.Document())[:5000], "is not a Word file, or is cut off"),
        (archive(a=b"x"), "is a ZIP archive but not a Word file"),
        (changed("word/media/zeros.bin", bytes(11 * 2**20)), "looks like a decompression bomb"),
        (changed("word/document.xml", ENTITIES), "has a document type definition in word/document.xml"),
        (changed("word/document.xml", b"<w:document"), "is a damaged Word file"),
        (changed("word/numbering.xml", b"\x00"), "is a damaged Word file"),
        (nested_tables(21), "policy.docx: a table is nested more than 20 deep"),
        (saved(docx.Document()), "is empty"),
    ],
)
def test_bad_word_files(raw: bytes, message: str) -> None:
    with pytest.raises(ValignError) as caught:
        read(raw)
    assert message in str(caught.value)
    assert str(caught.value).startswith("policy.docx")


def test_the_unpacked_size_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = saved(docx.Document())
    monkeypatch.setattr(docx_reader, "MAX_UNPACKED", 1000)
    with pytest.raises(ValignError, match="looks like a decompression bomb"):
        read(raw)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = saved(docx.Document())
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(
        ValignError, match=r"Word files need the package python-docx: pip install 'valign\[documents\]'"
    ):
        read(raw)
