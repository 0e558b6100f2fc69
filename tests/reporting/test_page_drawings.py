"""The page's score table, heat map, charts and colours, by hand."""

from __future__ import annotations

import dataclasses
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from pages import arm_result, comparison

from valign.reporting.axes import round_ticks
from valign.reporting.clause_names import Clauses
from valign.reporting.colours import COLOUR_STEPS
from valign.reporting.curve_charts import curve_charts
from valign.reporting.dot_charts import dot_charts
from valign.reporting.heat_map import heat_map
from valign.reporting.numbers import MISSING
from valign.reporting.page import PAGE_FILES, render_picture
from valign.reporting.score_groups import DifferenceCell, score_groups

MINUS = "\u2212"


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
    blocks = re.findall(r":root \{(.*?)\}", (PAGE_FILES / "page.css").read_text(encoding="utf-8"), re.DOTALL)
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
