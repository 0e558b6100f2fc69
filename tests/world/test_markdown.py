"""Markdown as people write it: what is a clause, what is left out, and what hostile files may not do."""

from __future__ import annotations

import pytest

from valign.core.errors import ValignError
from valign.core.records import Document
from valign.documents.read import parse_document


def opened(text: str) -> Document:
    document = parse_document(text.encode(), "x", where="policy.md", suffix="md")
    assert all(document.text[p.start : p.end] == p.text for p in document.passages)
    return document


def passages(text: str) -> list[str]:
    return [passage.text for passage in opened(text).passages]


def left_out(text: str) -> dict[str, int]:
    return {part.reason: part.places for part in opened(text).left_out}


@pytest.mark.parametrize(
    "front",
    [
        '---\n# who: legal\ntitle: "Code of the Pier"\ntags: [a]\nabout: >\n  Long\n  words\nnested:\n- {a: 1}\n---\n',
        "---\ntitle: Code of the Pier\n...\n",
        '+++\ntitle = "Code of the Pier"\ndate = 2024-01-01\n[extra]\na = [1,\n 2]\n+++\n',
        "---  \r\ntitle: Code of the Pier\r\n---\r\n",
    ],
)
def test_front_matter_gives_the_title_and_no_clause(front: str) -> None:
    document = opened(f"{front}\n## Gifts\n\nNo gifts above 50 euros.\n")
    assert document.title == "Code of the Pier"
    assert [(p.clause, p.text) for p in document.passages] == [("x/gifts", "No gifts above 50 euros.")]
    assert [part.reason for part in document.left_out] == ["front matter"]


def test_a_heading_of_the_text_is_its_title_before_that_of_the_front_matter() -> None:
    assert opened("---\ntitle: Page 7\n---\n# Code\n\n## Gifts\n\nNone.\n").title == "Code"
    several = opened("---\ntitle: Handbook\n---\n# Gifts\n\nNone.\n\n# Travel\n\nTrains.\n")
    assert (several.title, [p.clause for p in several.passages]) == ("Handbook", ["x/gifts", "x/travel"])


@pytest.mark.parametrize(
    "text", ["---\nBe kind,\nand fair.\n---\n\nNo gifts.\n", "---\n\nBe kind,\nand fair.\n\nNo gifts.\n"]
)
def test_sentences_between_rules_are_no_front_matter(text: str) -> None:
    assert " ".join(passages(text)).split() == "Be kind, and fair. No gifts.".split()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("See [the *list*](https://example.com/a_b?x=1 'T') and [rules][r].", "See the list and rules."),
        (
            "Write to <office@example.com> or https://x.org/a_b_c.",
            "Write to office@example.com or https://x.org/a_b_c.",
        ),
        ("At most ~~40~~ 50 euros, ~not~ now.", "At most 50 euros, now."),
        ("Within 5~10 days or 20~30 weeks, ~50 in all.", "Within 5~10 days or 20~30 weeks, ~50 in all."),
        (r"50\* euros, \#1, a\_b, 1\. 2 &euro; &amp; &#8364;.", "50* euros, #1, a_b, 1. 2 € & €."),
        ("First line<br>second line<br/>third.", "First line\nsecond line\nthird."),
        ("Ask <name> or <your-name> or <Your Name>.", "Ask <name> or or <Your Name>."),
        ("The `code` is *one* __two__ ***three*** a_b_c 2*3*4.", "The code is one two three a_b_c 2*3*4."),
        ("Above 30<sup>2</sup> euros, 9 m^2^ and 10<sup>6</sup>.", "Above 30 euros, 9 m² and 10⁶."),
        ("The limit is <del>50</del><ins>30</ins> <!-- or 40? --> euros.", "The limit is 30 euros."),
        ("![the logo](l.png) We are fair.", "We are fair."),
        ("[run](javascript:alert(1)) is a link.", "run is a link."),
        ("A [link](b){:target='_blank'} and **bold**{.x}.", "A link and bold."),
        ("The set {a, b} and f{x}.", "The set {a, b} and f{x}."),
        ("Gift\n: Anything of value.", "Gift: Anything of value."),
        ("> [!WARNING]\n> Never take cash.", "Never take cash."),
        (":::danger Take care\nNever take cash.\n:::", "Take care\n\nNever take cash."),
        ("Pay at once.\n{: .lead}", "Pay at once."),
    ],
)
def test_marks_go_and_words_stay(written: str, read: str) -> None:
    found = passages(f"# Code\n\n## A\n\n### B\n\nBefore it.\n\n{written}\n\n[r]: https://example.com/ref\n")
    assert found[0] == "Before it."
    assert "\n\n".join(found[1:]) == read


