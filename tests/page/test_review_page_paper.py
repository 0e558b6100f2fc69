"""The page of the review on paper, and a probe that is added on it, in headless Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from review_work import GEESE, QUOTE, make_rows, review_server

from valign.synthesis.decisions import read_review

pytestmark = pytest.mark.browser
pytest_plugins = ("chromium",)

SAYS = "(text) => document.getElementById('status').textContent.includes(text)"


def test_a_probe_is_added_by_keyboard_and_all_chosen_rows_are_printed(browser: Any, tmp_path: Path) -> None:
    """Paper has every chosen row with its clause and what was decided, and no button over a text."""
    file = tmp_path / "review.jsonl"
    with review_server(file, rows=make_rows(12)) as desk:
        page = browser.new_context().new_page()
        page.goto(desk.address)
        page.wait_for_function(SAYS, arg="Row 1 of")
        page.keyboard.press("a")
        page.wait_for_function(SAYS, arg="A new row.")
        form = page.locator("#adder")
        form.locator("[name=set]").select_option("probes")
        form.locator("[name=clause]").select_option(GEESE)
        form.get_by_label("Question", exact=True).fill("May a child throw bread to geese?")
        form.locator("[name=answer]").fill("No, nobody.")
        page.keyboard.press("Control+Enter")
        page.wait_for_function(SAYS, arg="Not saved: verdict is missing")
        form.locator("[name=verdict]").select_option("no")
        page.keyboard.press("Control+Enter")
        page.wait_for_function(SAYS, arg="Added.")
        (state,) = read_review(file).states.values()
        assert (state.set, state.action, state.change["verdict"]) == ("probes", "add", "no")
        page.locator("#by-state").select_option("every")
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert not page.locator("#actions").is_visible() and not page.locator("#row").is_visible()
        printed = page.locator("#printed article")
        assert printed.count() == 17
        text = page.locator("#printed").inner_text()
        assert text.startswith(
            f"17 rows: set all, state all, clause all, kind all, reviewer anybody. Decisions: {file}"
        )
        assert "17. probe of the rules (probes), denied\nAdded by ann, " in text.replace("\n\n", "\n")
        assert text.count("Nobody has read this row.") == 16 and text.count("Rejected answer") == 2
        assert page.locator("#printed mark").first.inner_text() == QUOTE
        page.context.close()
