"""Tables of contents: lists of the headings that follow are no clauses, and lists that say something are."""

from __future__ import annotations

import pytest

from valign.documents.read import parse_document

BODY = {
    "md": "## Gifts\n\nNo gifts.\n\n## Travel\n\nBook early.\n\n### Trains\n\nTrains first.\n\n## Safety at work\n\n"
    "Wear helmets.\n",
    "txt": "1. Gifts\n\nNo gifts.\n\n2. Travel\n\nBook early.\n\n3. Safety at work\n\nWear helmets.\n",
    "html": "<h2>Gifts</h2><p>No gifts.</p><h2>Travel</h2><p>Book early.</p><h2>Safety at work</h2>"
    "<p>Wear helmets.</p>",
}
KEPT = {"No gifts.", "Book early.", "Wear helmets."}


def read(raw: str, suffix: str) -> tuple[list[str], dict[str, int]]:
    document = parse_document(raw.encode(), "x", suffix=suffix)
    return [p.text for p in document.passages], {one.reason: one.places for one in document.left_out}


@pytest.mark.parametrize(
    ("suffix", "contents"),
    [
        ("md", "## Contents\n\n- [Gifts](#gifts)\n- [Travel](#t)\n  - [Trains](#trains)\n- [Safety at work](#s)\n\n"),
        ("md", "- Gifts\n- Travel\n- Safety at work\n\n"),
        ("md", "1. Gifts\n2. Travel\n3. Safety at work\n\n"),
        ("md", "## Inhalt\n\n* Gifts\n* Travel\n* Safety at work\n\n"),
        ("txt", "Contents\n\n1. Gifts ........ 2\n2. Travel ....... 3\n3. Safety at work ... 4\n\n"),
        ("txt", "Contents\n\n1. Gifts\n2. Travel\n3. Safety at work\n\n"),
        ("txt", "* 1. Gifts\n\n* 2. Travel\n\n* 3. Safety\n  at work\n\n"),
        ("html", "<ul><li><a href='#a'>Gifts</a><li><a href='#b'>Travel</a><li><a href='#c'>Safety at work</a></ul>"),
    ],
)  # fmt: skip
def test_a_table_of_contents_is_no_clause_and_is_counted(suffix: str, contents: str) -> None:
    title = {"md": "# Code of conduct\n\n", "txt": "Code of conduct\n\n", "html": "<h1>Code of conduct</h1>"}[suffix]
    texts, left_out = read(title + contents + BODY[suffix], suffix)
    assert set(texts) - {"Trains first."} == KEPT
    assert left_out["table of contents"] >= 1


def test_a_sentence_above_the_list_stays() -> None:
    """The list is a paragraph of its own below a full stop, and the sentence's own below a colon."""
    texts, left_out = read(
        "Code of conduct\n\nThis is version 2.\n\n* 1. Gifts\n* 2. Travel\n* 3. Safety at work\n\n" + BODY["txt"], "txt"
    )
    assert set(texts) == {*KEPT, "This is version 2."}
    assert left_out["table of contents"] == 1
    texts, left_out = read("# Code\n\nThe code is about:\n\n- Gifts\n- Travel\n- Safety at work\n\n" + BODY["md"], "md")
    assert "The code is about:\n\n- Gifts\n- Travel\n- Safety at work" in texts
    assert "table of contents" not in left_out


@pytest.mark.parametrize(
    "stated",
    [
        "## Values\n\n- Honesty\n- Courage\n- Care\n\n### Honesty\n\nSay it.\n\n### Courage\n\nDo it.\n\n### Care\n\n"
        "Mean it.\n",
        "## Who\n\n- Staff\n- Guests\n- Gifts\n\n## Staff\n\nStaff serve.\n\n## Guests\n\nGuests stay.\n",
        "## Who\n\n- Gifts\n- Travel\n\n" + BODY["md"],
        "## Rules\n\n- Safety at work\n- Travel\n- Gifts\n\n" + BODY["md"],
    ],
    ids=["explained below", "one is no heading", "two alone", "another order"],
)  # fmt: skip
def test_a_list_that_states_something_stays(stated: str) -> None:
    texts, left_out = read(f"# Code\n\n{stated}\n## End\n\nThat is all.\n", "md")
    assert "table of contents" not in left_out
    assert texts[0].startswith("- ")


def test_a_list_of_some_headings_among_many_stays() -> None:
    """Three of ten headings are a selection."""
    names = [f"Topic {letter}" for letter in "abcdefghij"]
    body = "".join(f"## {name}\n\nA rule.\n\n" for name in names)
    texts, left_out = read(f"# Code\n\n- {names[0]}\n- {names[4]}\n- {names[9]}\n\n{body}", "md")
    assert texts[0] == f"- {names[0]}\n- {names[4]}\n- {names[9]}" and "table of contents" not in left_out


def test_a_document_of_headings_alone_keeps_its_list() -> None:
    """What is left would be nothing, so nothing is taken."""
    texts, _ = read("# Values\n\n- Honesty\n- Courage\n- Care\n\n## Honesty\n\n## Courage\n\n## Care\n", "md")
    assert any("Honesty" in text for text in texts)
