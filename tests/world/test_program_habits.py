"""Habits of other people's programs that change what is read, and what only looks like them."""

from __future__ import annotations

import pytest

from valign.core.records import Document
from valign.documents.read import parse_document


def page(body: str, head: str = "") -> Document:
    return parse_document(f"<html><head>{head}</head><body>{body}</body></html>".encode(), "x", suffix="html")


@pytest.mark.parametrize(
    "mark, note",
    [
        ("<sup id='fnref:1'><a href='#fn:1' class='footnote'>1</a></sup>",
         "<ol><li id='fn:1'><p>Seals too. <a href='#fnref:1' class='reversefootnote'>↩</a></p></li></ol>"),
        ("<a href='#_ftn1' name='_ftnref1'><sup>[1]</sup></a>",
         "<div id='ftn1'><p><a href='#_ftnref1' name='_ftn1'>[1]</a> Seals too.</p></div>"),
        ("<sup id='cite_ref-1'><a href='#cite_note-1'>[1]</a></sup>",
         "<ol><li id='cite_note-1'><span><a href='#cite_ref-1'>^</a></span> <span>Seals too.</span></li></ol>"),
    ],
    ids=["kramdown", "word", "mediawiki"],
)  # fmt: skip
def test_notes_of_a_page_stand_behind_the_paragraph_that_cites_them(mark: str, note: str) -> None:
    document = page(f"<h1>Seals</h1><p>Keep 50{mark} metres away.</p><p>Never feed them.</p>{note}")
    assert [p.text for p in document.passages] == ["Keep 50 metres away. [Note: Seals too.]\n\nNever feed them."]


def test_a_note_that_leads_nowhere_back_stays_where_it_is() -> None:
    document = page("<h1>Seals</h1><p>Keep away<a href='#note1'>1</a>.</p><p id='note1'>Seals too.</p>")
    assert document.text == "Seals\n\nKeep away.\n\nSeals too.\n"


def test_raised_and_struck_words_by_a_class_of_the_style_sheet() -> None:
    style = "<style>.c1{vertical-align:super;font-size:58%} span.c2, .c3 { text-decoration: line-through }</style>"
    document = page(
        "<p>At most 10<span class='c1'>6</span> m<span class='a c1'>2</span>, <i class='c3'>not</i> more.</p>", style
    )
    assert document.text == "At most 10⁶ m², more.\n"
    assert {part.reason: part.places for part in document.left_out} == {
        "script or style": 1,
        "deleted or struck through": 1,
    }


def test_only_the_title_that_a_page_names_is_no_section() -> None:
    parts = "<h1>Seals</h1><p>Hello.</p><h1>Food</h1><p>Fish.</p>"
    assert [p.heading for p in page(parts, "<title>Seals</title>").passages] == [("Seals",), ("Seals", "Food")]
    assert [p.heading[1:] for p in page(parts, "<title>Home</title>").passages] == [("Seals",), ("Food",)]


def test_a_list_that_is_indented_below_a_lettered_item_is_no_code() -> None:
    text = "# A\n\nBring:\n\n(a) tools as\n\n    - a saw,\n      well oiled,\n    - a *file*;\n\n(b) bread.\n"
    document = parse_document(text.encode(), "x", suffix="md")
    assert document.text == "A\n\nBring:\n\n(a) tools as\n\n- a saw,\n   well oiled,\n- a file;\n\n(b) bread.\n"


@pytest.mark.parametrize(
    "before, code",
    [
        ("Then:", "- a *saw*"),
        ("(a) Type:", "# not a *heading*"),
        ("(a) Type:", "rm *.bak\n- and - more"),
        ("(a) Write:", "- *name: x\nvalue: *y"),
        ("A. B. Writer said:", "what *she* said"),
        ("(a)no item", "- a *saw*"),
    ],
)
def test_other_indented_text_is_code_as_written(before: str, code: str) -> None:
    indented = code.replace("\n", "\n    ")
    document = parse_document(f"# A\n\n{before}\n\n    {indented}\n\nEnd.\n".encode(), "x", suffix="md")
    assert document.text == f"A\n\n{before}\n\n{code}\n\nEnd.\n"


LIBREOFFICE = "<meta name='generator' content='LibreOffice 7.4.7.2 (Linux)'/>"


def headings(tags: str, head: str = LIBREOFFICE) -> list[str]:
    """Return the headings of a page of ``1:Scope 2:Gifts``, the tag's level before each heading's words."""
    named = [part.split(":", 1) for part in tags.split("; ")]
    body = "".join(f"<h{level}>{words}</h{level}><p>Words of {words}.</p>" for level, words in named)
    return [passage.heading[-1] for passage in page(body, head).passages]


def test_libreoffice_leaves_no_space_behind_the_numbers_of_its_headings() -> None:
    assert headings("1:<a name='scope'></a>1Purpose; 2:1.1Who; 2:1.2What; 3:1.2.1<i>Plants</i>; 1:2Gifts") == [
        "1 Purpose", "1.1 Who", "1.2 What", "1.2.1 Plants", "2 Gifts",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "tags, head",
    [
        ("1:1Purpose; 1:2Gifts", ""),  # another program
        ("1:1Purpose; 1:Annex", LIBREOFFICE),  # no number there
        ("1:1st floor; 1:2nd floor; 1:3rd floor", LIBREOFFICE),
        ("1:1D prints; 1:2D prints; 1:3D prints", LIBREOFFICE),
        ("1:2Purpose; 1:3Gifts", LIBREOFFICE),  # not the numbers that such headings have
        ("1:4G masts; 1:5G masts", LIBREOFFICE),
        ("1:1 Purpose; 1:2 Gifts", LIBREOFFICE),
    ],
)
def test_other_headings_stay_as_they_are_written(tags: str, head: str) -> None:
    assert headings(tags, head) == [part.split(":", 1)[1] for part in tags.split("; ")]