def test_a_footnote_stands_behind_each_paragraph_that_cites_it() -> None:
    text = "# C\n\n## A\n\nAbove 50[^1] euros.^[Or 60.]\n\nBelow 9[^1].\n\n## B\n\nNo note.\n\n[^1]: Net of "
    text += "*tax*[^2].\n\n    Every year.\n\n[^2]: Any tax.\n[^3]: Not cited.\n"
    assert passages(text) == [
        "Above 50 euros. [Note: Net of tax. Every year.] [Note: Or 60.] [Note: Any tax.]",
        "Below 9. [Note: Net of tax. Every year.] [Note: Any tax.]",
        "No note.",
        "Not cited.",
    ]
    assert left_out(text) == {"note mark": 3}


def test_notes_that_cite_each_other_end() -> None:
    notes = (
        "".join(f"[^{k}]: Note {k}[^{k + 1}][^{k + 2}].\n\n" for k in range(60)) + "[^60]: End[^0].\n\n[^61]: End.\n"
    )
    assert " ".join(passages(f"# Code\n\nSee[^0].\n\n{notes}")).count("[Note:") == 62


def test_what_is_left_out_is_counted_by_reason() -> None:
    text = "# C {#top}\n\n<!-- a\n\nb -->\n\n## Gifts\n\nA [b](http://c) ~~d~~ ![e](f.png)\n\n[//]: # (not public)\n"
    assert left_out(text) == {
        "attributes of markup": 1, "comment": 2, "link address": 1, "deleted or struck through": 1,
        "drawing or media": 1,
    }  # fmt: skip


def test_headings() -> None:
    text = (
        "Code\n====\n\nGifts {#gifts .rule}\n-----\nNone.\n\n### *Small* gifts ###\n\nTea.\n\n"
        "## Cars {-}\n\nNo cars.\n\nOne line\nand another.\n---\n\nEnd.\n"
    )
    document = opened(text)
    assert document.title == "Code"
    assert [(p.clause, p.text) for p in document.passages] == [
        ("x/gifts", "None."),
        ("x/small-gifts", "Tea."),
        ("x/cars/1", "No cars."),
        ("x/cars/2", "One line\nand another."),
        ("x/cars/3", "End."),
    ]


def test_bold_lines_are_headings_where_there_are_no_others() -> None:
    bold = "The Code\n\n**Gifts, and all that could be one for whoever may see it.**\n\nNone.\n\n**Cars**\n\nNone.\n"
    assert [p.clause for p in opened(bold).passages][1:] == ["x/cars"]
    assert passages("# Code\n\n## A\n\n**Never lie.**\n\nNever.\n") == ["Never lie.", "Never."]


def test_lists_tables_code_and_html() -> None:
    text = (
        "# Code\n\n## A\n\n1. One\n   - inner\n   - more\n\n     of it\n1. Two\n\n## B\n\n"
        "You must\n\n* be fair\n  to all\n* rest\n\n"
        "## C\n\n| Gift | Limit |\n|:--|--:|\n| *Food* | 50 \\| 60 |\n\n"
        "## D\n\n```text\n# no heading\nARTICLE 5\n```\n\n"
        "## E\n\n<details>\n<summary>Cars</summary>\n\nNo **cars**.\n\n</details>\n\n"
        "## F\n\n<table><tr><td>Tea</td><td>9</td></tr></table>\n\n<div hidden>\n\nSecret.\n\n</div>\n"
    )
    found = {p.clause: p.text for p in opened(text).passages}
    assert found.pop("x/a/1").split() == ["One", "-", "inner", "-", "more", "of", "it"]
    assert found.pop("x/b").split() == ["You", "must", "-", "be", "fair", "to", "all", "-", "rest"]
    assert found == {
        "x/a/2": "Two",
        "x/c": "Gift | Limit\nFood | 50 | 60",
        "x/d": "# no heading\nARTICLE 5",
        "x/cars": "No cars.",
        "x/f": "Tea | 9",
    }


def test_lines_of_a_paragraph_stay_lines() -> None:
    text = "Rules\n\nRule 1: Always be kind\nRule 2: Never lie to them\nRule 3. Rest.\n\n(a) We;\n(b) they.\n"
    assert passages(text) == ["Always be kind", "Never lie to them", "Rest.\n\n(a) We;\n(b) they."]


@pytest.mark.parametrize("deep", ["> " * 200, "- " * 200, "".join(f"{'  ' * k}- a\n" for k in range(200)) + "  " * 200])
def test_what_is_nested_too_deep_is_one_line(deep: str) -> None:
    with pytest.raises(ValignError, match=r"policy.md: lists and quotations are nested more than 50 deep"):
        opened(f"# Code\n\n{deep}x\n")


def test_front_matter_that_is_a_trap_is_read_at_once() -> None:
    aliases = "---\na0: &a0 {k: v}\n" + "".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}\n" for k in range(1, 60))
    assert passages(f"{aliases}---\n\nBe kind.\n") == ["Be kind."]
    assert "Be kind." in passages(f"---\na: {'[' * 3000}\n---\n\nBe kind.\n")[-1]
