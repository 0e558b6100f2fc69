"""The first screen in Chromium, and the page on paper: printed to PDF, and read by valign's own reader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aligned import aligned_comparison
from hostile_page import BREAKOUT, LONG_WORD, render_hostile

from valign.documents.read import read_document
from valign.reporting.clause_names import Clauses
from valign.reporting.opening import make_opening
from valign.reporting.page import render_page

pytestmark = pytest.mark.browser
pytest_plugins = ("chromium",)

SCREEN_ONLY = ("Skip to the result", "Clause by clause Answers", "Open all", "Filter", "From here on")

PARTS = (
    "What was aligned to what",
    "How far it follows",
    "What it forgot",
    "What was read by a person",
    "What it must not be used for",
)


@pytest.fixture
def printed(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """A function that prints a page, in dark mode and without backgrounds unless they matter, and reads its words."""
    contexts = []

    def print_page(file: Path, prepare: str = "") -> str:
        context = browser.new_context(color_scheme="dark")
        contexts.append(context)
        page = context.new_page()
        page.goto(file.as_uri(), timeout=120_000)
        if prepare:
            page.evaluate(prepare)
        page.pdf(path=str(tmp_path / "page.pdf"), format="A4")
        read = read_document(tmp_path / "page.pdf", name="page")
        return " ".join(read.text.split())

    yield print_page
    for context in contexts:
        context.close()


def test_the_first_screen_and_the_tables_stand_on_paper(printed: Any, tmp_path: Path) -> None:
    """Every sentence is there in order, then the scores; what is for the screen alone is not."""
    shown = aligned_comparison()
    text = printed(render_page(shown, tmp_path / "report.html"))
    found = make_opening(shown, Clauses(shown.passages, []))
    places = []
    for sentence in (found.lead, *found.follows, *found.forgot, *found.read):
        assert " ".join(sentence.split()) in text, sentence
        places.append(text.index(" ".join(sentence.split())))
    assert places == sorted(places)
    assert "Share of yes/no questions with the right verdict" in text
    assert "Supervised fine-tuning" in text
    assert not [words for words in SCREEN_ONLY if words in text]
    assert "Is thing 6 right?" not in text


def test_clauses_that_were_opened_are_printed(printed: Any, tmp_path: Path) -> None:
    file = render_page(aligned_comparison(), tmp_path / "report.html")
    text = printed(file, "document.querySelectorAll('.clause-group')[2].open = true")
    assert "Is thing 6 right?" in text and "Is thing 0 right?" not in text


def test_a_hostile_page_is_printed_whole(printed: Any, tmp_path: Path) -> None:
    """Words without end are broken, not cut, and text that looks like markup is text."""
    text = printed(render_hostile(tmp_path / "report.html")).replace(" ", "")
    assert LONG_WORD in text and BREAKOUT.replace(" ", "")[:60] in text


def test_what_is_printed_is_dark_on_white(browser: Any, tmp_path: Path) -> None:
    """In dark mode too: print takes the light colours, and cells whose ground carries meaning keep it."""
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(render_hostile(tmp_path / "report.html").as_uri(), timeout=120_000)
    style = "(selector) => getComputedStyle(document.querySelector(selector))"
    assert page.evaluate(f"({style})('body').backgroundColor") != "rgb(255, 255, 255)"
    page.emulate_media(media="print")
    assert page.evaluate(f"({style})('body').backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(f"({style})('body').color") == "rgb(27, 33, 41)"
    assert page.evaluate(f"({style})('.heat').printColorAdjust") == "exact"
    assert page.evaluate(f"({style})('nav').display") == "none"
    context.close()


def test_the_first_screen_is_first_and_on_one_screen(browser: Any, tmp_path: Path) -> None:
    """A screen reader finds it first in main, its parts by their headings; all of them begin above a desk's fold."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(render_page(aligned_comparison(), tmp_path / "report.html").as_uri(), timeout=120_000)
    screen = page.get_by_role("region", name="In plain words", exact=True)
    assert page.evaluate("document.querySelector('main').firstElementChild.className") == "opening unclear"
    for name in PARTS:
        heading = screen.get_by_role("heading", name=name, exact=True)
        assert heading.count() == 1 and heading.bounding_box()["y"] < 900, name
    rows = screen.get_by_role("table", name="Right answers, in brackets the 95% interval of the share").get_by_role(
        "row"
    )
    assert [row.inner_text().split("\t")[0].strip() for row in rows.all()][1:] == [
        "Questions with a yes or no",
        "Of these, the right answer is yes",
        "Of these, the right answer is no",
    ]
    context.close()
