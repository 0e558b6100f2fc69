"""Several seeds of one experiment: intervals and errors over seeds and clauses, and the runs put together."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from seeded_runs import BASE, rows, run

from valign.core.files import write_json, write_jsonl
from valign.core.records import Answer
from valign.evaluation.bootstrap import bootstrap_mean
from valign.evaluation.scores import difference_by_metric, score_arm
from valign.evaluation.significance import clustered_error, paired_test
from valign.reporting.differences import arm_differences
from valign.reporting.page import render_page
from valign.reporting.score_table import footnote, markdown_table
from valign.reporting.seeds import seed_markdown, seed_table
from valign.reporting.study import compare_runs
from valign.reporting.write import comparison_table


def test_draws_of_seeds_by_hand() -> None:
    """Two seeds of 0 and of 1, the same on both clauses: a draw of seeds has mean 0, 1/2 or 1 (1/4, 1/2, 1/4)."""
    interval = bootstrap_mean([0, 0, 1, 1], ["a", "b", "a", "b"], repeats=[0, 0, 1, 1])
    assert (interval.mean, interval.low, interval.high, interval.n) == (0.5, 0.0, 1.0, 4)
    assert bootstrap_mean([0, 0, 1, 1], ["a", "b", "a", "b"]).low == 0.5


def test_draws_are_crossed_by_hand() -> None:
    """One value of 1 among 2 seeds by 2 clauses: a draw counts it i * j times of 4, with i and j of 0, 1, 2.

    The mean is 0 with probability 7/16, 1/4 with 1/4, 1/2 with 1/4, and 1 with 1/16; the 97.5th percentile is 1.
    """
    interval = bootstrap_mean([0, 0, 0, 1], [*"abab"], repeats=[*"xxyy"])
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_one_seed_is_no_seeds_and_the_order_of_rows_does_not_matter() -> None:
    values, clauses = [0.1, 0.5, 0.9, 0.4], ["a", "a", "b", "c"]
    assert bootstrap_mean(values, clauses, repeats=[3] * 4) == bootstrap_mean(values, clauses)
    one = bootstrap_mean([0.1, 0.5, 0.9, 0.4], ["a", "b", "a", "b"], repeats=[0, 0, 1, 1])
    assert bootstrap_mean([0.4, 0.9, 0.5, 0.1], ["b", "a", "b", "a"], repeats=[1, 1, 0, 0]) == one


def test_one_clause_leaves_the_spread_unknown_and_seeds_need_clauses() -> None:
    assert math.isnan(bootstrap_mean([0, 1], ["a", "a"], repeats=[0, 1]).low)
    with pytest.raises(ValueError, match="need clusters"):
        bootstrap_mean([0, 1], repeats=[0, 1])
    with pytest.raises(ValueError, match="2 values but 1 repeats"):
        bootstrap_mean([0, 1], ["a", "b"], repeats=[0])


def test_the_interval_holds_the_mean_over_other_seeds_and_clauses() -> None:
    """Effects of 8 seeds and 30 clauses and noise: the crossed interval covers 0; clauses alone are far too sure."""
    random = np.random.default_rng(7)
    clauses, seeds = np.tile(np.arange(30), 8), np.repeat(np.arange(8), 30)
    hits = {"crossed": 0, "clauses": 0, "error": 0}
    for _ in range(100):
        values = random.normal(0, 0.3, 8)[seeds] + random.normal(0, 0.5, 30)[clauses] + random.normal(0, 0.5, 240)
        names = [f"{c:02d}" for c in clauses]
        crossed = bootstrap_mean(values.tolist(), names, samples=200, repeats=seeds.tolist())
        alone = bootstrap_mean(values.tolist(), names, samples=200)
        hits["crossed"] += crossed.low <= 0 <= crossed.high
        hits["clauses"] += alone.low <= 0 <= alone.high
        test = paired_test(values.tolist(), names, seeds.tolist())
        assert test.p is not None
        hits["error"] += test.p >= 0.05
    assert hits["crossed"] >= 88
    assert hits["error"] >= 88
    assert hits["clauses"] <= 85


def test_the_error_over_seeds_and_clauses_by_hand() -> None:
    """Values 0, 1 of seed 0 and 1, 4 of seed 1, on clauses a and b; the mean is 3/2.

    By clause the deviations are -2 and 2: 2/1 * 8 / 16 = 1. By seed -2 and 2: 1. By both -3/2, -1/2, -1/2, 5/2:
    4/3 * 9 / 16 = 3/4. Together 1 + 1 - 3/4 = 5/4. Seeds that all say the same are no more evidence than one.
    """
    values, clauses, seeds = [0.0, 1.0, 1.0, 4.0], ["a", "b", "a", "b"], [0, 0, 1, 1]
    assert clustered_error(values, clauses) == pytest.approx(1.0)
    assert clustered_error(values, clauses, seeds) == pytest.approx(math.sqrt(1.25))
    assert clustered_error(values, clauses, [5] * 4) == pytest.approx(1.0)
    many = clustered_error([0.0, 1.0] * 5, ["a", "b"] * 5, [s for s in range(5) for _ in "ab"])
    assert many == pytest.approx(clustered_error([0.0, 1.0], ["a", "b"]))


def test_rows_of_several_seeds_are_scored_together() -> None:
    trained = [*rows(0, {"q1": 1.0, "q2": 0.0}), *rows(1, {"q1": 1.0, "q2": 1.0})]
    scores = score_arm("sft", trained, rows(None, {"q1": 0.0, "q2": 0.5}))
    assert scores["n"] == scores["metrics"]["fact_recall"]["n"] == 2
    assert scores["metrics"]["fact_recall"]["mean"] == 0.75
    assert scores["seeds"] == [0, 1]
    assert scores["by_seed"] == {"0": {"fact_recall": 0.5}, "1": {"fact_recall": 1.0}}
    assert scores["by_clause"]["d/q2"] == {"n": 1, "fact_recall": 0.5}
    assert scores["versus"]["base"]["fact_recall"]["mean"] == 0.5
    assert scores["versus"]["base"]["fact_recall"]["n"] == 2
    assert "means over 2 seeds of what was trained" in footnote([scores])
    assert "over seeds and clauses" in markdown_table([scores])


def test_differences_pair_the_same_seed() -> None:
    """Seed 0 rises from 0 to 1, seed 1 falls from 1 to 0; seed 2 was run for one arm alone."""
    before = [*rows(0, {"q1": 0.0, "q2": 0.0}), *rows(1, {"q1": 1.0, "q2": 1.0}), *rows(2, {"q1": 1.0, "q2": 1.0})]
    after = [*rows(0, {"q1": 1.0, "q2": 1.0}), *rows(1, {"q1": 0.0, "q2": 0.0})]
    found = difference_by_metric("dpo", after, before)["fact_recall"]
    assert (found["mean"], found["ci95"]) == (0.0, [-1.0, 1.0])


def test_runs_that_differ_by_seed_are_one_experiment(tmp_path: Path) -> None:
    runs = [
        run(tmp_path / "sft", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}}),
        run(tmp_path / "sft+seed-1", 1, {"base": BASE, "sft": {"q1": 1.0, "q2": 1.0}}),
    ]
    for folder, drop in zip(runs, (0.1, 0.3), strict=True):
        place = folder / "arms" / "sft" / "scores.json"
        tax = {"tax": {"metrics": {"everyday_drop": {"mean": drop}}, "limits": {}, "crossed": []}}
        write_json(place, {**json.loads(place.read_text()), **tax})
    comparison = compare_runs(runs)
    base, sft = comparison.arms
    assert [base.arm, sft.arm] == ["base", "sft"]
    assert "seeds" not in base.scores
    assert sft.mean("fact_recall") == 0.75
    assert sft.difference("fact_recall") is not None
    assert [answer.answer for answer in sft.answers] == ["sft 0 1.0", "sft 0 0.0"]
    assert comparison.curves["sft/loss"][0][1] == 0.0
    found = seed_table(comparison)
    assert found is not None
    assert [(row.name, row.cells, row.deviation) for row in found.rows] == [
        ("SFT", ["0.50", "1.00"], "0.35"),
        ("SFT \u2212 base", ["+0.50", "+1.00"], "0.35"),
        ("SFT", ["0.10", "0.30"], "0.14"),
    ]
    assert found.rows[-1].metric.label == "Accuracy drop"
    assert found.sentences == ["SFT is above base in Fact recall with 2 of 2 seeds, by +0.75 on average."]
    assert "| Fact recall | SFT | 0.50 | 1.00 | 0.35 |" in seed_markdown(found)
    assert found.sentences[0] in comparison_table(compare_runs(runs))
    page = render_page(comparison, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "means over 2 seeds" in page
    assert "The intervals cover the choice of questions and of the seed." in page
    assert "training again with" not in page


def test_a_seed_of_an_earlier_version_is_of_the_same_experiment(tmp_path: Path) -> None:
    """A key that was renamed since is the same setting."""
    recall = {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}}
    runs = [
        run(tmp_path / "a", 0, recall, synthesis={"max_rank": 2}),
        run(tmp_path / "b", 1, recall, synthesis={"filters": {"max_rank": 2}}),
    ]
    assert [arm.arm for arm in compare_runs(runs).arms] == ["base", "sft"]
    other = run(tmp_path / "c", 1, recall, synthesis={"filters": {"max_rank": 3}})
    assert len(compare_runs([runs[0], other]).arms) == 3


def test_a_seed_that_filled_its_batches_otherwise_is_of_the_same_experiment(tmp_path: Path) -> None:
    """Its steps had the same examples; a step of other size is another experiment."""
    recall = {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}}
    sft = {"batch_size": 8}
    runs = [
        run(tmp_path / "a", 0, recall, sft=sft),
        run(
            tmp_path / "b", 1, recall, sft={**sft, "batch_tokens": 2048}, base_model={"recommended": {"dpo_beta": 1.0}}
        ),
    ]
    assert [arm.arm for arm in compare_runs(runs).arms] == ["base", "sft"]
    other = run(tmp_path / "c", 1, recall, sft={"batch_size": 4, "batch_tokens": 2048})
    assert len(compare_runs([runs[0], other]).arms) == 3


def test_clauses_that_training_left_out_are_apart_over_seeds_too(tmp_path: Path) -> None:
    """Both seeds learn the first clause; the second one, held out, is right once."""
    held = {"synthesis": {"hold_out_clauses": ["d/q2"]}}
    runs = [
        run(tmp_path / "sft", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}}, **held),
        run(tmp_path / "sft+seed-1", 1, {"base": BASE, "sft": {"q1": 1.0, "q2": 1.0}}, **held),
    ]
    found = {result.arm: result.scores["by_exposure"]["metrics"] for result in compare_runs(runs).arms}
    means = {name: cell["mean"] for name, cell in found["sft"].items()}
    assert means == {
        "fact_recall/seen": 1.0,
        "fact_recall/seen, minus base": 1.0,
        "fact_recall/unseen": 0.5,
        "fact_recall/unseen, minus base": 0.5,
    }
    assert found["base"]["fact_recall/seen"]["mean"] == 0.0


def test_other_settings_are_an_arm_of_their_own(tmp_path: Path) -> None:
    """A run with another rank, whose name has another seed too, is not mixed with the two seeds of the first."""
    runs = [
        run(tmp_path / "sft", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}}, rank=8),
        run(tmp_path / "sft+rank-4+seed-1", 1, {"base": BASE, "sft": {"q1": 0.5, "q2": 0.5}}, rank=4),
        run(tmp_path / "sft+seed-1", 1, {"base": BASE, "sft": {"q1": 1.0, "q2": 1.0}}, rank=8),
    ]
    means = {result.arm: result.mean("fact_recall") for result in compare_runs(runs).arms}
    assert means == {"base": 0.0, "sft": 0.75, "sft (rank-4)": 0.5}
    assert seed_table(compare_runs(runs[:1])) is None


def test_of_several_settings_the_first_is_named_too(tmp_path: Path) -> None:
    runs = [
        run(tmp_path / "sft+rank-4", 0, {"base": BASE, "sft": {"q1": 0.5, "q2": 0.5}}, rank=4),
        run(tmp_path / "sft+rank-16", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}}, rank=16),
    ]
    found = compare_runs(runs).arms
    assert {result.label: result.mean("fact_recall") for result in found} == {
        "base": 0.0,
        "SFT (rank-4)": 0.5,
        "SFT (rank-16)": 0.5,
    }
    assert [result.scores["arm"] for result in found] == [result.arm for result in found]
    assert all(set(result.scores["versus"]) <= {"base"} for result in found)


def test_the_first_base_stays_the_one_that_all_are_compared_with(tmp_path: Path) -> None:
    other = {question: score + 0.5 for question, score in BASE.items()}
    runs = [
        run(tmp_path / "sft+words-32", 0, {"base": BASE, "sft": {"q1": 0.5, "q2": 0.5}}, words=32),
        run(tmp_path / "sft+words-64", 0, {"base": other, "sft": {"q1": 1.0, "q2": 0.0}}, words=64),
    ]
    longer = [Answer(q, f"d/{q}", "Why?", "So.", "I know", "base") for q in BASE]
    write_jsonl(runs[1] / "arms" / "base" / "answers.jsonl", longer)
    found = compare_runs(runs)
    assert [result.arm for result in found.arms] == ["base", "sft (words-32)", "base (words-64)", "sft (words-64)"]
    assert found.base is found.arms[0]


def test_a_seed_that_lacks_an_arm_leaves_a_gap(tmp_path: Path) -> None:
    """One of two jobs of DPO failed: its one seed is paired with the same seed of SFT alone."""
    right, wrong = {"q1": 1.0, "q2": 1.0}, {"q1": 0.0, "q2": 0.0}
    runs = [
        run(tmp_path / "sft_dpo", 0, {"base": BASE, "sft": wrong, "sft_dpo": right}),
        run(tmp_path / "sft+seed-1", 1, {"base": BASE, "sft": right}),
    ]
    place = runs[0] / "arms" / "sft_dpo" / "scores.json"
    versus = difference_by_metric("sft_dpo", rows(None, right), rows(None, wrong))
    write_json(place, {**json.loads(place.read_text()), "versus": {"sft": versus}})
    comparison = compare_runs(runs)
    found = seed_table(comparison)
    assert found is not None
    cells = {(row.metric.name, row.name): row.cells for row in found.rows}
    assert cells["fact_recall", "SFT"] == ["0.00", "1.00"]
    assert cells["fact_recall", "SFT+DPO"] == ["1.00", "\u2013"]
    assert comparison.arms[-1].difference("fact_recall", "sft") == (1.0, (1.0, 1.0))


def test_each_question_counts_once_over_seeds(tmp_path: Path) -> None:
    runs = [
        run(tmp_path / "sft", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}}),
        run(tmp_path / "sft+seed-1", 1, {"base": BASE, "sft": {"q1": 1.0, "q2": 1.0}}),
    ]
    assert [row.test.n for row in arm_differences(compare_runs(runs))] == [2]


def test_another_setting_is_compared_with_its_own_arms(tmp_path: Path) -> None:
    """With epochs=3 DPO leads SFT by 0.5; beside it, with epochs=2, SFT is at 0: the lead must not become 1."""
    half, right, wrong = {"q1": 1.0, "q2": 0.0}, {"q1": 1.0, "q2": 1.0}, {"q1": 0.0, "q2": 0.0}
    first = run(tmp_path / "a", 0, {"base": BASE, "sft": wrong}, sft={"epochs": 2})
    second = run(tmp_path / "b", 0, {"base": BASE, "sft": half, "sft_dpo": right}, sft={"epochs": 3})
    place = second / "arms" / "sft_dpo" / "scores.json"
    versus = difference_by_metric("sft_dpo", rows(None, right), rows(None, half))
    write_json(place, {**json.loads(place.read_text()), "versus": {"sft": versus}})
    comparison = compare_runs([first, second])
    assert [result.arm for result in comparison.arms] == ["base", "sft", "sft_dpo", "sft (b)"]
    (found,) = [row for row in arm_differences(comparison) if row.arm == "sft_dpo"]
    assert (found.other, found.test.mean) == ("sft (b)", 0.5)
