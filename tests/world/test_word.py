"""Word files as people write them: what is hidden or deleted, cells in controls, and numbers that Word computes."""

from __future__ import annotations

import io
import time
import zipfile
from typing import Any

import docx
import pytest
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml

from valign.core.errors import ValignError
from valign.core.records import Document
from valign.documents.read import parse_document

NS = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
MATH = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
KIND = "application/vnd.openxmlformats-officedocument.wordprocessingml."


def saved(document: Any) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def read(document: Any) -> Document:
    raw = document if isinstance(document, bytes) else saved(document)
    return parse_document(raw, "x", where="policy.docx", suffix="docx")


def body(*elements: str) -> Any:
    """A document with these elements; a text without a tag is a paragraph, and ``{..}`` the properties of its words."""
    document = docx.Document()
    for xml in elements:
        element = parse_xml(f"<w:body {NS} {MATH}>{xml}</w:body>")[0]
        document.element.body.insert(len(document.element.body) - 1, element)
    return document


def run(text: str, look: str = "") -> str:
    return f"<w:r><w:rPr>{look}</w:rPr><w:t xml:space='preserve'>{text}</w:t></w:r>"


def paragraph(*runs: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr>{''.join(runs)}</w:p>"


def counted(document: Any) -> dict[str, int]:
    return {part.reason: part.characters for part in read(document).left_out}


RAISED = "<w:vertAlign w:val='superscript'/>"


def test_raised_runs_do_not_join_numbers() -> None:
    document = body(
        paragraph(run("Above 50"), run("1", RAISED), run("2", RAISED), run(" euros."),
                  run("*", "<w:position w:val='6'/>")),
        paragraph(run("30 m"), run("2", RAISED), run(", 10"), run("6", RAISED), run(", H"),
                  run("2", "<w:vertAlign w:val='subscript'/>"), run("O.")),
        paragraph("<m:oMath><m:r><m:t>5</m:t></m:r><m:sSup><m:e><m:r><m:t>x</m:t></m:r></m:e><m:sup><m:r><m:t>2</m:t>"
                  "</m:r></m:sup></m:sSup></m:oMath>", run(" holds.")),
    )  # fmt: skip
    assert read(document).text == "Above 50 euros.\n\n30 m², 10⁶, H2O.\n\n5x² holds.\n"
    assert counted(document) == {"note mark": 3}


def test_hidden_struck_and_deleted_words_are_counted() -> None:
    """By the run itself, by its style, and by that of the paragraph; a switch that is off hides nothing."""
    document = body(
        paragraph(run("Above 50."), run(" Draft: 40.", "<w:vanish/>"), run(" All.", "<w:vanish w:val='0'/>")),
        paragraph(run("Is "), run("60", "<w:strike/>"), run("70", "<w:dstrike/>"), run("30."),
                  run("Ghost", "<w:rStyle w:val='Gone'/>")),
        "<w:p><w:moveFrom><w:r><w:t>Moved.</w:t></w:r></w:moveFrom></w:p>",
        "<w:p><w:moveTo><w:r><w:t>Moved.</w:t></w:r></w:moveTo>"
        "<w:del><w:r><w:delText>Never.</w:delText></w:r></w:del></w:p>",
        paragraph(run("All of it."), properties="<w:pStyle w:val='Secret'/>"),
        "<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>"
        "<w:p><w:r><w:t>Click here</w:t></w:r></w:p></w:sdtContent></w:sdt>",
    )  # fmt: skip
    for kind, name in (("character", "Gone"), ("paragraph", "Secret")):
        style = f"<w:style {NS} w:type='{kind}' w:styleId='{name}'><w:name w:val='{name}'/>"
        document.styles.element.append(parse_xml(f"{style}<w:rPr><w:vanish/></w:rPr></w:style>"))
    document.sections[0].header.paragraphs[0].text = "Confidential"
    assert read(document).text == "Above 50. All.\n\nIs 30.\n\nMoved.\n"
    assert counted(document) == {
        "hidden": 9 + 5 + 8, "deleted or struck through": 4 + 6 + 6, "form field": 9, "header or footer": 12,
    }  # fmt: skip


@pytest.mark.parametrize("change", ["del", "moveFrom"])
def test_a_paragraph_whose_end_was_deleted_joins_the_next(change: str) -> None:
    document = body(
        paragraph(run("Gifts above 50 "), properties=f"<w:rPr><w:{change} w:id='1'/></w:rPr>"),
        paragraph(run("euros go back.")),
        paragraph(run("Last words"), properties=f"<w:rPr><w:{change} w:id='2'/></w:rPr>"),
    )
    assert read(document).text == "Gifts above 50 euros go back.\n\nLast words\n"


def cell(text: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:tc>"


def test_cells_and_rows_in_content_controls_keep_their_columns() -> None:
    rows = (
        f"<w:tr>{cell('Gift')}{cell('Limit')}{cell('Approver')}</w:tr>",
        f"<w:tr>{cell('Food')}<w:sdt><w:sdtPr/><w:sdtContent>{cell('50')}</w:sdtContent></w:sdt>{cell('Manager')}</w:tr>",
        f"<w:sdt><w:sdtContent><w:sdt><w:sdtContent><w:tr>{cell('Art')}<w:customXml>{cell('9')}</w:customXml>"
        f"{cell('Board')}</w:tr></w:sdtContent></w:sdt></w:sdtContent></w:sdt>",
        f"<w:tr><w:trPr><w:gridBefore w:val='1'/></w:trPr>{cell('7')}{cell('Nobody')}</w:tr>",
        f"<w:tr><w:trPr><w:del w:id='1'/></w:trPr>{cell('Old')}{cell('1')}{cell('2')}</w:tr>",
        f"<w:tr>{cell('Wine')}{cell('gone', '<w:cellDel/>')}{cell('5')}{cell('Manager')}</w:tr>",
    )
    document = body(paragraph(run("Limits:")), f"<w:tbl>{''.join(rows)}</w:tbl>")
    assert read(document).text == (
        "Limits:\n\nGift | Limit | Approver\nFood | 50 | Manager\nArt | 9 | Board\n| 7 | Nobody\nWine | 5 | Manager\n"
    )
    assert counted(document) == {"deleted or struck through": 9}


def level(number: int, text: str, kind: str = "decimal", more: str = "") -> str:
    form = f"<w:start w:val='1'/><w:numFmt w:val='{kind}'/>{more}<w:lvlText w:val='{text}'/>"
    return f"<w:lvl w:ilvl='{number}'>{form}</w:lvl>"


def listed(text: str, list_id: int, depth: int = 0) -> str:
    numbers = f"<w:numPr><w:ilvl w:val='{depth}'/><w:numId w:val='{list_id}'/></w:numPr>"
    return paragraph(run(text), properties=numbers)


def labels(abstracts: dict[int, str], lists: dict[int, str], *elements: str, styles: str = "") -> list[str]:
    """The lines of a document with these lists: the levels of each, and what each list is made of."""
    document = body(*elements)
    numbering = document.part.numbering_part.element
    for number, levels in abstracts.items():
        numbering.insert(0, parse_xml(f"<w:abstractNum {NS} w:abstractNumId='{number}'>{levels}</w:abstractNum>"))
    for number, inner in lists.items():
        numbering.append(parse_xml(f"<w:num {NS} w:numId='{number}'>{inner}</w:num>"))
    for style in parse_xml(f"<w:styles {NS}>{styles}</w:styles>"):
        document.styles.element.append(style)
    return [line.strip() for line in read(document).text.splitlines() if line]


LIST = "<w:abstractNumId w:val='80'/>"


def test_legal_numbering_is_decimal() -> None:
    levels = level(0, "Article %1.", "upperRoman") + level(1, "%1.%2", more="<w:isLgl/>")
    rules = [listed("Gifts", 90), listed("None.", 90, 1), listed("Travel", 90), listed("Trains.", 90, 1)]
    assert labels({80: levels}, {90: LIST}, *rules) == [
        "Article I. Gifts", "1.1 None.", "Article II. Travel", "2.1 Trains.",
    ]  # fmt: skip


def test_overrides_of_levels_and_starts() -> None:
    """The second list goes on in letters; the third one starts at 5; the first one goes on from there."""
    lists = {
        90: LIST,
        91: f"{LIST}<w:lvlOverride w:ilvl='0'>{level(0, '(%1)', 'lowerLetter')}</w:lvlOverride>",
        92: f"{LIST}<w:lvlOverride w:ilvl='0'><w:startOverride w:val='5'/></w:lvlOverride>",
    }
    rules = [listed("a", 90), listed("b", 91), listed("c", 92), listed("d", 92), listed("e", 90)]
    assert labels({80: level(0, "%1.")}, lists, *rules) == ["1. a", "(b) b", "5. c", "6. d", "7. e"]


def test_a_level_that_does_not_start_anew() -> None:
    levels = level(0, "%1.") + level(1, "§ %2", more="<w:lvlRestart w:val='0'/>") + level(2, "(%3)")
    rules = [
        listed("a", 90),
        listed("b", 90, 1),
        listed("x", 90, 2),
        listed("c", 90),
        listed("d", 90, 1),
        listed("y", 90, 2),
    ]
    assert labels({80: levels}, {90: LIST}, *rules) == ["1. a", "§ 1 b", "(1) x", "2. c", "§ 2 d", "(1) y"]


def test_lists_by_styles() -> None:
    """A paragraph style names a list, which says at which depth; a list refers to a style for lists."""
    linked = level(0, "%1.", more="<w:pStyle w:val='Top'/>") + level(1, "%1.%2", more="<w:pStyle w:val='Sub'/>")
    numbers = "<w:pPr><w:numPr><w:numId w:val='90'/></w:numPr></w:pPr>"
    styles = "".join(
        f"<w:style w:type='paragraph' w:styleId='{s}'><w:name w:val='{s}'/>{numbers}</w:style>" for s in ("Top", "Sub")
    )
    styles += (
        "<w:style w:type='numbering' w:styleId='Rules'><w:name w:val='Rules'/><w:pPr><w:numPr><w:numId w:val='91'/>"
        "</w:numPr></w:pPr></w:style>"
    )
    abstracts = {80: linked, 81: level(0, "R%1"), 82: "<w:numStyleLink w:val='Rules'/>"}
    lists = {90: LIST, 91: "<w:abstractNumId w:val='81'/>", 92: "<w:abstractNumId w:val='82'/>"}
    rules = [
        *(
            paragraph(run(text), properties=f"<w:pStyle w:val='{style}'/>")
            for text, style in (("a", "Top"), ("b", "Sub"), ("c", "Sub"))
        ),
        listed("d", 92), paragraph(run("")), listed("e", 92),
    ]  # fmt: skip
    assert labels(abstracts, lists, *rules, styles=styles) == ["1. a", "1.1 b", "1.2 c", "R1 d", "R2 e"]


def with_notes(count: int) -> Any:
    """Each of the notes cites the next one twice."""
    document = body(f"<w:p>{run('Main.')}<w:r><w:footnoteReference w:id='1'/></w:r></w:p>")
    cites = "<w:r><w:footnoteReference w:id='{0}'/></w:r>" * 2
    notes = "".join(
        f"<w:footnote w:id='{i}'><w:p>{run(f'n{i}')}{cites.format(i + 1)}</w:p></w:footnote>"
        for i in range(1, count + 1)
    )
    notes += f"<w:footnote w:id='9999'><w:p>{run('Never cited.')}</w:p></w:footnote>"
    part = Part(
        PackURI("/word/footnotes.xml"), f"{KIND}footnotes+xml", f"<w:footnotes {NS}>{notes}</w:footnotes>".encode()
    )
    document.part.relate_to(part, f"{RELATION}footnotes")
    return document


def boxes(depth: int) -> Any:
    inner = paragraph(run("deep"))
    for _ in range(depth):
        inner = f"<w:p>{run('box')}<w:r><w:pict><w:txbxContent>{inner}</w:txbxContent></w:pict></w:r></w:p>"
    return body(inner)


def test_notes_and_boxes_do_not_multiply() -> None:
    start = time.process_time()
    document = read(with_notes(300))
    assert document.text.split("\n")[0].count("[Note: n") == 300
    assert [(p.reason, p.characters) for p in document.left_out] == [("hidden", 11)]
    assert read(boxes(20)).text == "box\n\n" * 20 + "deep\n"
    with pytest.raises(ValignError, match=r"policy\.docx: a text box is nested more than 20 deep"):
        read(boxes(21))
    assert time.process_time() - start < 5


def test_a_label_has_a_limit() -> None:
    with pytest.raises(ValignError, match=r"policy\.docx: a list's number is a text of 300 characters"):
        labels({80: level(0, "x" * 300)}, {90: LIST}, listed("a", 90))


def rewritten(change: dict[str, bytes], rename: tuple[bytes, bytes] = (b"", b"")) -> bytes:
    """A sound Word file with other members."""
    with zipfile.ZipFile(io.BytesIO(saved(body(paragraph(run("Words.")))))) as sound:
        members = {name: sound.read(name) for name in sound.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, content in {**members, **change}.items():
            new = content.replace(*rename) if rename[0] and name.endswith(("rels", "Types].xml")) else content
            file.writestr(name.replace(rename[0].decode(), rename[1].decode()) if rename[0] else name, new)
    return buffer.getvalue()


DEFINED = (
    '<?xml version="1.0" encoding="{0}"?><!DOCTYPE d [<!ENTITY a "lost">]>'
    f"<w:document {NS}><w:body><w:p><w:r><w:t>x &a; y</w:t></w:r></w:p></w:body></w:document>"
)


def test_damaged_and_tricky_archives_are_one_line() -> None:
    raw = rewritten({})
    wrong = bytearray(raw)
    wrong[wrong.find(b"Words.")] ^= 0xFF
    utf16 = DEFINED.replace("{0}", "UTF-16").encode("utf-16")
    renamed = {"word/document.xml": DEFINED.replace("{0}", "UTF-8").encode()}
    for content, message in (
        (bytes(wrong), r"policy\.docx is a damaged Word file \(word/document\.xml: Bad CRC-32"),
        (rewritten({"word/document.xml": utf16}), r"has a document type definition in word/document\.xml"),
        (rewritten(renamed, (b"document.xml", b"document.dat")), "has a document type definition in word/document.dat"),
        (rewritten({"word/document.xml": b"<w:document"}), "is a damaged Word file"),
    ):
        with pytest.raises(ValignError, match=message) as caught:
            read(content)
        assert "\n" not in str(caught.value)
