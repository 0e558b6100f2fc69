"""The page on which people review rows, in headless Chromium: keyboard alone, two people, hostile texts, a phone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_page import BREAKOUT, LONG_WORD, RIGHT_TO_LEFT
from page_checks import CONTRASTS, DESK, OPEN_ALL, PHONE, WCAG
from review_work import GEESE, HELMETS, QUOTE, make_rows, review_server

from valign.review_desk.server import ReviewServer
from valign.synthesis.decisions import RowState, read_review

pytestmark = pytest.mark.browser
pytest_plugins = ("chromium",)

Opener = Callable[..., Any]
REFUSED = "Failed to load resource"  # what Chromium itself says of a request that was refused, or of a missing icon
HOSTILE = f"{BREAKOUT} {LONG_WORD} {RIGHT_TO_LEFT} {{{{7*7}}}}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "review.jsonl"


@pytest.fixture
def view(browser: Any) -> Iterator[Opener]:
    """A function that opens a server's page in a window of its own; at the end, none may have been noisy."""
    opened: list[tuple[Any, list[str]]] = []

    def open_page(desk: ReviewServer, size: tuple[int, int] = DESK, **options: Any) -> Any:
        page = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options).new_page()
        noise: list[str] = []
        page.on("console", lambda message: noise.append(message.text) if REFUSED not in message.text else None)
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("dialog", lambda dialog: noise.append(dialog.message))  # which would stop the page, and the test
        page.on("request", lambda request: None if desk.address in request.url else noise.append(request.url))
        page.goto(desk.address)
        says(page, "Row 1 of")
        opened.append((page, noise))
        return page

    yield open_page
    for page, noise in opened:
        assert noise == []
        page.context.close()


def says(page: Any, text: str) -> None:
    """Wait until the live region says something."""
    page.wait_for_function("(text) => document.getElementById('status').textContent.includes(text)", arg=text)


def press(page: Any, key: str, said: str) -> None:
    """Press a key and wait for what is said."""
    page.evaluate("document.getElementById('status').textContent = ''")
    page.keyboard.press(key)
    says(page, said)


def states(file: Path) -> dict[str, RowState]:
    return dict(read_review(file).states)


def test_thirty_rows_are_reviewed_by_keyboard_alone(view: Opener, file: Path) -> None:
    """Kept, dropped, edited and undone, without a mouse: 34 rows, doubtful ones first, until none is left."""
    rows = make_rows(30)
    with review_server(file, rows=rows) as desk:
        order = list(desk.desk.rows)
        page = view(desk)
        for i in range(28):
            key, said = ("d", "Dropped.") if i % 5 == 4 else ("k", "Kept.")
            press(page, key, said)
            assert states(file)[order[i]].action == ("drop" if i % 5 == 4 else "keep")
        press(page, "u", "Undone.")
        assert order[27] not in states(file)
        assert page.locator("#place").inner_text().startswith("Row 1 of 7: ")
        for key in order[27:]:
            press(page, "e", "Editing.")
            page.keyboard.press("Tab")  # from question to answer
            page.keyboard.press("Control+A")
            page.keyboard.type(f"No, by rule {key}.")
            press(page, "Control+Enter", "Edited.")
        says(page, "No row is left here.")
        assert page.locator("#nothing").is_visible()
        found = states(file)
        assert len(found) == len(rows) == 34
        assert [found[key].change for key in order[27:]] == [{"answer": f"No, by rule {key}."} for key in order[27:]]
        assert "34 of 34 rows read (22 kept, 7 edited, 5 dropped, 0 added). You are ann." in (
            page.locator("#progress").inner_text()
        )


def test_a_row_is_shown_beside_its_clause_with_its_quote_and_origin(view: Opener, file: Path) -> None:
    with review_server(file) as desk:
        page = view(desk)
        page.locator("#by-set").select_option("D_pref")
        assert page.locator("#place").inner_text() == "Row 1 of 2: right and wrong answer (D_pref), situation"
        assert page.locator("#clauses mark").inner_text() == QUOTE
        assert "Rule 2. Geese" in page.locator("#clauses").inner_text()
        page.locator("#row details summary").click()
        origin = page.locator("#origin").inner_text()
        assert "parrot@1" in origin and "pref-0" in origin
        texts = page.locator("#texts").inner_text()
        assert "Rejected answer\nYes, 0." in texts and "Verdict\nno" in texts
        page.locator("#by-set").select_option("questions")
        assert "Facts that an answer must say\nnobody | no one" in page.locator("#texts").inner_text()
        page.locator("#by-set").select_option("probes")
        assert page.locator("#place").inner_text() == "Row 1 of 1: probe of the rules (probes), denied"
        page.locator("#by-set").select_option("")
        page.locator("#by-clause").select_option(HELMETS)
        assert page.locator("#place").inner_text().startswith("Row 1 of 2: question and answer (D_sft)")
        page.locator("#by-kind").select_option("situation")
        assert page.locator("#nothing").is_visible()


