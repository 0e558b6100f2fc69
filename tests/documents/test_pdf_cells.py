"""PDF: tables that are set closely, and what only looks like one."""

from __future__ import annotations

import time

import pytest
from pdfs import Text, column, pdf
from reportlab.pdfbase.pdfmetrics import stringWidth

from valign.documents.read import parse_document
from valign.documents.readers.pdf_cells import cell_starts
from valign.documents.readers.pdf_words import Word

INTRO = column(["The makers of gauges keep this rule in every workshop and at every bench.", "", "It says:", ""])


def blocks(texts: list[Text]) -> list[str]:
    return parse_document(pdf([*INTRO, *texts]), "x", suffix="pdf").text.rstrip("\n").split("\n\n")[2:]


def row(base: float, *cells: str, lefts: tuple[float, ...] = (72, 154, 194), font: str = "") -> list[Text]:
    return [(left, base, cell, 10, font) for left, cell in zip(lefts, cells, strict=True)]


def test_cells_with_little_room_between_them() -> None:
    """Ten points lie between the longest cells; the head is centred."""
    assert stringWidth("Walking surveys", "Times-Roman", 10) > 154 - 72 - 21
    table = [
        *row(700, "Work", "Shoes", "Also needed", lefts=(90, 150, 200)),
        *row(686, "Walking surveys", "boots", "whistle"),
        *row(672, "Coring peat", "waders", "helmet, gloves"),
        *row(658, "Boats", "clogs", "life jacket"),
    ]
    assert blocks(table) == [
        "Work | Shoes | Also needed\nWalking surveys | boots | whistle\nCoring peat | waders | helmet, gloves\n"
        "Boats | clogs | life jacket"
    ]


def test_two_rows_are_no_proof_of_a_table() -> None:
    lines = [*row(700, "Walking on dry land", "boots or", "shoes", lefts=(72, 162, 210))]
    lines += row(688, "and then by boat to", "the mill", "at dusk.", lefts=(72, 162, 210))
    assert blocks(lines) == ["Walking on dry land boots or shoes and then by boat to the mill at dusk."]


def test_a_narrow_paragraph_set_to_both_margins_is_no_table() -> None:
    """Its words stand below one another, but all spaces of a row are wide."""
    words = [("The", "keeper", "of"), ("all", "gauges", "may"), ("not", "accept", "any"), ("one", "gift.", "Ever.")]
    lines = [text for k, three in enumerate(words) for text in row(700 - 12 * k, *three, lefts=(72, 100, 138))]
    assert blocks(lines) == ["The keeper of all gauges may not accept any one gift. Ever."]


def test_two_spaces_behind_a_sentence_in_letters_of_one_width_are_no_cell() -> None:
    lines = ["Do not take a gift.  Nor give", "one to any of them.  Only if", "it is a small cake.  Or two."]
    texts = [(72, 700 - 12 * k, line, 10, "m") for k, line in enumerate(lines)]
    assert blocks(texts) == [" ".join(lines).replace("  ", " ")]


def test_a_gap_in_one_line_is_no_cell() -> None:
    lines = [
        (72, 700, "Sign here:"),
        (135, 700, "and go on to the next desk of"),
        (72, 688, "the hall, where it is read."),
    ]
    assert blocks(lines) == ["Sign here: and go on to the next desk of the hall, where it is read."]


@pytest.mark.parametrize("label", ["Rule {}.", "Article {}"])
def test_labels_with_room_behind_them_are_headings(label: str) -> None:
    labels = [label.format(number) for number in (1, 2, 3)]
    names = ["Gifts to be had", "Boats of all", "Cakes and tea"]
    lefts = (72, 82 + stringWidth(labels[0], "Times-Roman", 10))
    texts = [text for k in range(3) for text in row(700 - 12 * k, labels[k], names[k], lefts=lefts)]
    assert blocks(texts) == [f"{labels[k]} {names[k]}" for k in range(3)]


def test_items_of_a_list_with_room_behind_their_marks() -> None:
    items = ["take no gift;", "give no gift;", "eat no cake."]
    texts = [
        text for k, item in enumerate(items) for text in ((72, 700 - 12 * k, f"({'abc'[k]})"), (98, 700 - 12 * k, item))
    ]
    assert blocks(texts)[-1] == "(a) take no gift;\n(b) give no gift;\n(c) eat no cake."


def test_a_page_full_of_aligned_words_takes_no_time() -> None:
    rows = [[Word("x", 10.0 * k, 10.0 * k + 0.5, -1.0 * n, 1.0, False) for k in range(60)] for n in range(2_000)]
    rows[7][1:1] = [Word("y", 0.7, 0.9, -7.0, 1.0, False)]
    began = time.process_time()
    assert all(len(starts) == 59 for starts in cell_starts(rows))
    assert time.process_time() - began < 5
