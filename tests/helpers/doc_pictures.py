"""Takes the pictures of docs/review.md and docs/evaluation.md; run it where the page changed.

python -m valign.synthesize +experiment=lanternfield synthesis.rows=shipped
python tests/helpers/doc_pictures.py artifacts/data/<hash> RUN/report.html
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from threading import Thread
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from valign.review_desk.opening import open_server
from valign.synthesis.dataset import read_data

DOCS = Path(__file__).parents[2] / "docs"
DESK, PHONE = {"width": 1180, "height": 900}, {"width": 390, "height": 844}


def take_review(browser: Browser, artifact: Path) -> None:
    """Take the page of the review: a pair on a desk, and an editor on a phone in the dark; decisions go elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        server = open_server(read_data(artifact), str(Path(folder) / "review.jsonl"), "ann", 0)
        thread = Thread(target=server.serve)
        thread.start()
        desk = _open(browser, server.address, viewport=DESK)
        for key in "kd":
            desk.keyboard.press(key)
            desk.wait_for_timeout(500)
        desk.locator("#by-set").select_option("D_pref")
        desk.screenshot(path=DOCS / "pictures" / "review.png")
        phone = _open(browser, server.address, viewport=PHONE, color_scheme="dark")
        phone.keyboard.press("e")
        phone.wait_for_timeout(300)
        phone.screenshot(path=DOCS / "pictures" / "review-phone.png")
        server.finished.set()
        thread.join()


def take_first_screen(browser: Browser, report: Path) -> None:
    """Take the first screen of a report."""
    page = browser.new_page(viewport={"width": 1120, "height": 1340})
    page.goto(report.absolute().as_uri())
    page.screenshot(path=DOCS / "first_screen.png")


def _open(browser: Browser, address: str, **options: Any) -> Any:
    page = browser.new_context(**options).new_page()
    page.goto(address)
    page.get_by_text("Row 1 of").first.wait_for()
    return page


if __name__ == "__main__":
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"] if os.geteuid() == 0 else []
        )
        take_review(chromium, Path(sys.argv[1]))
        if sys.argv[2:]:
            take_first_screen(chromium, Path(sys.argv[2]))
        chromium.close()
