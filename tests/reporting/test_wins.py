"""Win rates on the page and under the table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pages import HOSTILE, Page, arm_result, comparison, page

from valign.evaluation.judging.judge import Judge
from valign.evaluation.judging.judgement import Judgement
from valign.reporting.comparison import Comparison
from valign.reporting.wins import WinCell, win_lines, win_matrix

REFERENCE = Judge("reference", tie=0.02)


def by_reference() -> Comparison:
    """Return base and SFT, of which SFT is nearer to the reference on four questions of six and tied on one."""
    near = {"base": [0.2, 0.2, 0.2, 0.2, 0.5, 0.6], "sft": [0.6, 0.6, 0.6, 0.6, 0.51, 0.2]}
    arms = []
    for name, column in near.items():
        result = arm_result(name)
        rows = [{**row, "similarity": value} for row, value in zip(result.values, column, strict=True)]
        arms.append(dataclasses.replace(result, values=rows))
    return comparison(*arms, judge=REFERENCE)


def test_the_matrix_by_hand(tmp_path: Path) -> None:
    """SFT wins 4 + 1/2 of 6 = 0.75, and base the rest; equal lengths do not change that much."""
    found = win_matrix(by_reference())
    assert found is not None
    assert found.columns == ["base", "SFT"]
    (_, base), (_, sft) = found.rows
    assert (base[0], sft[1]) == (WinCell("\u2013", "", "", None),) * 2
    assert (base[1].rate, sft[0].rate, sft[0].step) == ("0.25", "0.75", 5)
    assert [row[0] for row in found.ranking] == ["SFT", "base"]
    assert found.sentence.startswith("Of 6 pairs of answers, 17% count as ties; the order in which they are seen does")
    (line,) = win_lines(by_reference())
    assert line.startswith("wins over base, judge reference (nearness to the reference answer): SFT 0.75 [")
    assert "nearness to the reference answer" in page(tmp_path, by_reference()).text()


def test_without_a_judge_there_is_no_section(tmp_path: Path) -> None:
    assert win_matrix(comparison()) is None
    assert win_lines(comparison()) == []
    assert "Which arm gives the better answer?" not in page(tmp_path, comparison()).text()


def test_a_model_s_flips_unread_replies_and_kinship_are_shown_and_nothing_comes_alive(tmp_path: Path) -> None:
    """Of four judgements one flipped and has an unread reply."""
    rows = [Judgement(f"q{i}", f"c{i}", "sft", "base", 1.0, 2) for i in range(3)]
    rows.append(Judgement("q3", "c3", "sft", "base", 0.5, 2, True, 1))
    judge = Judge("api", HOSTILE, 0.02, HOSTILE)
    shown: Page = page(tmp_path, comparison(judge=judge, judgements=rows))
    text = shown.text()
    assert "in 25% the verdict hung on which answer came first" in text
    assert "1 replies could not be read" in text
    assert f"Judge: api ({HOSTILE})" in text and "Warning:" in text
    assert shown.open == [] and not shown.all("img")
    assert win_lines(comparison(judge=judge, judgements=rows))[-1].startswith("warning: ")
