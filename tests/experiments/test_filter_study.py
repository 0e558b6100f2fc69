"""The study of the filters: how a limit is chosen, and that its labels and its recording fit together."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from scripts import EXPERIMENTS, load_script

from valign.documents.shipped import shipped_document
from valign.synthesis.faithfulness import ByTeacher
from valign.teachers.cache import CachedTeacher
from valign.teachers.replay import ReplayTeacher

FOLDER = EXPERIMENTS / "filters"
ITEMS = [json.loads(line) for line in (FOLDER / "labels.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_limit_that_drops_most_of_those_that_keep_enough() -> None:
    """Of limits that keep 20, 19 and 10 of 20 good items and drop 0, 1 and 2 of two bad ones, the second is chosen."""
    run = load_script("filters/run.py")
    clause = next(f"d/{i}" for i in range(99) if run.half_of({"clause": f"d/{i}"}) == 0)
    items = [{"clause": clause, "good": True}] * 20 + [{"clause": clause, "good": False}] * 2
    kept = [(True, i > 0, i > 9) for i in range(20)] + [(True, True, False), (True, False, False)]
    assert run.choose(run.Judged("judge", ("a", "b", "c"), kept), items) == 1
    assert run.with_limits(run.TODAY, "max_rank 1, rank_margin 0.15").rank_margin == 0.15


def test_tables_are_put_between_their_marks() -> None:
    run = load_script("filters/run.py")
    page = "a\n<!-- filters answer -->\n<!-- /filters -->\n<!-- filters funnel -->\nkept\n<!-- /filters -->\n"
    filled = run.put(page, "answer", "| new |")
    assert "| new |" in filled and "kept" in filled
    assert run.put(filled, "answer", "| new |") == filled
    assert "new" not in run.put(filled, "answer", "other") and "kept" in run.put(filled, "answer", "other")
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(text.count(f"<!-- filters {name} -->\n| ") == 1 for name in ("relevance", "answer", "funnel"))


def test_every_item_is_labelled_and_its_clause_exists() -> None:
    clauses = {p.clause for name in ("udhr", "lanternfield") for p in shipped_document(name).passages}
    assert len({item["id"] for item in ITEMS}) == len(ITEMS)
    assert all(item["good"] in (True, False) and item["clause"] in clauses for item in ITEMS)
    assert all(item.get("reason") for item in ITEMS if item.get("corrected"))
    drawn = Counter(item["source"] for item in ITEMS if item["task"] == "relevance")
    assert drawn["own"] + drawn["silent"] == 150


def test_the_recording_answers_the_present_prompts(tmp_path: Path) -> None:
    """A changed template needs a new recording."""
    teacher = CachedTeacher(ReplayTeacher(FOLDER / "large_judge.jsonl"), tmp_path / "c.sqlite")
    by_clause = {p.clause: p for name in ("udhr", "lanternfield") for p in shipped_document(name).passages}
    answers = [item for item in ITEMS if item["task"] == "answer"]
    judge = ByTeacher(teacher)
    labels = judge.labels([(i["answer"], by_clause[i["clause"]]) for i in answers], [i["question"] for i in answers])
    wrong = [i["id"] for i, label in zip(answers, labels, strict=True) if (label == "entailed") is not i["good"]]
    assert len(wrong) <= 0.05 * len(answers)
