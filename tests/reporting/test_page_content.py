"""The comparison page, on an invented ferry company's rules: three arms, six questions, two clauses."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, answer, arm_result, comparison, page, passages

from valign.core.errors import ValignError
from valign.core.records import Answer, Passage
from valign.reporting.answers import answers_by_clause
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import ArmResult, Comparison, metric_named
from valign.reporting.numbers import MISSING, format_duration, format_number
from valign.reporting.page import render_page
from valign.reporting.training_data import funnels, leak_sentence

MINUS = "\u2212"


def test_page_is_well_formed_complete_and_needs_no_network(tmp_path: Path) -> None:
    """Every element closes, every link stays in the page, and the policy forbids the rest."""
    shown = page(tmp_path, comparison())
    assert shown.open == []
    policy = next(m["content"] for m in shown.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:")
    ids = [attributes["id"] for _, attributes in shown.elements if attributes.get("id")]
    assert len(ids) == len(set(ids))
    assert all((a["href"] or "").removeprefix("#") in ids for a in shown.all("a"))
    assert not any("src" in attributes or tag == "link" for tag, attributes in shown.elements)
    raw = (tmp_path / "made" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import", raw)
    assert not list((tmp_path / "made").glob("*.part"))


def test_headings_tables_and_drawings_can_be_read_aloud(tmp_path: Path) -> None:
    """Heading levels skip none, every table has a caption, every header a scope, every drawing a title."""
    shown = page(tmp_path, comparison())
    levels = [int(tag[1]) for tag, _ in shown.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(shown.all("table")) == len(shown.all("caption"))
    assert all(th.get("scope") for th in shown.all("th"))
    titles = {t["id"] for t in shown.all("title") if "id" in t}
    assert shown.all("svg")
    assert all(svg["role"] == "img" and svg["aria-labelledby"] in titles for svg in shown.all("svg"))
    assert "Fact recall, mean and 95% interval: base 0.00 (0.00 to 0.20); SFT 0.50 (0.30 to 0.70)" in shown.text()


def hostile(value: Any) -> Any:
    """Replace every text of a value by one that tries to break out; names of arms, metrics and kinds stay."""
    if isinstance(value, Passage):
        return dataclasses.replace(value, clause=value.clause + HOSTILE, heading=(HOSTILE,), text=HOSTILE)
    if isinstance(value, Answer):
        return dataclasses.replace(
            value,
            question=HOSTILE,
            reference=HOSTILE,
            answer=HOSTILE,
            kind=HOSTILE,
            question_id=value.question_id + HOSTILE,
            clause=value.clause + HOSTILE,
            facts=((HOSTILE, HOSTILE),),
            retrieved=(HOSTILE,),
            arm=value.arm + HOSTILE,
            finished=False,
        )
    return value


def test_no_text_comes_alive(tmp_path: Path) -> None:
    """Markup, a closing script tag and template syntax in every text field stay text."""
    plain = comparison()
    arms = []
    for result in plain.arms:
        scores = json.loads(json.dumps(result.scores).replace("ferry/section-1", "ferry/section-1" + "</script><b>"))
        scores["metrics"][HOSTILE] = {"mean": 0.5, "ci95": [0.4, 0.6], "n": 6}
        for entry in scores["by_clause"].values():
            entry[HOSTILE] = 0.5
        values = [{**row, "question_id": str(row["question_id"]) + HOSTILE, HOSTILE: 1.0} for row in result.values]
        arms.append(ArmResult(result.arm + HOSTILE, scores, [hostile(a) for a in result.answers], values))
    counts = {"made": 1, "dropped": {HOSTILE: 0}, "kept": 1, "per_clause": {HOSTILE: 1}}
    words = {"chosen": [HOSTILE], "rejected": [HOSTILE]}
    audit = {"auc": 0.9, "length_auc": 0.9, "kinds": {HOSTILE: 0.9}, "words": words, "cause": HOSTILE}
    dirty = Comparison(
        title=HOSTILE,
        experiment=HOSTILE,
        document_sha256=HOSTILE,
        passages=[hostile(p) for p in plain.passages],
        arms=arms,
        funnel={HOSTILE: counts, "preference": {**counts, "audit": audit}},
        leak={"rate": 1.0, "questions": [{"question": HOSTILE, "training": HOSTILE, "shared": HOSTILE}]},
        curves={HOSTILE: [(0, 1.0)], f"dpo/{HOSTILE}": [(0, 1.0)]},
        timings={HOSTILE: 1.0},
        config={HOSTILE: HOSTILE},
        artifacts={HOSTILE: HOSTILE},
    )
    before, after = page(tmp_path, plain), page(tmp_path, dirty)
    assert after.open == []
    assert [s.get("type") for s in after.all("script")] == ["application/json", None]
    assert not after.all("img") and not any("onerror" in attributes for _, attributes in after.elements)
    assert [tag for tag, _ in after.elements if tag == "b"] == [tag for tag, _ in before.elements if tag == "b"]
    program = [text for tag, text in after.texts if tag == "script"]
    assert "alert(" not in program[-1]
    assert json.loads(program[0])["fact_recall"]["label"] == "Fact recall"
    visible = after.text()
    assert "{{7*7}}{% raw %}" in visible and "<script>alert(1)</script>" in visible
    assert "{% raw %}49" not in visible and not re.search(r"onerror=alert\(2\)>49", visible)


def test_answers_show_found_facts_and_tags() -> None:
    """SFT says nine days but not yellow; base says neither and no verdict. Facts 0, 0.5, 0.75: all arms disagree."""
    shown = comparison()
    groups = answers_by_clause(shown, Clauses(shown.passages, []))
    assert [(group.short, len(group.questions)) for group in groups] == [("section-1", 3), ("section-2", 3)]
    base, sft, sft_dpo = groups[0].questions[0].cards
    assert [(m.text, m.found) for m in sft.marks] == [
        ("nine days or 9 days", True),
        ("yellow", False),
        ("verdict no", True),
    ]
    assert [m.found for m in sft_dpo.marks] == [True, True, True]
    assert base.marks[2].text == "verdict no (says neither)"
    assert groups[0].questions[0].tags.split() == ["disagree", "miss-0", "miss-1", "miss-2"]


def test_an_arm_without_an_answer_and_a_clause_above_the_passages(tmp_path: Path) -> None:
    """A missing answer is said to be missing; ``ferry`` stands for both passages and comes before the second."""
    base, sft = arm_result("base"), arm_result("sft")
    whole = [dataclasses.replace(a, clause="ferry") for a in sft.answers]
    shown = page(tmp_path, comparison(dataclasses.replace(base, answers=[]), dataclasses.replace(sft, answers=whole)))
    assert "(no answer)" in shown.text()
    clauses = Clauses(passages(), ["ferry"])
    assert clauses.text("ferry") == "Lost things are kept for nine days.\n\nHelmets are yellow."
    assert clauses.ordered(["ferry/section-2", "elsewhere", "ferry"]) == ["ferry", "ferry/section-2", "elsewhere"]


def test_data_section(tmp_path: Path) -> None:
    """Of 10 written 4 (40%) were dropped and 6 (60%) kept; one clause has no example; 0.25 is the most overlap."""
    shown = comparison()
    assert [(s.count, s.share) for s in funnels(shown)[0].steps] == [(10, 100.0), (4, 40.0), (6, 60.0)]
    text = page(tmp_path, shown).text()
    assert "1 of 2 clauses have training data" in text
    assert "None of the evaluation questions repeat" in text and "have 25% of their words in common" in text
    row = {"question": "Why?", "training": "Why so?", "shared": "why"}
    leaking = comparison(leak={"rate": 0.5, "questions": [row], "max_jaccard": [0.5, 0.0]})
    assert leak_sentence(leaking).startswith("50.0% of the evaluation questions repeat")
    assert "Why so?" in page(tmp_path, leaking).text()


def test_page_without_optional_parts_and_secrets(tmp_path: Path) -> None:
    """The page stands with scores alone; a key in the configuration is not shown; unknown arms and metrics are."""
    result = arm_result("sft")
    odd = {"metrics": {"own_measure": {"mean": 0.5, "ci95": [None, None], "n": 1}}}
    shown = page(tmp_path, comparison(ArmResult("mine", odd, [], []), funnel=None, leak=None, curves={}, timings={}))
    assert "own measure" in shown.text() and "mine" in shown.text() and "was not measured" in shown.text()
    assert shown.open == []
    text = page(tmp_path, comparison(result)).text()
    assert "sk-very-secret" not in text and '"max_tokens": 5' in text


def test_same_comparison_same_bytes(tmp_path: Path) -> None:
    """The page holds no date and no random id."""
    one, two = render_page(comparison(), tmp_path / "a.html"), render_page(comparison(), tmp_path / "b.html")
    assert one.read_bytes() == two.read_bytes()


def test_hundred_questions_and_five_arms_stay_small(tmp_path: Path) -> None:
    """100 questions, 5 arms: answers of about 400 characters make 200 kB, and the page stays under a megabyte."""
    arms, text = [], "A sentence of forty characters, as here. " * 10
    for name in ("base", "rag", "sft", "dpo", "sft_dpo"):
        said = [dataclasses.replace(answer("sft", i, text), clause=f"d/a-{i // 3}") for i in range(100)]
        arms.append(ArmResult(name, arm_result("sft").scores, said, []))
    assert render_page(comparison(*arms), tmp_path / "report.html").stat().st_size < 1_000_000


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    """No arm, an arm twice, and a folder for the output: each message says what to do."""
    with pytest.raises(ValignError, match="evaluate at least one recipe"):
        render_page(dataclasses.replace(comparison(), arms=[]), tmp_path / "x.html")
    with pytest.raises(ValignError, match="arm 'sft' twice"):
        render_page(comparison(arm_result("sft"), arm_result("sft")), tmp_path / "x.html")
    with pytest.raises(ValignError, match="is a folder"):
        render_page(comparison(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValignError, match="cannot be written"):
        render_page(comparison(), tmp_path / "file" / "report.html")


def test_numbers_and_durations() -> None:
    """Two decimals below 10, one below 100; 0.001 below zero is 0.00; 185 s are 3 min 05 s."""
    plain = [format_number(v) for v in (0.125, 12.34, 123.4, -0.5, -0.001, None)]
    assert plain == ["0.12", "12.3", "123", f"{MINUS}0.50", "0.00", MISSING]
    assert [format_number(v, signed=True) for v in (0.5, 0.0, -0.5)] == ["+0.50", "0.00", f"{MINUS}0.50"]
    assert [format_duration(v) for v in (8.4, 185, 7620)] == ["8 s", "3 min 05 s", "2 h 07 min"]
    assert metric_named("reference_nll").direction == "lower is better"
