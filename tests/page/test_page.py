"""The report page in headless Chromium: hostile texts, no network, keyboard, phone, dark mode, screen reader."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hostile_page import ARMS, BREAKOUT, CLAUSES, LONG_WORD, QUESTIONS, RIGHT_TO_LEFT, render_hostile
from page_checks import CONTRASTS, DESK, OPEN_ALL, PHONE, WCAG

pytestmark = pytest.mark.browser
pytest_plugins = ("chromium",)


@dataclass
class View:
    """A page in a browser, and what it did unasked: requests, dialogs, messages on the console."""

    page: Any
    requests: list[str] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)

    def visible(self, selector: str) -> int:
        """Count the elements that can be seen."""
        return int(self.page.locator(f"{selector}:visible").count())

    @property
    def status(self) -> str:
        """What the live region says."""
        return str(self.page.locator("#filter-status").inner_text())

    def reach(self, selector: str, most: int = 80) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
                return
        raise AssertionError(f"{selector} is not reached by Tab")


Opener = Callable[..., View]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of hostile texts."""
    return render_hostile(tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture
def view(browser: Any, file: Path) -> Iterator[Opener]:
    """A function that opens the page in a window of its own; at the end, no view may have been noisy."""
    views: list[View] = []

    def opened(size: tuple[int, int] = DESK, anchor: str = "", **options: Any) -> View:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        shown = View(context.new_page())

        def refused(dialog: Any) -> None:
            shown.noise.append(dialog.message)
            dialog.dismiss()

        shown.page.on("request", lambda request: shown.requests.append(request.url))
        shown.page.on("console", lambda message: shown.noise.append(message.text))
        shown.page.on("pageerror", lambda error: shown.noise.append(str(error)))
        shown.page.on("dialog", refused)
        shown.page.goto(file.as_uri() + anchor)
        views.append(shown)
        return shown

    yield opened
    for shown in views:
        assert shown.noise == []
        assert [url for url in shown.requests if url.split("#")[0] != file.as_uri()] == []
        shown.page.context.close()


def test_hostile_texts_stay_texts_and_nothing_is_fetched(view: Opener) -> None:
    """Folds and controls are all used; the fixture ``view`` finds requests, dialogs and errors."""
    shown = view()
    shown.page.evaluate(OPEN_ALL)
    shown.page.locator("#heat-metric").select_option("reference_nll")
    shown.page.locator("#heat-colour").select_option("change")
    shown.page.locator("[name=show]").select_option("disagree")
    shown.page.locator("[name=clause]").select_option(CLAUSES[0])
    assert shown.page.locator("img").count() == 0
    assert [s.get_attribute("type") for s in shown.page.locator("script").all()] == ["application/json", None]
    body = shown.page.locator("body").inner_text()
    assert BREAKOUT in body and RIGHT_TO_LEFT in body and LONG_WORD in body and "{{7*7}}" in body
    assert shown.page.locator(".answer").first.get_attribute("dir") == "auto"


def test_the_policy_stops_what_would_be_fetched(view: Opener) -> None:
    """An image that a script adds is refused by the page itself: the request does not leave, and Chromium says why."""
    shown = view()
    shown.page.evaluate(
        "() => new Promise((done) => { const i = new Image(); i.onerror = done; i.src = 'http://127.0.0.1:9/x.png'; })"
    )
    assert len(shown.noise) == 1 and "Content Security Policy" in shown.noise.pop()
    assert shown.requests.pop().endswith("/x.png")


def test_filters_by_clause_arm_and_disagreement(view: Opener) -> None:
    """Nine questions, three a clause; all arms disagree on nine, base and DPO on the first alone, RAG and DPO on none.

    The live region says how many are left, and of how many arms.
    """
    shown = view()
    assert shown.status == f"All {QUESTIONS} questions"
    shown.page.locator("[name=clause]").select_option(CLAUSES[1])
    assert shown.status == "3 of 9 questions" and shown.visible(".question") == 3
    shown.page.get_by_role("button", name="Clear").click()
    shown.page.locator("[name=show]").select_option("disagree")
    assert shown.status == "9 of 9 questions"
    for arm, left in (("sft", 9), ("sft_dpo", 1), ("rag", 1), ("base", 0)):
        shown.page.locator(f'[name=arm][value="{list(ARMS).index(arm)}"]').uncheck()
        assert shown.status.startswith(f"{left} of 9 questions, ")
    assert shown.status.endswith("1 of 5 arms")
    shown.page.locator("[name=arm]").first.check()
    assert shown.visible(".question") == 1 and shown.visible(".card") == 2
    shown.page.get_by_role("button", name="Clear").click()
    shown.page.wait_for_function("document.getElementById('filter-status').textContent === 'All 9 questions'")
    shown.page.locator("[name=words]").fill("question 4 YELLOW")
    assert shown.status == "1 of 9 questions" and shown.visible(".card") == len(ARMS)


def test_everything_is_reached_and_used_by_keyboard(view: Opener) -> None:
    """The skip link comes first; filters, folds, the heat map's controls and scrolling boxes follow, focus in sight."""
    shown = view()
    shown.page.keyboard.press("Tab")
    skip = shown.page.locator(":focus")
    assert skip.inner_text() == "Skip to the result" and skip.bounding_box()["width"] > 50
    skip.press("Enter")
    assert shown.page.evaluate("location.hash") == "#main"
    order = [".scroll", "#heat-metric", "#heat-colour", "#filters [name=clause]", "#filters [name=show]"]
    for selector in [*order, "#filters [name=words]", "#filters [name=arm]", "#filters [type=reset]", "#open-all"]:
        shown.reach(selector)
        focus = shown.page.evaluate(
            "(() => { const s = getComputedStyle(document.activeElement); return s.outline; })()"
        )
        assert "solid" in focus and "3px" in focus, selector
    shown.page.keyboard.press("Enter")
    assert shown.visible(".question") == QUESTIONS
    shown.page.locator("#filters [name=show]").focus()
    shown.page.keyboard.press("ArrowDown")
    assert shown.page.locator("[name=show]").input_value() == "disagree"
    shown.page.locator("#filters [name=arm]").first.focus()
    shown.page.keyboard.press("Space")
    assert shown.status == "9 of 9 questions, 4 of 5 arms"
    shown.reach(".clause-group > summary")
    was = shown.page.evaluate("document.activeElement.parentElement.open")
    shown.page.keyboard.press("Enter")
    assert shown.page.evaluate("document.activeElement.parentElement.open") is not was


def test_heat_map_before_and_after(view: Opener) -> None:
    """On the first clause base has 1/3 and SFT 1, a change of 0.67; by NLL it is the same change downwards.

    The most is 1, on the others: -0.33 is (1 - 0.33) / 2 · 7 = 2.3, step 2, and +0.67 is 5.8, step 5.
    """
    shown = view()
    row = shown.page.locator("#heat-rows tr").first.locator("[data-heat]")
    assert row.nth(0).inner_text() == "0.33"
    drawn = row.nth(2).inner_html()
    assert row.nth(2).inner_text().split() == ["1.00", "▲", "+0.67", "better"]
    assert row.nth(1).inner_text().split() == ["0.00", "▼", "\u22120.33", "worse"]
    shown.page.locator("#heat-colour").select_option("change")
    assert [row.nth(i).get_attribute("class") for i in range(3)] == ["heat", "heat change-2", "heat change-5"]
    assert "Blue: better than base" in shown.page.locator("#heat-legend").inner_text()
    assert row.nth(2).inner_html() == drawn
    shown.page.locator("#heat-metric").select_option("reference_nll")
    assert row.nth(2).inner_text().split() == ["2.00", "▲", "\u22120.67", "better"]


def test_an_answer_leads_to_its_clause_and_its_examples(view: Opener) -> None:
    """The card's link opens the examples of the clause; the question's group shows the clause itself."""
    shown = view()
    shown.page.locator("#open-all").click()
    card = shown.page.locator(".card:visible").nth(4)
    link = card.get_by_role("link", name="1 example of D_sft and 1 pair of D_pref")
    assert shown.visible(".examples li") == 0
    link.click()
    shown.page.wait_for_function("document.querySelector('.examples').open")
    assert shown.visible("#clause-1-examples li") == 2
    assert "sft-0" in shown.page.locator("#clause-1-examples").inner_text()
    shown = view(anchor="#clause-2-examples")
    shown.page.wait_for_function("document.querySelector('#clause-2-examples').checkVisibility()")
    assert shown.visible("#clause-2-examples li") == 2


def test_the_page_stands_without_scripts(view: Opener) -> None:
    """Controls that need a script are away; every answer is in the page, and its folds open."""
    shown = view(java_script_enabled=False)
    assert shown.visible("#filters") == 0 and shown.visible("#heat-metric") == 0
    assert shown.visible("#heat-rows [data-heat]") == 3 * len(ARMS)
    shown.page.locator(".clause-group > summary").first.click()
    assert shown.visible(".card") == 3 * len(ARMS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_down_only_and_every_text_can_be_read(view: Opener, scheme: str) -> None:
    """At 360 pixels nothing is wider than the page, however long a word; each text has a contrast of 4.5 or more.

    With the colours of the mean, then of the change; the dark page has a dark ground.
    """
    shown = view(PHONE, color_scheme=scheme)
    shown.page.evaluate(OPEN_ALL)
    assert shown.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    for colour in ("mean", "change"):
        shown.page.locator("#heat-colour").select_option(colour)
        found = shown.page.evaluate(CONTRASTS)
        assert len(found) > 300
        assert [(round(ratio, 2), text) for ratio, text in found if ratio < 4.5] == []
    ground = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (scheme == "light")


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESK, "light")])
def test_axe_finds_nothing(view: Opener, size: tuple[int, int], scheme: str) -> None:
    """No violation of WCAG 2.2 A and AA, nor of axe's best practices, with every fold open."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs the extra 'page'").Axe()
    shown = view(size, color_scheme=scheme, bypass_csp=True)
    shown.page.evaluate(OPEN_ALL)
    found = axe.run(shown.page, options={"runOnly": WCAG}).response
    assert len(found["passes"]) > 20
    assert {one["id"]: [node["html"] for node in one["nodes"]] for one in found["violations"]} == {}


def test_landmarks_and_names_for_a_screen_reader(view: Opener) -> None:
    """One main, headings that skip no level, a table's name in its caption, a drawing's in its title."""
    shown = view()
    page = shown.page
    shown.page.evaluate(OPEN_ALL)
    for role in ("banner", "navigation", "main", "contentinfo", "status"):
        assert page.get_by_role(role).count() == 1, role
    levels = [
        int(tag[1]) for tag in page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((h) => h.tagName)")
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.get_by_role("group", name="Arms").get_by_role("checkbox").count() == len(ARMS)
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    images = page.get_by_role("img").all()
    assert len(images) == page.locator("svg").count() == 4
    assert all(image.locator("title").text_content() for image in images)
    assert page.locator("#filter-status").get_attribute("aria-live") == "polite"
