"""The comparison page, on an invented ferry company's rules: three arms, six questions, two clauses."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from pages import HOSTILE, MEANS, answer, arm_result, comparison, page, passages

from valign.core.errors import ValignError
from valign.core.records import Answer, Passage
from valign.reporting.answers import answers_by_clause
from valign.reporting.axes import round_ticks
from valign.reporting.clause_names import Clauses
from valign.reporting.colours import COLOUR_STEPS
from valign.reporting.comparison import ArmResult, Comparison, metric_named
from valign.reporting.coverage import AuditTable, CoverageTable, audit_table, coverage_table
from valign.reporting.curve_charts import curve_charts
from valign.reporting.differences import arm_differences
from valign.reporting.dot_charts import dot_charts
from valign.reporting.headline import find_headline
from valign.reporting.heat_map import heat_map
from valign.reporting.numbers import MISSING, format_duration, format_number
from valign.reporting.page import TEMPLATES, render_page, render_picture
from valign.reporting.score_groups import DifferenceCell, score_groups
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


@pytest.mark.parametrize(
    ("ci", "finding", "words"),
    [
        ((0.6, 0.9), "better", "(95% interval +60 to +90)."),
        ((-0.1, 0.9), "unclear", "this may be chance, as the interval includes zero."),
        ((-0.9, -0.6), "worse", f"(95% interval {MINUS}90 to {MINUS}60); base does better."),
        ((None, None), "unclear", "chance cannot be ruled out."),
    ],
)
def test_verdict_says_what_the_interval_allows(ci: tuple[float | None, float | None], finding: str, words: str) -> None:
    """The best arm by mean is SFT+DPO with 0.75, base has 0: +75 points, claimed only where zero is outside."""
    found = find_headline(comparison(arm_result("base"), arm_result("sft"), arm_result("sft_dpo", ci)))
    assert found.finding == finding
    assert found.sentence.startswith("SFT+DPO states 75% of the facts that right answers need, against 0% for base")
    assert found.sentence.endswith(words)
    assert any("best of 2 arms" in note for note in found.notes)


def test_the_verdicts_figures_add_up() -> None:
    """0.374 - 0.078 = 0.296: "37%, 8%, +30" would not add up, so a decimal is shown; 0.38 - 0.08 = 0.30 needs none."""
    base, sft = arm_result("base"), arm_result("sft", (0.2, 0.4))
    for first, second, words in ((0.078, 0.374, "37.4% {} 7.8% {} +29.6"), (0.08, 0.38, "38% {} 8% {} +30")):
        base.scores["metrics"]["fact_recall"]["mean"] = first
        sft.scores["metrics"]["fact_recall"]["mean"] = second
        sft.scores["versus"]["base"]["fact_recall"]["mean"] = second - first
        expected = words.format("of the facts that right answers need, against", "for base: a difference of")
        assert expected in find_headline(comparison(base, sft)).sentence


def test_verdict_is_unclear_where_the_corrected_test_does_not_agree() -> None:
    arms = comparison(arm_result("base"), arm_result("sft_dpo", (0.6, 0.9)))
    (known, *others) = [d for d in arm_differences(arms) if d.metric.name == "fact_recall"]
    assert others == []
    for p_holm, finding in ((0.049, "better"), (0.05, "unclear"), (None, "better")):
        found = find_headline(arms, [dataclasses.replace(known, p_holm=p_holm)])
        assert found.finding == finding
    found = find_headline(arms, [dataclasses.replace(known, p_holm=0.648)])
    assert found.notes[0].endswith(
        "of 1 differences that were tested some do so by chance: corrected for their number, p is 0.648."
    )


def test_the_headline_says_what_the_best_arm_is_worse_in(tmp_path: Path) -> None:
    """Contradiction rises from 0.02 to 0.40 beyond chance, and a limit of the tax is crossed; both stand in red."""
    base, sft = arm_result("base"), arm_result("sft_dpo", (0.6, 0.9))
    for result, mean in ((base, 0.02), (sft, 0.4)):
        result.scores["metrics"]["contradiction"] = {"mean": mean, "ci95": [0.0, 0.5], "n": 6}
    sft.scores["versus"]["base"]["contradiction"] = {"mean": 0.38, "ci95": [0.3, 0.46]}
    sft.scores["tax"] = {
        "metrics": {"everyday_drop": {"mean": 0.23, "ci95": [0.1, 0.4], "n": 40}},
        "limits": {"everyday_drop": 0.1},
        "crossed": ["everyday_drop"],
    }
    arms = comparison(base, sft)
    (facts,) = [d for d in arm_differences(arms) if d.metric.name == "fact_recall"]
    risen = dataclasses.replace(facts, metric=metric_named("contradiction"), p_holm=0.001)
    assert find_headline(arms, [facts, risen]).warnings == (
        "SFT+DPO is worse than base in: Contradiction 0.40 (base 0.02).",
        "Limit crossed: Accuracy drop of SFT+DPO is 0.23, above 0.1.",
    )
    assert find_headline(arms, [facts, dataclasses.replace(risen, p_holm=0.2)]).warnings[0].startswith("Limit crossed")
    shown = [p["class"] for p in page(tmp_path, arms).all("p") if "crossed" in (p.get("class") or "")]
    assert shown == ["crossed"]


def test_made_questions_are_called_so() -> None:
    arms = [arm_result("base"), arm_result("sft")]
    made = {"evaluation": {"questions": None}, "document": {"questions": None}}
    assert any("The teacher made these questions" in n for n in find_headline(comparison(*arms, config=made)).notes)
    given = {"evaluation": {"questions": "mine.jsonl"}, "document": {"questions": None}}
    for config in (given, {}):
        assert not any("The teacher made" in n for n in find_headline(comparison(*arms, config=config)).notes)


def test_verdict_without_base_or_without_others() -> None:
    """One arm alone is described and nothing is claimed; the interval of SFT is 0.5 ± 0.2."""
    for name, missing in (("sft", "Base was not run"), ("base", "No other arm was run")):
        found = find_headline(comparison(arm_result(name)))
        assert found.finding == "alone" and missing in found.sentence
    assert "SFT states 50% of the facts that right answers need (95% interval 30% to 70%)" in (
        find_headline(comparison(arm_result("sft"))).sentence
    )


def test_verdict_names_the_best_trained_arm_beside_one_that_looks_up() -> None:
    """RAG wins by mean; SFT, which answers from memory, is named as well."""
    shown = arm_result("sft_dpo")
    looked_up = [dataclasses.replace(a, retrieved=("ferry/section-1",)) for a in shown.answers]
    found = find_headline(
        comparison(arm_result("base"), arm_result("sft"), dataclasses.replace(shown, answers=looked_up))
    )
    assert "without looking the document up: SFT states 50%" in " ".join(found.notes)


def test_verdict_on_similarity_warns_of_manner() -> None:
    """Without facts and verdicts, the first metric with a direction leads, and the page says what it rewards."""
    arms = []
    for name in ("base", "sft"):
        result = arm_result(name)
        score = {"similarity": {"mean": 0.3 + MEANS[name], "ci95": [0.2, 0.4], "n": 6}}
        versus = {"base": {"similarity": {"mean": 0.5, "ci95": [0.4, 0.6]}}} if name == "sft" else {}
        arms.append(dataclasses.replace(result, scores={**result.scores, "metrics": score, "versus": versus}))
    found = find_headline(comparison(*arms))
    assert found.finding == "better"
    assert "0.80, against 0.30 for base: a difference of +0.50 (95% interval +0.40 to +0.60)." in found.sentence
    assert any("rewards the manner" in note for note in found.notes)


def test_score_table_marks_the_best_in_the_metric_s_direction() -> None:
    """Fact recall: 0.75 is best. NLL: 2.25 is lowest, so best, and has no interval. Length has no best."""
    groups = dict(score_groups(comparison()))
    facts = groups["Does the answer say the right thing?"][0]
    assert [cell.mean for cell in facts.cells] == ["0.00", "0.50", "0.75"]
    assert [cell.best for cell in facts.cells] == [False, False, True]
    assert facts.questions == "6 questions"
    assert facts.cells[2].differences == [DifferenceCell("base", "+0.75", "+0.20 to +0.80", "better")]
    nll, length = groups["How is the answer written?"]
    assert [cell.best for cell in nll.cells] == [False, False, True] and nll.cells[0].ends == "no interval"
    assert not any(cell.best for cell in length.cells)


def test_heat_map_levels_and_missing_values() -> None:
    """On 0 to 1, seven steps: 0 is step 0, 0.5 step 3 (3.5 rounded down), 0.75 step 5 (5.25); None has no step.

    NLL goes beyond 1, so its scale is the least, 2.25, to the most, 3; lower is better, so 2.25 is step 6, 3 step 0,
    and 2.5, a third up, 2/3 · 7 = 4.67: step 4.

    Changes from base run from -0.75 to 0.75: +0.5 is (0.5 + 0.75) / 1.5 · 7 = 5.83, step 5; no change is 3.5, step 3.
    NLL falls by as much, which is better.
    """
    shown = comparison()
    heat = heat_map(shown, Clauses(shown.passages, []), {})
    nothing = ("", None, "")
    first, second = heat.layers["fact_recall"]["cells"]
    assert first == [("0.00", 0, *nothing), ("0.50", 3, "+0.50", 5, "better"), ("0.75", 5, "+0.75", 6, "better")]
    assert second == [(MISSING, None, *nothing)] * 3
    first, second = heat.layers["reference_nll"]["cells"]
    assert [cell[1] for cell in first] == [0, 4, 6]
    assert [cell[2:] for cell in first] == [nothing, (f"{MINUS}0.50", 5, "better"), (f"{MINUS}0.75", 6, "better")]
    assert [cell[2:] for cell in second] == [nothing, ("0.00", 3, ""), ("0.00", 3, "")]
    assert heat.changes
    alone = heat_map(comparison(arm_result("sft")), Clauses(shown.passages, []), {})
    assert not alone.changes and alone.layers["fact_recall"]["cells"][0][0][2:] == nothing
    assert [metric.name for metric in heat.metrics] == ["fact_recall", "reference_nll"]
    assert [row.short for row in heat.rows] == ["section-1", "section-2"]


def luminance(colour: str) -> float:
    """Return the relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours: 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_can_be_read_in_light_and_dark() -> None:
    """Numbers in the heat map and every text have a contrast of at least 4.5 (WCAG AA). White on black has 21."""
    assert contrast("#ffffff", "#000000") == pytest.approx(21.0)
    blocks = re.findall(r":root \{(.*?)\}", (TEMPLATES / "page.css").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == len(("light", "dark"))
    for block in blocks:
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        pairs = [(f"heat-{i}", "heat-weak" if i < 4 else "heat-strong") for i in range(COLOUR_STEPS)]
        pairs += [(f"change-{i}", "heat-strong" if i in (0, 6) else "heat-weak") for i in range(COLOUR_STEPS)]
        pairs += [(back, text) for back in ("page", "panel") for text in ("text", "soft", "accent")]
        pairs += [("page", "good"), ("page", "bad"), ("good-soft", "good"), ("bad-soft", "bad"), ("plain-soft", "text")]
        assert [pair for pair in pairs if contrast(colour[pair[0]], colour[pair[1]]) < 4.5] == []


def test_dot_chart_places_means_and_intervals() -> None:
    """The scale runs from 0 at x = 104 to 1 at 320, 216 units: 0.5 is at 212, 0.3 at 168.8, 0.7 at 255.2."""
    (chart,) = dot_charts(comparison())
    assert [tick.label for tick in chart.ticks] == ["0", "0.5", "1"]
    assert (chart.dots[1].x, chart.dots[1].ends) == (212.0, (168.8, 255.2))
    assert [dot.kind for dot in chart.dots] == ["base", "other", "best"]
    assert chart.reference == chart.dots[0].x == 104.0


def test_picture_stands_alone_and_shows_every_chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four charts in two rows: the second of a row begins a chart's width and a gap to the right of the first."""
    shown = comparison()
    charts = 4 * dot_charts(shown)
    monkeypatch.setattr("valign.reporting.page.dot_charts", lambda _: charts)
    hostile_arm = dataclasses.replace(arm_result("sft"), arm="<b>&x")
    root = ET.parse(render_picture(shown, tmp_path / "picture.svg")).getroot()
    name = "{http://www.w3.org/2000/svg}"
    groups = root.findall(f"{name}g")
    assert len(groups) == len(charts) == 4
    assert len(root.findall(f".//{name}circle")) == sum(len(chart.dots) for chart in charts)
    places = [[float(part) for part in g.attrib["transform"][10:-1].split()] for g in groups]
    assert places[1][0] - places[0][0] == charts[0].width + 32
    assert places[0][1] == places[1][1] < places[2][1]
    assert all(float(root.attrib["height"]) >= y + c.height for (_, y), c in zip(places, charts, strict=True))
    assert not [e for e in root.iter() if "href" in "".join(e.attrib)]
    monkeypatch.undo()
    text = render_picture(comparison(hostile_arm), tmp_path / "picture.svg").read_text()
    assert "<b>" not in text and "&lt;b&gt;&amp;x" in text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (0.4, 3.1, [0.0, 1.0, 2.0, 3.0, 4.0]),
        (2.0, 2.0, [2.0, 2.5]),
        (0.0, 0.0, [0.0, 0.5]),
    ],
)
def test_ticks_are_round_and_cover(low: float, high: float, expected: list[float]) -> None:
    """[0.4, 3.1] spans 2.7: four steps need 0.675 or more, so the step is 1, and 0 to 4 covers it."""
    assert round_ticks(low, high) == expected


