"""Tables of contents: lists of the headings that follow are no clauses, and lists that say something are."""

from __future__ import annotations

import time

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


TEN = [f"Matter {letter}" for letter in "abcdefghij"]
TEN_BELOW = "\n\n".join(f"{number}. {name}\n\nA rule about it." for number, name in enumerate(TEN, start=1))


def test_a_sentence_above_a_long_list_stays() -> None:
    """Ten headings in their order are no statement, with a sentence above them; below a colon they stay."""
    entries = "\n".join(f"* {number}. {name}" for number, name in enumerate(TEN, start=1))
    texts, left_out = read(f"Code of conduct\n\nThis is version 2.\n\n{entries}\n\n{TEN_BELOW}\n", "txt")
    assert texts[0] == "This is version 2." and left_out["table of contents"] == 1
    texts, left_out = read(f"Code of conduct\n\nThis code is about:\n\n{entries}\n\n{TEN_BELOW}\n", "txt")
    assert texts[0].startswith("This code is about:\n\n* 1. Matter a") and "table of contents" not in left_out


@pytest.mark.parametrize(
    "stated",
    [
        "## Values\n\n- Honesty\n- Courage\n- Care\n\n### Honesty\n\nSay it.\n\n### Courage\n\nDo it.\n\n### Care\n\n"
        "Mean it.\n",
        "## Who\n\n- Staff\n- Guests\n- Gifts\n\n## Staff\n\nStaff serve.\n\n## Guests\n\nGuests stay.\n",
        "## Who\n\n- Gifts\n- Travel\n\n" + BODY["md"],
        "## Rules\n\n- Safety at work\n- Travel\n- Gifts\n\n" + BODY["md"],
        "## Rules\n\n- Gifts\n- Travel\n- Safety at work\n\n" + BODY["md"],
        "## Contents\n\n- Gifts\n- Travel\n- No alcohol before noon\n- Safety at work\n\n" + BODY["md"],
    ],
    ids=["explained below", "one is no heading", "two alone", "another order", "few in a section", "a rule among them"],
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


@pytest.mark.parametrize("above", ["Staff are dismissed for:", "The following is banned."])
@pytest.mark.parametrize("mark", ["- ", "1. "])
def test_a_list_that_a_sentence_leads_to_stays(above: str, mark: str) -> None:
    names = ("Harassment", "Bribery", "Theft")
    items = "\n".join((f"{n}. " if mark == "1. " else mark) + name for n, name in enumerate(names, start=1))
    body = "\n\n".join(f"## {name}\n\nIt is told at once." for name in names)
    texts, left_out = read(f"# Code\n\n{above}\n\n{items}\n\n{body}\n", "md")
    assert "table of contents" not in left_out
    assert all(any(name in text for text in texts) for name in names)


def test_amounts_beside_names_are_no_pages() -> None:
    """Numbers that fall, and cells of a table."""
    body = "2. Annual leave\n\nAsk.\n\n3. Sick leave\n\nCall.\n\n4. Parental leave\n\nTell.\n"
    days = "Annual leave    25\nSick leave      10\nParental leave  90\n\n"
    texts, left_out = read(f"Code\n\n1. Days off\n\n{days}{body}", "txt")
    assert "25" in texts[0] and "90" in texts[0] and "table of contents" not in left_out
    rows = "".join(
        f"<tr><td>{n}</td><td>{y}</td></tr>" for n, y in (("Contracts", 10), ("Invoices", 7), ("Letters", 6))
    )
    below = "".join(f"<h2>{name}</h2><p>Kept.</p>" for name in ("Contracts", "Invoices", "Letters"))
    texts, left_out = read(f"<h1>Code</h1><h2>Years kept</h2><table>{rows}</table>{below}", "html")
    assert "Contracts | 10" in texts[0] and "table of contents" not in left_out


def test_sentences_that_are_headings_too_stay() -> None:
    rules = ("1. Do not smoke.", "2. Do not drink.", "3. Do not run.")
    body = "\n\n".join(f"### {rule}\n\nIt harms." for rule in rules)
    texts, left_out = read(f"# Ten rules\n\n{chr(10).join(rules)}\n\n## Why\n\n{body}\n", "md")
    assert "Do not smoke." in " ".join(texts) and "table of contents" not in left_out


def test_dots_without_end_take_no_time() -> None:
    start = time.perf_counter()
    read(f"# Form\n\n## A\n\nName {'.' * 4000} of guest\n\nName{' ' * 8000}of\n\n## B\n\nOne.\n\n## C\n\nTwo.\n", "md")
    assert time.perf_counter() - start < 5
