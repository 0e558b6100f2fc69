"""The page on which people label answers, in headless Chromium: hostile texts, the keyboard, an end, a lost server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_page import BREAKOUT, LONG_WORD

from valign.core.files import read_jsonl
from valign.core.records import Answer, Passage
from valign.evaluation.judging.answer_labels import ANSWER_LABELS, AnswerLabel, draw_answers
from valign.evaluation.judging.label_server import LabelServer
from valign.evaluation.judging.labels import LABELS, Label, LabelFile, LabelTask, draw_tasks

pytestmark = pytest.mark.browser
pytest_plugins = ("chromium",)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LabelServer]:
    """Three pairs of hostile answers."""
    text = f"{BREAKOUT} {LONG_WORD}"
    said = {
        arm: [Answer(f"q{i}", "d/1", f"Why {BREAKOUT}", BREAKOUT, f"{arm} {i} {text}", arm) for i in range(3)]
        for arm in ("base", "sft")
    }
    drawn = draw_tasks(said, [Passage("d/1", ("Rules",), f"Nobody may {BREAKOUT}", 0, 9)], 3, "ann", 0)
    opened = LabelServer(drawn, LabelFile(tmp_path / LABELS, "ann"), 0)
    thread = threading.Thread(target=opened.serve)
    thread.start()
    yield opened
    opened.finished.set()
    thread.join()


def says(page: Any, text: str) -> None:
    """Wait until the heading says something."""
    page.wait_for_function("(text) => document.getElementById('progress').textContent.includes(text)", arg=text)


def test_pairs_are_labelled_by_keyboard(desk: LabelServer, browser: Any) -> None:
    page = browser.new_context(viewport={"width": 360, "height": 740}).new_page()
    noise: list[str] = []
    page.on("console", lambda message: noise.append(message.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("request", lambda request: None if desk.address in request.url else noise.append(request.url))
    page.goto(desk.address)
    says(page, "Pair 1 of 3")
    first = desk.tasks[0]
    assert isinstance(first, LabelTask)
    assert page.locator("#first").text_content() == first.first.answer
    assert page.locator("#second").text_content() == first.second.answer
    assert BREAKOUT in page.locator("#passages").text_content()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.keyboard.press("2")
    says(page, "Pair 2 of 3")
    page.keyboard.press("u")
    says(page, "Pair 1 of 3")
    page.keyboard.press("1")
    says(page, "Pair 2 of 3")
    page.get_by_role("button", name="Equally good or bad").click()
    says(page, "Pair 3 of 3")
    page.keyboard.press("Control+1")
    page.keyboard.press("x")
    page.keyboard.press("0")
    says(page, "All 3 pairs are done")
    assert page.locator("#task").is_hidden()
    assert [label.choice for label in read_jsonl(desk.labels.path, Label)] == ["first", "tie", "tie"]
    assert noise == []
    page.context.close()


def test_single_answers_are_labelled_by_keyboard(tmp_path: Path, browser: Any) -> None:
    """One answer beside its clause, without the reference; the keys are those of the buttons that are shown."""
    said = {"base": [Answer(f"q{i}", "d/1", "Why?", BREAKOUT, f"{BREAKOUT} {i}", "base") for i in range(3)]}
    passages = [Passage("d/1", ("Rules",), "Nobody may.", 0, 11)]
    labels = LabelFile(tmp_path / ANSWER_LABELS, "ann", AnswerLabel)
    opened = LabelServer(draw_answers(said, passages, 3, "ann", 0), labels, 0)
    thread = threading.Thread(target=opened.serve)
    thread.start()
    page = browser.new_context(viewport={"width": 360, "height": 740}).new_page()
    noise: list[str] = []
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.goto(opened.address)
    says(page, "Answer 1 of 3")
    assert page.locator("[data-choice]:visible").all_inner_texts() == [
        "Complies (key 1)", "Violates (key 2)", "Undecided (key 0)",
    ]  # fmt: skip
    assert not page.locator("#reference").is_visible() and not page.locator("#second").is_visible()
    assert page.locator("#passages").text_content() == "Nobody may."
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for key, text in (("2", "Answer 2 of 3"), ("1", "Answer 3 of 3"), ("0", "All 3 answers are done")):
        page.keyboard.press(key)
        says(page, text)
    assert [row.choice for row in read_jsonl(labels.path, AnswerLabel)] == ["violates", "complies", "undecided"]
    assert noise == []
    page.context.close()
    opened.finished.set()
    thread.join()


def test_a_lost_server_is_said_and_nothing_is_lost(desk: LabelServer, browser: Any) -> None:
    page = browser.new_context().new_page()
    page.goto(desk.address)
    says(page, "Pair 1 of 3")
    page.keyboard.press("1")
    says(page, "Pair 2 of 3")
    desk.server.shutdown()
    desk.server.server_close()
    page.keyboard.press("1")
    says(page, "Not saved")
    assert len(read_jsonl(desk.labels.path, Label)) == 1
    page.context.close()