def test_curves_skip_what_is_not_finite_and_thin_long_ones() -> None:
    """1,000 points are averaged by threes to 334; NaN is left out; a curve without a finite point is not drawn."""
    points = [(i, float(i % 7)) for i in range(1000)]
    drawn = curve_charts(
        comparison(curves={"sft/loss": points, "dpo/loss": [(0, math.nan)], "dpo/margin": [(0, math.inf), (1, 0.5)]})
    )
    assert [curve.title for curve in drawn] == ["SFT loss", "DPO margin"]
    assert len(drawn[0].line.split()) == len(drawn[0].trend.split()) == 334
    assert "0.50 at step 1" in drawn[1].alternative and drawn[1].start is not None
    assert not any("nan" in f"{curve.line}{curve.trend}" for curve in drawn)


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


def cells(shown: CoverageTable) -> dict[str, list[tuple[int, int | None, bool]]]:
    """Return count, colour and shortness by clause."""
    return {clause: [(c.count, c.step, c.short) for c in row] for clause, row in shown.rows}


def test_coverage_by_hand() -> None:
    """The first clause has 6 examples, 6 pairs and 3 questions, the second 3 questions and nothing else.

    Colours: the most of a column is the seventh step (6), nothing has no colour. Two pairs and four questions are asked
    for, so that the second clause lacks pairs and both lack questions.
    """
    config = {"synthesis": {"coverage": {"min_preferences": 2, "min_questions": 4}}}
    whole = comparison(config=config)
    shown = coverage_table(whole, Clauses(whole.passages, []))
    assert shown is not None
    assert [(c.title, c.least, c.most) for c in shown.columns] == [
        ("D_sft", 0, 6),
        ("D_pref", 2, 6),
        ("Questions", 4, 3),
    ]
    assert cells(shown) == {
        "ferry/section-1": [(6, 6, False), (6, 6, False), (3, 6, True)],
        "ferry/section-2": [(0, None, False), (0, None, True), (3, 6, True)],
    }
    assert (shown.covered, shown.short) == (1, 2)
    apart = {"synthesis": {**config["synthesis"], "hold_out_clauses": ["ferry/section-2"]}}
    held_out = coverage_table(comparison(config=apart), Clauses(whole.passages, []))
    assert held_out is not None
    assert [short for _, _, short in cells(held_out)["ferry/section-2"]] == [False, False, True]
    assert whole.funnel is not None
    taught = {"made": 3, "dropped": {"no example": 1}, "kept": 2, "per_clause": {"ferry/section-2": 2}}
    facts = coverage_table(comparison(funnel={**whole.funnel, "facts": taught}), Clauses(whole.passages, []))
    assert facts is not None
    assert [c.title for c in facts.columns] == ["D_sft", "D_pref", "Facts taught", "Questions"]
    assert [row[2][0] for row in cells(facts).values()] == [0, 2]
    assert len(funnels(comparison(funnel={**whole.funnel, "facts": taught}))) == 2
    assert coverage_table(comparison(funnel=None), Clauses([], [])) is None


