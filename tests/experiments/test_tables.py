"""The studies' pages get their tables from run folders."""

from __future__ import annotations

from pathlib import Path

from scripts import EXPERIMENTS, load_script
from seeded_runs import BASE, run


def test_a_table_is_put_between_its_marks_and_the_rest_stays(tmp_path: Path) -> None:
    run(tmp_path / "runs/rules/sft", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}})
    run(tmp_path / "runs/rules/sft+seed-1", 1, {"base": BASE, "sft": {"q1": 1.0, "q2": 1.0}})
    run(tmp_path / "runs/rules/sft/evaluations/own", 0, {"base": BASE, "dpo": {"q1": 1.0, "q2": 1.0}})
    page = (
        "# Rules\n<!-- table runs/rules arms=sft columns=fact_recall -->\nold\n<!-- /table -->\n"
        "<!-- table runs/rules part=seeds -->\n<!-- /table -->\n"
        "<!-- table runs/rules part=tax -->\n<!-- /table -->\n"
        "<!-- table runs/nowhere -->\nkept\n<!-- /table -->\nEnd.\n"
    )
    filled, said = load_script("tables.py").fill_tables(page, tmp_path)
    assert filled.startswith("# Rules\n<!-- table runs/rules arms=sft columns=fact_recall -->\n| Arm | Fact recall")
    assert "| SFT | 0.75 [" in filled
    assert "| base |" not in filled and "| DPO |" not in filled and "old" not in filled
    assert "| Fact recall | SFT | 0.50 | 1.00 | 0.35 |" in filled
    assert "Not measured." in filled
    assert filled.endswith("<!-- table runs/nowhere -->\nkept\n<!-- /table -->\nEnd.\n")
    assert said[-1] == "kept: runs/nowhere has no finished run"
    assert load_script("tables.py").fill_tables(filled, tmp_path)[0] == filled


def test_every_page_has_marks_that_are_understood() -> None:
    """No mark is left over that the script would not find."""
    for page in (EXPERIMENTS.parent / "README.md", *EXPERIMENTS.glob("*/README.md")):
        text = page.read_text(encoding="utf-8")
        assert (
            text.count("<!-- table runs")
            == len(load_script("tables.py").TABLE.findall(text))
            == text.count("<!-- /table -->")
        ), page
