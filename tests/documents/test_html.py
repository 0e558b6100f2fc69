"""HTML: what of a page counts, and in which encoding."""

from __future__ import annotations

import sys

import pytest

from valign.core.errors import ValignError
from valign.core.records import Document
from valign.documents.read import parse_document


def page(html: str | bytes) -> Document:
    raw = html.encode() if isinstance(html, str) else html
    document = parse_document(raw, "x", where="page.html", suffix="html")
    assert all(document.text[p.start : p.end] == p.text for p in document.passages)
    return document


def clauses(html: str | bytes) -> dict[str, str]:
    return {p.clause: p.text for p in page(html).passages}


def test_navigation_scripts_and_hidden_parts_are_left_out() -> None:
    html = """<!DOCTYPE html><html><head><title>Site | Code</title><style>p{}</style><script>var a="<p>Bad"</script>
    </head><body><nav><a>Home</a></nav><header><h1>The Code</h1></header><div role="navigation">Menu</div>
    <!-- a comment --><p hidden>Hidden.</p><p style="display: none">Gone.</p><noscript>Switch on.</noscript>
    <h2>1. Gifts &amp; favours</h2><p>No gifts above&nbsp;5&euro;,<br>ever.</p><template><p>No.</p></template>
    <footer>&copy; Company</footer><script>late()</script></body></html>"""
    document = page(html)
    assert document.title == "The Code"
    assert [(p.clause, p.heading, p.text) for p in document.passages] == [
        ("x/section-1", ("The Code", "1. Gifts & favours"), "No gifts above 5€,\never."),
    ]


def test_the_main_part_counts_where_there_is_one() -> None:
    html = "<title>Tab</title><h1>Name</h1><p>Advertisement.</p><main><h2>Article 1</h2><p>Be fair.</p></main>"
    document = page(html)
    assert (document.title, document.text) == ("Name", "Article 1\n\nBe fair.\n")
    assert page("<title>Tab</title><p>Only text.</p>").title == "Tab"


def test_lists_keep_their_numbers_and_depth() -> None:
    html = """<h1>C</h1><h2>Duties</h2><p>You must:</p><ol start="3"><li>wear a badge<ul><li>in front</li>
    <li><p>upright</p><p>always</p></li></ul></li><li value="7">lock doors</li></ol>
    <h2>Leave</h2><ol><li>Ask first.</li><li>Then go.</li></ol>"""
    document = page(html)
    assert document.text == (
        "C\n\nDuties\n\nYou must:\n\n3. wear a badge\n  - in front\n  - upright\n     always\n7. lock doors\n\n"
        "Leave\n\n1. Ask first.\n2. Then go.\n"
    )
    assert [p.clause for p in document.passages][-2:] == ["x/leave/1", "x/leave/2"]


def test_a_table_is_one_line_a_row_and_a_layout_table_is_read_as_text() -> None:
    table = "<table><caption>Limits</caption><tr><th>Gift</th><th>Limit</th></tr><tr><td>Food<br>or <b>drink</b></td>"
    table += "<td><p>9 marks</p></td></tr><tr><td></td><td>none</td></tr></table>"
    assert page(f"<h1>T</h1><p>See.</p>{table}").text == (
        "T\n\nSee.\n\nLimits\n\nGift | Limit\nFood or drink | 9 marks\n| none\n"
    )
    layout = "<table><tr><td><h2>Article 1</h2><p>One.</p></td><td><h2>Article 2</h2><p>Two.</p></td></tr></table>"
    assert clauses(layout) == {"x/article-1": "One.", "x/article-2": "Two."}


def test_marks_of_markdown_mean_nothing() -> None:
    html = "<h1>T</h1><h2>Signs</h2><p># is a number sign</p><p>```</p><p>Last one.</p>"
    assert clauses(html) == {"x/signs/1": "# is a number sign", "x/signs/2": "Last one."}


def test_a_bare_label_is_named_by_the_heading_of_the_same_level_below_it() -> None:
    html = "<h1>T</h1><h2>Article 1</h2><h2>Aim</h2><p>Trust.</p><h2>Article 2</h2><h3>Scope</h3><p>All.</p>"
    document = page(html)
    assert [(p.clause, p.heading[1:]) for p in document.passages] == [
        ("x/article-1", ("Article 1. Aim",)),
        ("x/scope", ("Article 2", "Scope")),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        "<meta charset='iso-8859-1'><p>Café — 9 €.</p>".encode("cp1252"),
        "<p>Café — 9 €.</p>".encode(),
        "\ufeff<meta charset='iso-8859-1'><p>Café — 9 €.</p>".encode(),
        "\ufeff<p>Café — 9 €.</p>".encode("utf-16-le"),
        "<meta charset='no-such'><p>Café — 9 €.</p>".encode(),
    ],
)
def test_encodings(raw: bytes) -> None:
    """Browsers read ISO 8859-1 as Windows-1252, where the dash and the euro have places."""
    assert page(raw).text == "Café — 9 €.\n"


def test_a_wrong_encoding_and_an_empty_page_are_named() -> None:
    with pytest.raises(ValignError, match=r"page\.html is not UTF-8 text \(byte 6\); save it as UTF-8"):
        page(b"<p>caf\xe9</p>")
    with pytest.raises(ValignError, match=r"page\.html is empty"):
        page("<nav>Home</nav><script>x()</script>")


def test_deep_and_unclosed_tags() -> None:
    assert clauses("<div>" * 20_000 + "Deep inside." + "</div>" * 5) == {"x/paragraph-1": "Deep inside."}
    assert clauses("<p>One.<p>Two.<ul><li>a<li>b") == {"x/paragraph-1": "One.\n\nTwo.\n\n- a\n- b"}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lxml", None)
    with pytest.raises(ValignError, match=r"HTML files need the package lxml: pip install 'valign\[documents\]'"):
        page("<p>Hello.</p>")
