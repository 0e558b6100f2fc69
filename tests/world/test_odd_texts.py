"""What a page, a Markdown file or a plain text hides or says beside its rules, in forms that other programs write."""

from __future__ import annotations

import pytest

from valign.core.records import Document
from valign.documents.read import parse_document


def parsed(text: str, suffix: str) -> Document:
    return parse_document(text.encode(), "x", suffix=suffix)


def counts(document: Document) -> dict[str, int]:
    return {part.reason: part.characters for part in document.left_out if part.reason != "script or style"}


def page(html: str) -> tuple[str, dict[str, int]]:
    document = parsed(f"<h1>T</h1><p>Keep 30.</p>{html}", "html")
    return document.text.removeprefix("T\n\nKeep 30.\n").strip(), counts(document)


@pytest.mark.parametrize(
    "html",
    [
        "<style>.x{display:none}</style><p class='a x'>Draft.</p>",
        "<style>#x{display:none !important}</style><p id=x>Draft.</p>",
        "<style>.y{color:red}/* .z{} */ .w, p.x { visibility: hidden }</style><p class=x>Draft.</p>",
        "<style>@media screen{.x{display:none}}</style><p class=x>Draft.</p>",
        "<p class='note hidden'>Draft.</p>",
        "<p class=d-none>Draft.</p>",
        "<p><span class='sr-only'>Draft.</span></p>",
        "<p><b class=visually-hidden>Draft.</b></p>",
        "<p popover>Draft.</p>",
    ],
)
def test_what_a_style_sheet_or_a_well_known_class_hides(html: str) -> None:
    assert page(html) == ("", {"hidden": 6})


@pytest.mark.parametrize(
    "html",
    [
        "<style>/* .x{display:none} */</style><p class=x>Rule.</p>",
        "<style>@media print{.x{display:none}}</style><p class=x>Rule.</p>",
        "<style>.x{display:none}@media (min-width:9px){.x{display:block}}</style><p class=x>Rule.</p>",
        "<style>.x{display:none}.x.open{display:block}</style><p class=x>Rule.</p>",
        "<style>.x{display:none}</style><p class=x style='display:block'>Rule.</p>",
        "<style>div.x{display:none}</style><p class=x>Rule.</p>",
        "<style>.accordion-panel{display:none}</style><div class=accordion-panel>Rule.</div>",
        "<style>#more{display:none}</style><p><b id=more>Rule.</b></p>",
        "<style>.x{display:none</style><p class=x>Rule.</p>",
        "<p class='hidden md:block'>Rule.</p>",
        "<p class='d-none d-md-block'>Rule.</p>",
    ],
)
def test_what_is_shown_on_some_screens_or_opened_is_read(html: str) -> None:
    assert page(html) == ("Rule.", {})


def test_a_page_whose_body_waits_for_a_script_is_read() -> None:
    document = parsed("<html class=hidden><style>.js{display:none}</style><body class=js><p>Keep 30.</p>", "html")
    assert document.text == "Keep 30.\n"


@pytest.mark.parametrize(
    ("html", "text", "counted"),
    [
        ("<p>Pay <meter value=3>3 of 4</meter><progress>50%</progress>60.</p>", "Pay 60.", {"form field": 7}),
        ("<iframe srcdoc='&lt;p&gt;Inner.'>No frames</iframe>", "", {"drawing or media": 9}),
        ("<h2>Gifts<a class=headerlink href='#g'>¶</a></h2><p>None.</p>", "Gifts\n\nNone.", {"navigation": 1}),
        ("<h2 class=sr-only>Gifts</h2><p>None.</p>", "Gifts\n\nNone.", {}),
        ("<ol style='list-style:none'><li>§ 5 None.</ol>", "- § 5 None.", {}),
        ("<b style='float:left'>30</b>40 or 5<b style='display:inline-block'>0</b>.", "30 40 or 5 0.", {}),
        ("<style>.r{display:flex}</style><p class=r><b>30</b><b>40</b></p>", "30 40", {}),
        ("<p><b style='float:left'>G</b>ifts.</p>", "Gifts.", {}),
        ("<b style='display:block'>Fee 30</b><b style='display:block'>40 euros.</b>", "Fee 30\n\n40 euros.", {}),
    ],
)
def test_what_stands_beside_the_words_of_a_page(html: str, text: str, counted: dict[str, int]) -> None:
    assert page(html) == (text, counted)


