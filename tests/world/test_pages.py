"""Web pages as people write them: panels, note marks, struck words, unclosed tags; and hostile ones, which end soon."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from valign.core.errors import ValignError
from valign.core.records import Document
from valign.documents.read import parse_document
from valign.documents.readers.html_tree import parse_page


def page(html: str | bytes) -> Document:
    raw = html.encode() if isinstance(html, str) else html
    return parse_document(raw, "x", where="page.html", suffix="html")


def told(html: str) -> list[tuple[str, str]]:
    """The innermost heading and the text of each passage."""
    return [(p.heading[-1], p.text) for p in page(html).passages]


def left_out(html: str) -> dict[str, tuple[int, int]]:
    """Characters and places left out, by reason."""
    return {part.reason: (part.characters, part.places) for part in page(html).left_out}


RULES = [("Gifts", "No gifts above 50 euros."), ("Travel", "Use trains.")]


@pytest.mark.parametrize(
    "html",
    [
        "<h2><button aria-expanded='false' aria-controls='p'>Gifts</button></h2><div id='p' hidden><p>{0}</p></div>"
        "<h2><button aria-expanded='true'>Travel</button></h2><div><p>{1}</p></div>",
        "<button class='accordion'>Gifts</button><div class='panel' style='display:none'><p>{0}</p></div>"
        "<button class='accordion'>Travel</button><div class='panel' style='display: none !important'>{1}</div>",
        "<details><summary>Gifts</summary><p>{0}</details><details open><summary>Travel</summary>{1}</details>",
        "<details><summary><h3>Gifts</h3></summary><p>{0}</details><details><summary><h3>Travel</h3></summary>{1}"
        "</details>",
        "<ul role='tablist'><li><a role='tab' href='#a'>Gifts</a></li><li><a role='tab' href='#b'>Travel</a></li></ul>"
        "<div id='a' role='tabpanel'>{0}</div><div id='b' role='tabpanel' hidden>{1}</div>",
        "<h2>Gifts</h2><div aria-hidden='true'><p>{0}</p></div><h2>Travel</h2><div hidden='until-found'>{1}</div>",
        "<button data-bs-toggle='collapse' data-bs-target='#a'>Gifts</button><div id='a' class='collapse'>{0}</div>"
        "<div role='heading' aria-level='2'>Travel</div><p>{1}</p>",
        "<h2>Gifts<p>{0}<h2>Travel<p>{1}",
        "<h2>Gifts</h2></body></html><p>{0}</p></html><h2>Travel</h2>{1}",
    ],
)
def test_panels_are_read_with_their_titles(html: str) -> None:
    filled = "<h1>Code</h1>" + html.format(*(text for _, text in RULES))
    assert told(filled) == RULES
    assert left_out(filled) == {}


def test_what_is_no_rule_is_left_out_and_counted() -> None:
    html = """<title>Code</title><nav>Home</nav><h1>Code</h1><button aria-controls='m'>Menu</button>
    <div id='m' hidden><a href='/'>Start</a></div><h2>Gifts</h2><p>No gifts.<!-- legal wants 40 --></p>
    <p hidden>Draft.</p><span style='visibility:hidden'>ghost</span><div class='cookie' hidden><h2>Us</h2></div>
    <s>Old rule.</s><select><option>ten</select><script>var a</script><svg><text>art</text></svg>
    <span aria-hidden='true'>#</span><footer>ACME</footer>"""
    assert told(html) == [("Gifts", "No gifts.")]
    assert left_out(html) == {
        "navigation": (9, 2),
        "form field": (7, 2),
        "comment": (12, 1),
        "hidden": (14, 4),
        "deleted or struck through": (8, 1),
        "script or style": (4, 1),
        "drawing or media": (3, 1),
        "header or footer": (4, 1),
    }


def test_what_stands_outside_the_main_part_is_counted() -> None:
    html = "<h1>Name</h1><p>Advert.</p><nav>Home</nav><main><h2>Article 1</h2><p>Be fair.</p></main>tail"
    assert (page(html).title, told(html)) == ("Name", [("Article 1", "Be fair.")])
    assert left_out(html)["outside the main part"] == (15, 3)
    assert left_out(html)["navigation"] == (4, 1)


def test_a_heading_without_text_is_counted() -> None:
    html = "<h1>T</h1><h2>Empty</h2><h2>Full</h2><h3>Inner</h3><p>Words.</p>"
    assert (told(html), left_out(html)) == ([("Inner", "Words.")], {"heading without text": (5, 1)})


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("Gifts above 30<sup>2</sup> euros", "Gifts above 30 euros"),
        ("Gifts above 30<sup><a href='#fn2'>2</a></sup><sup>3</sup> euros", "Gifts above 30 euros"),
        ("above 30<a role='doc-noteref' href='#n'>2</a> euros", "above 30 euros"),
        ("above 30<span style='vertical-align: super; font-size: 6pt'>2</span> euros", "above 30 euros"),
        ("30 m<sup>2</sup> and 10<sup>6</sup>, the 1<sup>st</sup> day", "30 m² and 10⁶, the 1st day"),
        ("The limit is <del>50</del><ins>30</ins> euros", "The limit is 30 euros"),
        ("is <s>50</s><span style='text-decoration:line-through'>40</span> 30", "is 30"),
        ("<sup>1</sup>Net of tax", "1 Net of tax"),
        ("H<sub>2</sub>O, 30<sub>2</sub>", "H2O, 30₂"),
        ("<math><mn>10</mn><msup><mi>m</mi><mn>2</mn></msup><mfrac><mn>1</mn><mn>2</mn></mfrac></math>", "10m²1/2"),
        ("see <a href='#notes'>the note on gifts</a>", "see the note on gifts"),
    ],
)
def test_raised_and_deleted_words(html: str, text: str) -> None:
    assert page(f"<h1>T</h1><h2>A</h2><p>{html}.</p>").passages[0].text == f"{text}."


