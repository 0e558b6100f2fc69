"""Clustered errors, tests, Holm's correction and the smallest effect that can be shown: all by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scored import comparison

from valign.evaluation.significance import clustered_error, holm_correction, paired_test, smallest_effect
from valign.reporting.differences import arm_differences, difference_sentences, format_p_value
from valign.reporting.summary import comparison_summary


def test_clustered_error_by_hand() -> None:
    """Clusters a = {1, 1} and b = {0, 0}: mean 1/2, sums less their share 2 - 1 and 0 - 1.

    The error is the root of 2/1 * (1 + 1) / 16 = 1/4, so 1/2, where four independent values would have
    sqrt(1/3)/2 = 0.289. Unequal clusters {1, 1, 1} and {0}: mean 3/4, 3 - 9/4 = 3/4 and 0 - 3/4, and the root of
    2 * (9/16 + 9/16) / 16 is 3/8.
    """
    assert clustered_error([1, 1, 0, 0], ["a", "a", "b", "b"]) == pytest.approx(0.5)
    assert clustered_error([1, 1, 0, 0], ["a", "b", "c", "d"]) == pytest.approx(math.sqrt(1 / 3) / 2)
    assert clustered_error([1, 1, 1, 0], ["a", "a", "a", "b"]) == pytest.approx(3 / 8)


def test_an_unknown_error() -> None:
    """One cluster, or clusters of the same mean, leave the spread unknown."""
    assert clustered_error([1, 0], ["a", "a"]) is None
    assert clustered_error([0.1] * 3, ["a", "b", "c"]) is None
    row = paired_test([0.1] * 3, ["a", "b", "c"])
    assert (row.error, row.p, row.effect_size, row.smallest) == (None, None, None, None)
    assert paired_test([], []).mean is None
    with pytest.raises(ValueError, match="shorter"):
        paired_test([1.0, 0.0], ["a"])


def test_one_degree_of_freedom_by_hand() -> None:
    """Mean 1/2 over the error 1/2 is t = 1; with one degree of freedom (Cauchy) 2 * (1/2 - arctan(1)/pi) = 1/2.

    The quantiles there are tan(pi * (0.975 - 1/2)) = 12.706 and tan(pi * 0.3) = 1.376; their sum times 1/2 is 7.041.
    The standard deviation of 1, 1, 0, 0 is sqrt(1/3), so that the effect size is sqrt(3)/2.
    """
    row = paired_test([1, 1, 0, 0], ["a", "a", "b", "b"])
    assert (row.mean, row.n, row.clusters) == (0.5, 4, 2)
    assert row.p == pytest.approx(0.5)
    assert row.effect_size == pytest.approx(math.sqrt(3) / 2)
    assert row.smallest == pytest.approx((math.tan(math.pi * 0.475) + math.tan(math.pi * 0.3)) / 2)


def test_with_many_clusters_the_smallest_effect_is_2_8_errors() -> None:
    """1.960 + 0.842 = 2.802."""
    assert smallest_effect(0.1, 100_000) == pytest.approx(0.2802, abs=1e-4)


def test_the_smallest_effect_is_found_four_times_out_of_five() -> None:
    """Sixty clauses with two questions, normal differences of deviation 1 that share half their variance.

    The error of the mean is sqrt(0.5/60 + 0.5/120) = 0.112, so 2.847 of it (59 degrees of freedom) is 0.318.
    """
    rng = np.random.default_rng(1)
    clauses = [f"c{i}" for i in range(60) for _ in range(2)]
    effect = smallest_effect(math.sqrt(0.5 / 60 + 0.5 / 120), 60)
    assert effect == pytest.approx(0.318, abs=0.002)
    found = {0.0: 0, effect: 0}
    for true in found:
        for _ in range(500):
            shared = np.repeat(rng.normal(size=60), 2)
            values = true + math.sqrt(0.5) * (shared + rng.normal(size=120))
            p = paired_test(list(values), clauses).p
            found[true] += p is not None and p < 0.05
    assert found[effect] / 500 == pytest.approx(0.8, abs=0.06)
    assert found[0.0] / 500 == pytest.approx(0.05, abs=0.03)


def test_holm_by_hand() -> None:
    """Of three, 0.01 is tripled, 0.03 doubled, and 0.04 stays but may not be below 0.06; None is not counted."""
    assert holm_correction([0.01, 0.04, None, 0.03]) == [
        pytest.approx(0.03),
        pytest.approx(0.06),
        None,
        pytest.approx(0.06),
    ]
    assert holm_correction([0.6, 0.5]) == [1.0, 1.0]
    assert holm_correction([]) == []


def test_the_family_is_every_difference_with_a_better_direction() -> None:
    """Length has no better direction, and an arm that is not shown is no comparison: two tests.

    Fact recall: differences 1, 1, 0, 0 with error sqrt(1/3)/2, t = sqrt 3 with 3 degrees of freedom: p = 0.1817.
    Similarity: 0.5, 0.6, 0.4, 0.6, mean 0.525, deviation 0.0957, t = 10.97: p = 0.0016, doubled 0.0032.
    """
    facts, similarity = arm_differences(comparison())
    assert (facts.arm, facts.other, facts.metric.name) == ("sft", "base", "fact_recall")
    assert facts.test.p == facts.p_holm == pytest.approx(0.1817, abs=1e-4)
    assert similarity.test.p == pytest.approx(0.0016, abs=1e-4)
    assert similarity.p_holm == pytest.approx(0.0032, abs=2e-4)
    assert similarity.cells == ("+0.53", "+0.20 to +0.80", "0.002", "0.003", "+5.48", "0.20")
    first, smallest = difference_sentences([facts, similarity])
    assert first.startswith("2 differences were tested; the 95% interval of 2 leaves zero out, and 1 remain below 0.05")
    assert smallest == "4 questions on 4 clauses are too few to tell any difference from base in Fact recall."
    assert facts.cells[-1] == "none"
    surer = replace(facts, test=replace(facts.test, smallest=0.6))
    assert surer.cells[-1] == "0.60"
    assert difference_sentences([surer])[1].startswith(
        "4 questions on 4 clauses find a true difference from base in Fact recall four"
    )


def test_the_summary_is_json() -> None:
    found = json.loads(json.dumps(comparison_summary(comparison()), allow_nan=False))
    assert [row["metric"] for row in found["differences"]] == ["fact_recall", "similarity"]
    assert set(found["differences"][0]) >= {"mean", "ci95", "n", "clusters", "p", "p_holm", "effect_size"}
    assert (found["arms"], found["retrieval"]) == (["base", "sft"], [])


def test_p_values_in_words() -> None:
    assert [format_p_value(p) for p in (0.0004, 0.0312, 1.0)] == ["< 0.001", "0.031", "1.000"]
