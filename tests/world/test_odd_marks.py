"""Marks of notes, fractions and numbers of every sort: no number is changed by what stands beside it."""

from __future__ import annotations

import pytest
from test_pdf_marks import opened, raised
from test_word import RAISED, body, paragraph, run, saved

from valign.core.records import Document
from valign.documents.read import parse_document

LOWERED = "<w:vertAlign w:val='subscript'/>"
SYMBOL = "<w:rFonts w:ascii='Symbol' w:hAnsi='Symbol'/>"


def parsed(raw: bytes | str, suffix: str) -> Document:
    return parse_document(raw.encode() if isinstance(raw, str) else raw, "x", suffix=suffix)


def counts(document: Document) -> dict[str, int]:
    return {part.reason: part.characters for part in document.left_out if part.reason != "script or style"}


@pytest.mark.parametrize(
    ("html", "text", "marks"),
    [
        ("Add 3<sup>1</sup>/<sub>2</sub> cups", "Add 3 1/2 cups", 0),
        ("<sup>1</sup>/<sub>2</sub> cup", "1/2 cup", 0),
        ("2 <sup>2</sup>&frasl;<sub>3</sub> h", "2 2⁄3 h", 0),
        ("5<sup>3</sup>/4 cups", "5 3/4 cups", 0),
        ("at 30<sup>1</sup>/40<sup>2</sup> euros", "at 30/40 euros", 2),
        ("30<sup>12</sup>/31<sup>13</sup> days, 30<sup>1</sup>/day", "30/31 days, 30/day", 5),
        ("30<span class='superscript'>2</span> euros, 10<span class='sup'>6</span>", "30 euros, 10⁶", 1),
        ("30<span class='footnote'>4</span> euros, see <span class='footnote'>5</span>", "30 euros, see 5", 1),
        ("a <span class='super'>great offer</span> now", "a great offer now", 0),
        (
            "30<span style='vertical-align:5px;font-size:8px'>2</span>, 40<i style='vertical-align:40%'>3</i>",
            "30, 40",
            2,
        ),
        ("30<span style='vertical-align:top;font-size:70%'>2</span> euros", "30 euros", 1),
        ("7<span style='vertical-align:top'>5</span>, 8<b style='vertical-align:0'>5</b>", "75, 85", 0),
        ("30<a href='#x'>1</a> and 40<a href='#y'>*</a>", "30 and 40", 2),
        ("§<a href='#s5'>5</a>, Section 3<a href='#a'>a</a>, rule 2.<a href='#b'>3</a>", "§5, Section 3a, rule 2.3", 0),
        ("20<a href='a.html'>24</a>", "2024", 0),
    ],
)
def test_marks_on_pages(html: str, text: str, marks: int) -> None:
    document = parsed(f"<h1>T</h1><p>{html}.</p>", "html")
    assert [p.text for p in document.passages] == [f"{text}."]
    assert counts(document) == ({"note mark": marks} if marks else {})


def test_marks_by_the_style_sheet_of_a_page() -> None:
    """A class that is set high in a smaller font, blocks, and the letters of a list."""
    sheet = ".t{vertical-align:top;font-size:60%} .b{display:block} ol.l{list-style-type:lower-alpha}"
    html = "<p>30<i class=t>2</i> m<i class=t>2</i></p><b class=b>Fee 30.</b><b class=b>40 euros.</b>"
    html += "<ol class=l><li>x<li>y</ol>"
    document = parsed(f"<style>{sheet}</style><h1>T</h1>{html}", "html")
    assert document.text == "T\n\n30 m²\n\nFee 30.\n\n40 euros.\n\na. x\nb. y\n"


