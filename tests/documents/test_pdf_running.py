"""What a PDF repeats around its text: footers that name the chapter, and tables of contents in columns."""

from __future__ import annotations

from pdfs import Text, column, pdf

from valign.core.records import Document
from valign.documents.read import parse_document

FULL = "The harbour opens at six and closes at ten, and nobody enters it in between without a word to the watch"
CHAPTERS = ("Lights", "Oars", "Ropes and knots", "Sails", "Anchors", "Nets")


def chapter(name: str) -> list[Text]:
    return [(72, 760, name, 16, "b"), *column([f"{name}: {FULL}", f"when {name} are meant."], top=730)]


def told(name: str) -> str:
    return f"{name}: {FULL} when {name} are meant."


def opened(*pages: list[Text]) -> Document:
    return parse_document(pdf(*pages), "x", suffix="pdf")


def left_out(document: Document) -> dict[str, int]:
    return {one.reason: one.places for one in document.left_out}


def test_a_footer_that_names_the_chapter_beside_the_page_goes() -> None:
    """The words are others on every page, and the number counts the pages."""
    pages = [
        [*chapter(name), (72, 30, f"1.{index}. {name}"), (500, 30, str(index + 4))]
        for index, name in enumerate(CHAPTERS)
    ]
    document = opened(*pages)
    assert [p.text for p in document.passages] == [told(name) for name in CHAPTERS]
    assert left_out(document)["header or footer"] == len(CHAPTERS)


def test_a_last_row_whose_number_does_not_count_the_pages_stays() -> None:
    prices = (7, 7, 9, 4, 12, 3)
    pages = [
        [*chapter(name), (72, 30, f"Fee for {name}"), (500, 30, str(price))]
        for name, price in zip(CHAPTERS, prices, strict=True)
    ]
    texts = " ".join(p.text for p in opened(*pages).passages)
    assert all(f"Fee for {name} | {price}" in texts for name, price in zip(CHAPTERS, prices, strict=True))


def contents(rows: list[tuple[str, str, str]], top: float = 730) -> list[Text]:
    """Return rows of a title, its dots and a number, each drawn by itself."""
    found: list[Text] = []
    for index, (title, dots, number) in enumerate(rows):
        base = top - 14 * index
        found += [(72, base, f"{title} {dots}".strip()), (500, base, number)]
    return found


def test_a_table_of_contents_in_columns_goes_with_its_rows_without_dots() -> None:
    dots = " ".join("." * 60)
    rows = [
        ("1 On the water", "", "2"),
        *((f"1.{n} {name}", dots, str(n + 1)) for n, name in enumerate(CHAPTERS, start=1)),
    ]
    body = [chapter(name) for name in CHAPTERS]
    document = opened([(72, 760, "Contents", 16, "b"), *contents(rows)], *body)
    assert [p.text for p in document.passages] == [told(name) for name in CHAPTERS]
    assert left_out(document)["table of contents"] == len(rows)


def test_a_table_with_numbers_stays_without_dots_around_it() -> None:
    """Two dotted rows are a table of contents by themselves, and no proof for the rows beside them."""
    rows = [
        ("Food", "", "9"),
        ("Drink", "", "4"),
        ("Gifts", " ".join("." * 60), "2"),
        ("Boats", " ".join("." * 60), "3"),
    ]
    document = opened([*column([f"{FULL}:"], top=760), *contents(rows)])
    text = " ".join(p.text for p in document.passages)
    assert "Food | 9" in text and "Drink | 4" in text and "Gifts" not in text


def test_dotted_prices_are_no_table_of_contents() -> None:
    """Their numbers fall, as pages do not."""
    dots = " ".join("." * 60)
    prices = (("Tea", 4), ("Cake", 9), ("Rolls", 3), ("Soup", 12), ("Water", 1), ("Juice", 5))
    rows = [*((name, dots, str(price)) for name, price in prices), ("Deposit", "", "100")]
    text = " ".join(p.text for p in opened([*column([f"{FULL}:"], top=760), *contents(rows)]).passages)
    assert "Deposit | 100" in text and all(name in text for name, _ in prices)
