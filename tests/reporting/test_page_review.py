"""The page says which share of the training data was read by a person, and what was changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pages import comparison, page

HOSTILE = "<b>ann</b>"


def test_what_people_read_and_changed_is_on_the_page(tmp_path: Path) -> None:
    counts = {"rows": 6, "read": 3, "kept": 1, "edited": 1, "dropped": 1, "added": 2, "refused": {"near evaluation": 1}}
    sets = {"D_sft": counts, "D_pref": {**dict.fromkeys(counts, 0), "rows": 6, "refused": {}}}
    review = {"file": "f", "sets": sets, "reviewers": {HOSTILE: {"read": 5}}, "stale": 4}
    whole = comparison()
    assert whole.funnel is not None
    shown = page(tmp_path, dataclasses.replace(whole, funnel={**whole.funnel, "review": review})).text()
    assert "Read by a person: 3 of 12 rows for training (25.0%) and 0 of 0 questions; 1 kept, 1 edited, " in shown
    assert "1 of the changed ones dropped by a filter; 4 decisions on rows that are others now" in shown
    assert f"by {HOSTILE} (5)" in shown
    assert "What people read and changed before training" in shown


def test_unread_data_are_said_to_be_unread(tmp_path: Path) -> None:
    shown = page(tmp_path, comparison()).text()
    assert "Read by a person: none of the rows, as far as is noted (0 of 12 for training)." in shown
    assert "What people read and changed" not in shown
