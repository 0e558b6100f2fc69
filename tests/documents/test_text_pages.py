"""Plain text in pages: what they repeat goes and is counted, and a paragraph goes on over the page."""

from __future__ import annotations

import time

import pytest

from valign.documents.read import parse_document

TOPICS = ("Gifts", "Travel", "Safety", "Records")


def paged(header: str, footer: str) -> str:
    pages = []
    for number, topic in enumerate(TOPICS, start=1):
        body = f"{number}. {topic}\n\nStaff keep the rule of {topic} at all times,\nand this is so\n"
        end = f"in matter {number} of the house.\n\n" if number > 1 else ""
        pages.append(f"{header.format(number)}\n\n{end}{body}\n\n{footer.format(number)}\n")
    return "\f".join([*pages, "in matter 5 of the house.\n"])


def read(text: str) -> tuple[str, list[str], dict[str, int]]:
    document = parse_document(text.encode(), "x", suffix="txt")
    texts = [" ".join(p.text.split()) for p in document.passages]
    return document.title, texts, {one.reason: one.places for one in document.left_out}


def test_headers_footers_and_page_numbers_go() -> None:
    """Four footers, and three headers: the first page's may be the title."""
    title, texts, left_out = read(paged("The Code      Version 2", "Draft                [Page {}]"))
    assert title == "The Code Version 2"
    assert texts == [
        f"Staff keep the rule of {topic} at all times, and this is so in matter {number} of the house."
        for number, topic in enumerate(TOPICS, start=2)
    ]
    assert left_out["header or footer"] == 7


def test_a_number_alone_that_counts_the_pages_goes_on_the_first_page_too() -> None:
    _, texts, left_out = read(paged("{}", "- {} of 4 -"))
    assert not any(text.startswith(("1", "-")) for text in texts) and len(texts) == 4
    assert left_out["header or footer"] == 8


def test_labels_that_count_like_pages_and_other_last_lines_stay() -> None:
    pages = [
        f"Rule {number}\n\nKeep it.\n\nFee: {price} marks.\n" for number, price in ((1, 7), (2, 7), (3, 9), (4, 2))
    ]
    _, texts, left_out = read("\f".join(pages))
    assert [text for text in texts if text.startswith("Fee")] == [f"Fee: {price} marks." for price in (7, 7, 9, 2)]
    assert "header or footer" not in left_out
    ids = [p.clause for p in parse_document("\f".join(pages).encode(), "x", suffix="txt").passages]
    assert ids[:2] == ["x/rule-1/1", "x/rule-1/2"]


def test_two_pages_prove_nothing() -> None:
    _, texts, left_out = read("Boats\n\nKeep them dry.\n\nThe end\n\fBoats\n\nPaint them.\n\nThe end\n")
    assert texts.count("The end") == 2 and "header or footer" not in left_out


def test_many_pages_take_time_by_their_number() -> None:
    """Ten times the pages take about ten times as long; a hundred times would be quadratic."""

    def seconds(count: int) -> float:
        body = "\f".join(f"Head\n\n{'Keep the rule of the house at all times. ' * 20}\n\n{n}\n" for n in range(count))
        start = time.perf_counter()
        read(body)
        return time.perf_counter() - start

    seconds(20)
    assert seconds(2000) < 40 * seconds(200) + 1


@pytest.mark.parametrize(
    "pages",
    [
        [f"Guests must pay {n} euros." for n in range(1, 5)],
        [f"Day {n}\nBe in by 8 o'clock." for n in range(1, 4)],
        [f"Level {n}\n\nAccidents are reported." for n in range(1, 5)],
        [f"{n}. Scope\n\nAll of it." for n in range(1, 5)],
        [f"Rest on day {n}.\n\n{n}. No smoking." for n in range(1, 5)],
        [f"Topic {letter}\n\nBreaches lead to dismissal." for letter in "abcd"],
    ],
)
def test_what_counts_like_the_pages_or_comes_again_and_says_something_stays(pages: list[str]) -> None:
    document = parse_document("\f".join(pages).encode(), "x", suffix="txt")
    told = f"{document.title} " + " ".join(" ".join((*p.heading, p.text)) for p in document.passages)
    assert all(word in told for page in pages for word in page.split())
    assert not any(one.reason == "header or footer" for one in document.left_out)


def test_pages_of_nothing_but_what_comes_again_are_read_whole() -> None:
    document = parse_document("\f".join(["Be kind"] * 4).encode(), "x", suffix="txt")
    assert "Be kind" in document.text and document.passages