def test_numbers_of_lists_and_cells_that_reach_down() -> None:
    html = """<h1>T</h1><h2>A</h2><ol type="a"><li>x<li>y</ol><h2>B</h2><ol start="3" style="list-style: upper-roman">
    <li>x<li>y</ol><h2>C</h2><ol reversed><li>x<li>y</ol><h2>D</h2><table><tr><th>Gift<th>Limit<th>Who
    <tr><td rowspan=2>Food<td>50<td>all<tr><td>60<td>boss</table>"""
    assert page(html).text == (
        "T\n\nA\n\na. x\nb. y\n\nB\n\nIII. x\nIV. y\n\nC\n\n2. x\n1. y\n\nD\n\n"
        "Gift | Limit | Who\nFood | 50 | all\n| 60 | boss\n"
    )


HOSTILE = {
    "attributes": "<a x='" + "<a b=" * 4000,
    "many attributes": "<p " + " ".join(f"a{i}=1" for i in range(20_000)) + ">word",
    "comments": "<!--" * 10_000,
    "tables": "<table>" * 3000 + "word",
    "cells": "<table>" + "<tr>" + "<td rowspan=65000 colspan=1000>word" * 500 + "<tr><td>y" * 500,
    "spaces": "<pre>word" + " " * 40_000 + "y</pre>",
    "wide spaces": "<p>word" + "\u2003" * 40_000 + "y",
    "breaks": "<p>word" + "\v" * 40_000 + "<br>" * 3000 + "y",
    "lists": "<ul><li>word" * 2000,
    "buttons": "<button aria-expanded=1 aria-controls=a id=a>" * 3000 + "word",
    "marks": "<p>word 30" + "<sup>2</sup>" * 3000,
    "deep": "<div>" * 50_000 + "</b>" * 50_000,
    "hidden": "<div hidden class=panel>" * 2000 + "word",
    "heights": "<p>30<span style='vertical-align:" + "1." * 50_000 + "'>2</span>word",
    "rules": "<style>"
    + ".a{" * 30_000
    + ".a{display:none}/*" * 30_000
    + "</style><p class='"
    + "b " * 50_000
    + "'>word",
    "declaration": "<p>word<![x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_end_soon(name: str) -> None:
    """Each took seconds to hours, or ended in a traceback. Time is that of the process, in seconds."""
    start = time.process_time()
    try:
        assert "word" in page(HOSTILE[name]).text and len(page(HOSTILE[name]).text) < 300_000
    except ValignError as error:
        assert str(error).startswith("page.html ")
    assert time.process_time() - start < 5


@pytest.mark.parametrize("charset", "rot13 hex punycode idna zlib undefined utf-7 unicode_escape no-such".split())
def test_strange_encodings_are_not_followed(charset: str) -> None:
    assert page(f"<meta charset={charset}><p>Caf\u00e9 hours.".encode()).text == "Café hours.\n"


@pytest.mark.parametrize("end", ["<!-- x", "<p title='x>y", "<div cla", "<script>x", "<textarea>x"])
def test_a_page_that_is_cut_off_is_refused(end: str) -> None:
    with pytest.raises(ValignError, match=r"page\.html ends within .* that begins further up and is not closed"):
        page(f"<p>Some words.</p>{end}")


def test_every_visible_character_is_in_a_passage_or_counted() -> None:
    """On pages put together at random from what pages are made of, with tags that nothing closes."""
    draw = random.Random(21)
    tags = (
        "p div h2 h3 ul ol li table tr td th b i sup sub span button nav footer details summary s section blockquote "
        "dl dt dd pre a main select label"
    ).split()
    with_attributes = [
        "<div hidden>", "<div class='panel' style='display:none'>", "<p aria-hidden=true>", "<a role=tab href='#k3'>",
        "<div id=k3 role=tabpanel>", "<button aria-expanded=false aria-controls=k3>", "<!-- qqq -->", "<br>",
        "<ol type=i>", "<td rowspan=2>", "<a href='#fn1'>", "</body>", "<ins>",
    ]  # fmt: skip
    refused = 0
    for _ in range(150):
        parts: list[str] = []
        for number in range(draw.randint(1, 40)):
            kind = draw.random()
            tag = draw.choice(tags)
            parts.append(
                f"w{number} " if kind < 0.45 else f"<{tag}>" if kind < 0.7 else f"</{tag}>" if kind < 0.85
                else draw.choice(with_attributes)
            )  # fmt: skip
        html = "<h1>Title</h1><p>first</p>" + "".join(parts)
        try:
            document = page(html)
        except ValignError as error:
            assert str(error).startswith(("page.html is empty", "page.html holds no paragraph"))
            refused += 1
            continue
        seen = Counter("".join([document.text, *(h for p in document.passages for h in p.heading)]))
        counted = sum(part.characters for part in document.left_out)
        visible = Counter(c for c in parse_page(html, "x").text() if c.isalnum())
        missing = sum((visible - seen).values())
        assert missing <= counted, (html, document.text, document.left_out)
    assert refused < 15