def test_a_row_is_added_and_undone_and_escape_leaves_all_as_it_was(view: Opener, file: Path) -> None:
    with review_server(file) as desk:
        page = view(desk)
        press(page, "a", "A new row.")
        press(page, "Escape", "Nothing changed.")
        press(page, "e", "Editing.")
        page.keyboard.type("Something else")
        press(page, "Escape", "Nothing changed.")
        assert not file.exists()
        press(page, "a", "A new row.")
        form = page.locator("#adder")
        form.locator("[name=set]").select_option("D_pref")
        form.locator("[name=clause]").select_option(GEESE)
        form.get_by_label("Question", exact=True).fill("May a swan be fed?")
        form.locator("[name=answer]").fill("The rule names geese alone.")
        press(page, "Control+Enter", "Not saved: rejected answer is empty; write one.")
        form.get_by_label("Rejected answer").fill("No.")
        form.get_by_label("How it contradicts").select_option("scope")
        press(page, "Control+Enter", "Added.")
        (state,) = states(file).values()
        assert (state.set, state.clause, state.change["rejected_kind"]) == ("D_pref", GEESE, "scope")
        page.locator("#by-state").select_option("add")
        assert page.locator("#place").inner_text() == "Row 1 of 1: right and wrong answer (D_pref), added"
        press(page, "u", "Undone.")
        assert states(file) == {}


def test_a_key_right_after_a_save_is_not_lost(view: Opener, file: Path) -> None:
    """The next key may come before the page is drawn again, while the field that was saved still has the focus."""
    next_key = """() => new MutationObserver((_, observer) => {
      if (!document.getElementById("status").textContent.startsWith("Edited.")) return;
      observer.disconnect();
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: "e", bubbles: true}));
    }).observe(document.getElementById("status"), {childList: true})"""
    with review_server(file) as desk:
        page = view(desk)
        press(page, "e", "Editing.")
        page.keyboard.type("Changed: ")
        page.evaluate(next_key)
        press(page, "Control+Enter", "Editing.")
        assert len(states(file)) == 1 and page.locator("#editor").is_visible()


def test_a_late_answer_does_not_take_ones_own_decision_for_anothers(view: Opener, file: Path) -> None:
    """The page asks what others decided; one's own decision, made before the answer is there, may be part of it."""
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    with review_server(file) as desk:
        page = view(desk)
        press(page, "k", "Kept.")
        page.route("**/changes?*", hold)
        with page.expect_request("**/changes?*"):
            pass  # every three seconds
        press(page, "u", "Undone.")
        with page.expect_response("**/changes?*"):
            held[0].continue_()
        page.unroute_all()
        page.wait_for_timeout(200)
        assert page.locator("#status").inner_text().startswith("Undone.")


def test_keys_pressed_while_a_decision_is_saved_wait_for_it(view: Opener, file: Path) -> None:
    """An editor that opened then would be closed by the reply, and what is typed next be taken for decisions."""
    held: list[Any] = []

    def hold(route: Any) -> None:
        held.append(route)

    with review_server(file) as desk:
        page = view(desk)
        page.route("**/decide", hold)
        with page.expect_request("**/decide"):
            page.keyboard.press("k")
        for key in "ead":
            page.keyboard.press(key)
        assert not page.locator("#editor").is_visible() and not page.locator("#adder").is_visible()
        held.pop().continue_()
        says(page, "Kept.")
        press(page, "e", "Editing.")
        page.keyboard.type("Changed: ")
        with page.expect_request("**/decide"):
            page.keyboard.press("Control+Enter")
        page.keyboard.press("Escape")
        assert page.locator("#editor").is_visible()
        held.pop().continue_()
        says(page, "Edited.")
        assert [state.action for state in states(file).values()] == ["keep", "edit"]


def test_what_somebody_decides_while_the_editor_is_open_is_not_lost(view: Opener, file: Path) -> None:
    """The page has learned of it meanwhile; the save is refused once, and says by whom."""
    rows = make_rows(2)
    with review_server(file, "ann", rows) as ann, review_server(file, "bob", rows) as bob:
        hers, his = view(ann), view(bob)
        press(hers, "e", "Editing.")
        hers.keyboard.type("Changed: ")
        press(his, "d", "Dropped.")
        hers.wait_for_function("() => all.states.size === 1", timeout=20_000)
        press(hers, "Control+Enter", "Not saved: bob decided about this row meanwhile")
        assert [state.action for state in states(file).values()] == ["drop"]
        assert "Dropped by bob" in hers.locator("#state").inner_text()
        press(hers, "Control+Enter", "Edited.")
        assert [state.readers for state in states(file).values()] == [("bob", "ann")]