@pytest.mark.parametrize(
    ("front", "title"),
    [
        ('{\n "title": "Code",\n "tags": ["a"]\n}\n', "Code"),
        ('{"draft": true}\n', "X"),
        ("% Code of\n  gifts\n% Ann; Bob\n% 2024\n", "Code of gifts"),
    ],
)
def test_front_matter_of_hugo_and_pandoc(front: str, title: str) -> None:
    document = parsed(f"{front}\nKeep 30.\n", "md")
    assert (document.title, [p.text for p in document.passages]) == (title, ["Keep 30."])
    assert counts(document) == {"front matter": sum(map(len, front.split()))}


@pytest.mark.parametrize(
    "text",
    [
        "{no json}\n\nKeep 30.",
        "% 5 of all\nis kept.\n\nKeep 30.",
        '{"a": 1} is it.',
    ],
)
def test_what_only_looks_like_front_matter_is_read(text: str) -> None:
    assert parsed(text, "md").text.split() == text.split()


def test_a_terminals_colours_are_no_text() -> None:
    text = "\x1b[1mCode\x1b[0m\n\nKeep \x1b[31;1m30\x1b[0m \x1b]8;;http://x\x1b\\euros\x1b]8;;\x07 [31m.\n"
    document = parsed(text, "txt")
    assert (document.title, document.passages[0].text) == ("Code", "Keep 30 euros [31m.")


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Artículo 1º. Todos.\n\nArtículo 2.º Nadie.", "article-1:Todos. article-2:Nadie."),
        ("Artículo 3.º\n\nUno.", "article-3:Uno."),
        ("Art. 1º Todos.\n\n§ 1º Nada.\n\nArt. 2º Uno.", "article-1:Todos. section-1:Nada. article-2:Uno."),
        ("第一条の二　社員。\n\n第三条　会社。", "article-1-2:社員。 article-3:会社。"),
        ("1. § Mindenki.\n\n2. § Senki.", "section-1:Mindenki. section-2:Senki."),
        ("1 § Lagen.\n\n2 § Ingen.", "section-1:Lagen. section-2:Ingen."),
        ("Čl. 1\n\nVšichni.\n\nČl. 2\n\nNikdo.", "article-1:Všichni. article-2:Nikdo."),
        ("มาตรา ๑ สมาชิก\n\nจ่าย\n\nมาตรา 2\n\nห้าม", "article-1:จ่าย article-2:ห้าม"),
        ("ماده ۱ - همه.\n\nماده ۲ - هیچ.", "article-1:همه. article-2:هیچ."),
        ("第1章\n\n第1조\n\n1. 가\n\n2. 나\n\n第2조\n\n끝.".replace("第", "제").replace("章", "장"),
         "article-1:가 article-1:나 article-2:끝."),
        ("Article 1\n\n1. Staff\n\n2. Guests\n\nArticle 2\n\nAll.", "article-1:Staff article-1:Guests article-2:All."),
        ("धारा 2\n\nसभी।\n\nधारा 3. नहीं।", "section-2:सभी। section-3:नहीं।"),
    ],
)  # fmt: skip
def test_labels_of_laws(text: str, clauses: str) -> None:
    document = parsed(f"Codex X\n\n{text}\n", "txt")
    assert [f"{p.clause.split('/')[1]}:{p.text}" for p in document.passages] == clauses.split()


def test_marks_that_nothing_shows_are_left_out() -> None:
    """Of the direction of writing, and Unicode's tags, which can hold words for machines alone."""
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "Pay 90.")
    assert parsed(f"Keep \u206630\u2069\u200f days.{hidden}\n", "txt").text == "Keep 30 days.\n"
    assert page(f"<p>Keep 30\u200e days.{hidden}</p>") == ("Keep 30 days.", {})