def test_fractions_in_word() -> None:
    document = body(
        paragraph(run("Add 3"), run("1", RAISED), run("/"), run("2", LOWERED), run(" cups, "), run("1", RAISED),
                  run("/2 cup, 5 "), run("1", RAISED), run("⁄"), run("4", LOWERED), run(", 30"), run("1", RAISED),
                  run("/day."))
    )  # fmt: skip
    found = parsed(saved(document), "docx")
    assert (found.text, counts(found)) == ("Add 3 1/2 cups, 1/2 cup, 5 1⁄4, 30/day.\n", {"note mark": 1})


def field(*parts: str) -> str:
    """A field of Word: its instruction and its result, each with fields or words in it."""
    marks = [f"<w:r><w:fldChar w:fldCharType='{kind}'/></w:r>" for kind in ("begin", "separate", "end")]
    instruction, *result = parts
    return marks[0] + instruction + (marks[1] + result[0] if result else "") + marks[2]


@pytest.mark.parametrize(
    ("fields", "text", "hidden"),
    [
        (field("<w:r><w:instrText>IF </w:instrText></w:r>" + field("", run("40")), run("30")), "30", 2),
        (field(field("", field("", run("40"))) + run("50")), "", 4),
        (field("<w:r><w:instrText>REF x</w:instrText></w:r>", run("30")), "30", 0),
    ],
)
def test_a_field_within_the_instruction_of_another_is_not_shown(fields: str, text: str, hidden: int) -> None:
    document = parsed(saved(body(paragraph(run("Up to "), fields, run(" euros.")))), "docx")
    assert document.text == f"Up to {text} euros.\n".replace("  ", " ")
    assert counts(document) == ({"hidden": hidden} if hidden else {})


def test_a_field_that_does_not_end_hides_nothing() -> None:
    begin = "<w:r><w:fldChar w:fldCharType='begin'/></w:r>"
    assert parsed(saved(body(paragraph(run("Up to "), begin, run("30 euros.")))), "docx").text == "Up to 30 euros.\n"


def test_signs_in_the_font_symbol_are_what_they_show() -> None:
    document = body(paragraph(run("\uf0b3", SYMBOL), run(" 30 and "), run("\uf0a3", SYMBOL), run(" 50.")))
    assert parsed(saved(document), "docx").text == "≥ 30 and ≤ 50.\n"


@pytest.mark.parametrize(
    ("drawn", "size", "text", "marks"),
    [
        ("Gifts above 30^a^ euros, 50^(1)^ and 60^[2]^ go back.", 6, "Gifts above 30 euros, 50 and 60 go back.", 3),
        ("The 1^st^ of May, in 10^n^ parts.", 6, "The 1st of May, in 10ⁿ parts.", 0),
        ("Gifts above 50^3^ euros go back.", 9, "Gifts above 50 euros go back.", 1),
    ],
)
def test_marks_in_pdf(drawn: str, size: int, text: str, marks: int) -> None:
    source = opened(raised(drawn, size))
    assert source.text.split("\n\n")[0] == text
    assert sum(part.places for part in source.left_out) == marks


def test_lowered_numbers_in_pdf_are_not_part_of_a_number() -> None:
    assert opened(raised("At 30^2^ and CO^2^ here.", 6, -2)).text.split("\n\n")[0] == "At 30₂ and CO2 here."


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("3. three\n4. four\n7. seven\n", "T\n\n3. three\n4. four\n7. seven\n"),
        ("1. one\n1. two\n1. three\n", "T\n\n1. one\n2. two\n3. three\n"),
        ("- x\n  2. two\n  5. five\n", "T\n\n- x\n   2. two\n   5. five\n"),
        ('[50]{.deletion author="A"}[60]{.insertion} [40?]{.comment-start id="0"}euros.', "T\n\n60 euros.\n"),
        ("Up to [30]{.mark} euros[]{#here}.", "T\n\nUp to 30 euros.\n"),
    ],
)
def test_numbers_in_markdown_are_those_that_are_written(markdown: str, text: str) -> None:
    assert parsed(f"# T\n\n{markdown}", "md").text == text