def test_two_people_see_each_others_decisions(view: Opener, file: Path) -> None:
    """Bob's page learns of Ann's edit by itself; what she decides on a row that he changed first is refused once."""
    rows = make_rows(2)
    with review_server(file, "ann", rows) as ann, review_server(file, "bob", rows) as bob:
        hers, his = view(ann), view(bob)
        press(hers, "k", "Kept.")
        his.locator("#by-reviewer option", has_text="ann").wait_for(state="attached", timeout=20_000)
        assert "1 of 6 rows read" in his.locator("#progress").inner_text()
        his.evaluate("document.hidden || Object.defineProperty(document, 'hidden', {get: () => true})")  # polls no more
        press(hers, "d", "Dropped.")
        asked = his.locator("#texts").inner_text()
        press(his, "k", "Not saved: ann decided about this row meanwhile")
        assert "Dropped by ann" in his.locator("#state").inner_text()
        assert his.locator("#texts").inner_text() == asked
        press(his, "n", "Row 2 of")
        his.locator("#by-state").select_option("drop")
        his.locator("#by-reviewer").select_option("ann")
        assert "Dropped by ann" in his.locator("#state").inner_text()
        press(his, "k", "Kept.")
        assert [state.readers for state in states(file).values()] == [("ann",), ("ann", "bob")]


def test_a_lost_server_is_said_and_nothing_is_shown_as_made(view: Opener, file: Path, browser: Any) -> None:
    page = browser.new_context().new_page()
    with review_server(file) as desk:
        page.goto(desk.address)
        says(page, "Row 1 of")
        press(page, "k", "Kept.")
    press(page, "d", "Not saved: the command does not answer. If it was closed, start it again")
    assert "1 of 7 rows read (1 kept, 0 edited, 0 dropped" in page.locator("#progress").inner_text()
    assert len(states(file)) == 1
    page.context.close()


def test_hostile_texts_stay_texts_on_a_phone(view: Opener, file: Path) -> None:
    with review_server(file, rows=make_rows(3, HOSTILE), title=HOSTILE) as desk:
        page = view(desk, PHONE)
        page.evaluate(OPEN_ALL)
        page.locator("#by-set").select_option("D_pref")
        assert HOSTILE in page.locator("#texts").text_content()
        assert page.locator("img, main script, iframe").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.get_by_role("button", name="Edit").click()
        assert HOSTILE in page.locator("#editor textarea").first.input_value()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.get_by_role("button", name="Leave").click()
        page.get_by_role("button", name="Add a row").click()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for button in page.get_by_role("button").all():
            box = button.bounding_box()
            assert box["height"] >= 24 and box["width"] >= 24


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESK, "light")])
def test_axe_finds_nothing_and_texts_can_be_read(view: Opener, file: Path, size: Any, scheme: str) -> None:
    """No violation of WCAG 2.2 A and AA, reading, editing and adding; every text stands out from its ground."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra 'page'").Axe()
    with review_server(file, rows=make_rows(12)) as desk:
        page = view(desk, size, color_scheme=scheme, bypass_csp=True)
        press(page, "d", "Dropped.")
        page.locator("#by-state").select_option("every")
        for key in ("", "e", "Escape", "a"):
            if key:
                page.keyboard.press(key)
            page.evaluate(OPEN_ALL)
            found = axe.run(page, options={"runOnly": WCAG}).response
            assert len(found["passes"]) > 15
            assert {one["id"]: [node["html"] for node in one["nodes"]] for one in found["violations"]} == {}
            assert [found for found in page.evaluate(CONTRASTS) if found[0] < 4.5] == []


def test_landmarks_names_and_levels_for_a_screen_reader(view: Opener, file: Path) -> None:
    with review_server(file) as desk:
        page = view(desk)
        for role in ("banner", "main", "status", "article"):
            assert page.get_by_role(role).count() == 1, role
        headings = (
            "[...document.querySelectorAll('h1, h2, h3')].filter((h) => h.offsetParent).map((h) => +h.tagName[1])"
        )
        levels = page.evaluate(headings)
        assert levels[0] == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))
        actions = page.get_by_role("group", name="Actions").get_by_role("button")
        assert [button.get_attribute("aria-keyshortcuts") for button in actions.all()] == list("KDEUBNA")
        for label in ("Set", "State", "Clause", "Kind", "Reviewer"):
            assert page.get_by_label(label, exact=True).count() == 1
        page.keyboard.press("f")
        assert page.evaluate("document.activeElement.id") == "by-set"
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.locator("#help").get_attribute("open") is not None
        assert "Each decision is on the disk before it is shown as made" in page.locator("#help").inner_text()
        press(page, "n", "Row 2 of 7.")
        press(page, "ArrowLeft", "Row 1 of 7.")
        press(page, "b", "Row 7 of 7.")
