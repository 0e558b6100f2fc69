"""The tables for other programs: CSV by hand, LaTeX that nothing in a name can break."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

import pytest
from run_folders import judged_run
from scored import comparison

from valign.reporting.exports import CSV_COLUMNS, csv_table, latex, latex_table
from valign.reporting.summary import comparison_summary
from valign.reporting.write import write_report
from valign.runs.summaries import flat_comparison


def test_csv_has_every_mean_and_every_tested_difference() -> None:
    """Two arms with three metrics, and the two differences that have a better direction."""
    rows = list(csv.DictReader(io.StringIO(csv_table(comparison()))))
    assert [(r["arm"], r["minus"], r["metric"]) for r in rows] == [
        *(("base", "", m) for m in ("fact_recall", "similarity", "length")),
        *(("sft", "", m) for m in ("fact_recall", "similarity", "length")),
        ("sft", "base", "fact_recall"),
        ("sft", "base", "similarity"),
    ]
    assert tuple(rows[0]) == CSV_COLUMNS
    assert (rows[3]["mean"], rows[3]["ci95_low"], rows[3]["n"], rows[3]["p"]) == ("0.5", "0.2", "4", "")
    assert float(rows[7]["mean"]) == pytest.approx(0.525)
    assert float(rows[7]["p_holm"]) == pytest.approx(2 * float(rows[7]["p"]))


def test_a_name_is_no_formula() -> None:
    whole = comparison()
    odd = dataclasses.replace(whole.arms[0], arm="=1+1, or\n2")
    rows = list(csv.DictReader(io.StringIO(csv_table(dataclasses.replace(whole, arms=[odd])))))
    assert {r["arm"] for r in rows} == {"'=1+1, or\n2"}


def test_latex_is_escaped() -> None:
    assert latex("50% of a_b & c#1 {x} ~ ^ $5 \\input") == (
        r"50\% of a\_b \& c\#1 \{x\} \textasciitilde{} \textasciicircum{} \$5 \textbackslash{}input"
    )
    whole = comparison()
    scores = {**whole.arms[1].scores, "arm": "sft_50%\n\\end"}
    table = latex_table(
        dataclasses.replace(whole, arms=[whole.arms[0], dataclasses.replace(whole.arms[1], scores=scores)])
    )
    assert r" & base & sft\_50\% \textbackslash{}end \\" in table


def test_latex_has_metrics_by_arms() -> None:
    lines = latex_table(comparison()).splitlines()
    assert lines[0] == r"\begin{tabular}{lrr}"
    assert lines[2] == r"Arm & base & SFT \\"
    assert lines[4] == r"Fact recall $\uparrow$ & 0.00 {[}0.20, 0.80{]} & 0.50 {[}0.20, 0.80{]} \\"
    assert lines.count(r"\hline") == 3
    assert lines[-1].startswith("% ")


def test_report_writes_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged_run(tmp_path / "a", {"base": "No.", "sft": "Yes."}, "judge")
    write_report(tmp_path, tmp_path / "report.html")
    assert {f.name for f in tmp_path.glob("*.*")} == {
        "report.html", "report.svg", "comparison.json", "card.md", "table.md", "table.csv", "table.tex",
    }  # fmt: skip
    assert "wins over base, judge api (judge): SFT 1.00" in capsys.readouterr().out


def test_trackers_get_the_same_numbers(tmp_path: Path) -> None:
    found = comparison_summary(comparison())
    flat = flat_comparison(found)
    assert flat["scores/sft/fact_recall/minus_base/p_holm"] == found["differences"][0]["p_holm"]
    interval = {"mean": 0.75, "ci95": [0.5, 1.0]}
    pair = {"arm": "sft", "other": "base", "win_rate": interval, "length_controlled": interval, "flips": 0.1}
    wins = {"pairs": [pair], "bradley_terry": [{"arm": "sft", "strength": 0.5, "ci95": [None, None]}]}
    more = flat_comparison({"differences": [], "wins": wins, "retrieval": [{"arm": "rag", "recall": interval}]})
    assert more == {
        "scores/rag/retrieval_recall": 0.75,
        "scores/rag/retrieval_recall/low": 0.5,
        "scores/rag/retrieval_recall/high": 1.0,
        "scores/sft/wins_over_base": 0.75,
        "scores/sft/wins_over_base/low": 0.5,
        "scores/sft/wins_over_base/high": 1.0,
        "scores/sft/wins_over_base/length_controlled": 0.75,
        "scores/sft/wins_over_base/length_controlled/low": 0.5,
        "scores/sft/wins_over_base/length_controlled/high": 1.0,
        "scores/sft/wins_over_base/flips": 0.1,
        "scores/sft/strength": 0.5,
        "scores/sft/strength/low": None,
        "scores/sft/strength/high": None,
    }