def test_a_question_on_a_section_counts_for_its_parts() -> None:
    parts = [Passage(f"ferry/section-1/{i}", ("Rules",), "Text.", 0, 5) for i in (1, 2)]
    whole = comparison(passages=parts, funnel={"sft": {"made": 0, "dropped": {}, "kept": 0}})
    shown = coverage_table(whole, Clauses(parts, ["ferry/section-1", "ferry/section-2"]))
    assert shown is not None
    assert {clause: row[-1][0] for clause, row in cells(shown).items()} == {
        "ferry/section-1/1": 3, "ferry/section-1/2": 3, "ferry/section-2": 3,
    }  # fmt: skip


def test_the_page_shows_coverage_and_audit(tmp_path: Path) -> None:
    report = {
        "auc": 0.91, "length_auc": 0.5, "kinds": {"base": 0.97, "edit": None}, "cause": "rejected answers have: hm",
        "words": {"chosen": [], "rejected": ["hm"]},
    }  # fmt: skip
    whole = comparison(config={"synthesis": {"min_preferences": 2}})  # as earlier versions had it
    assert whole.funnel is not None
    funnel = {**whole.funnel, "preference": {**whole.funnel["preference"], "audit": report}}
    text = page(tmp_path, dataclasses.replace(whole, funnel=funnel)).text()
    assert "Warning: rejected answers have: hm" in " ".join(text.split())
    assert "Rejected answers of kind base" in text and "0.97" in text and "0.91" in text
    assert "rejected: hm." in text
    assert "1 of 2 clauses have training data; 1 fall short" in text
    assert "none (short)" in text


def test_an_audit_that_was_not_measured_says_why() -> None:
    funnel = {
        "preference": {"made": 1, "dropped": {}, "kept": 1, "audit": {"auc": None, "reason": "3 pairs are too few"}}
    }
    assert audit_table(comparison(funnel=funnel)) == AuditTable("Not measured: 3 pairs are too few.", "", [])
    assert audit_table(comparison()) is None
