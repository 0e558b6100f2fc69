"""Bootstrap intervals: hand-made cases, coverage, clustering and independence of row order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from valign.evaluation.bootstrap import Interval, bootstrap_mean, paired_difference


def test_no_values() -> None:
    interval = bootstrap_mean([])
    assert interval.n == 0
    assert all(math.isnan(x) for x in (interval.mean, interval.low, interval.high))
    assert interval.to_json() == {"mean": None, "ci95": [None, None], "n": 0}
    assert bootstrap_mean([None, None], ["a", "b"]).n == 0


def test_one_independent_unit_has_a_mean_and_no_interval() -> None:
    assert bootstrap_mean([0.25]).to_json() == {"mean": 0.25, "ci95": [None, None], "n": 1}
    assert bootstrap_mean([0, 1, 1, 0], ["a"] * 4).to_json() == {"mean": 0.5, "ci95": [None, None], "n": 4}


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert bootstrap_mean([0.5, 0.5, 0.5]) == Interval(0.5, 0.5, 0.5, 3)


@pytest.mark.parametrize(
    ("values", "clusters", "low", "high"),
    [
        ([1, 1], "ab", 0.025**0.5, 1),  # 0.158: of a coin that falls so once in 40 tries of two
        ([0] * 5, "abcde", 0, 1 - 0.025**0.2),  # 0.522, the exact binomial interval of 0 of 5
        ([0] * 5, "aabbc", 0, 1 - 0.025 ** (1 / 3)),  # questions on one clause are not independent
        ([0] * 6, "abcabc", 0, 1 - 0.025 ** (1 / 3)),  # nor the same ones after another training
        ([0.5, 0.5], "ab", 0.025**0.5, 1 - 0.025**0.5),
    ],
)
def test_where_all_values_of_a_share_agree_the_interval_is_exact(
    values: list[float], clusters: str, low: float, high: float
) -> None:
    interval = bootstrap_mean(values, list(clusters), is_share=True)
    assert (interval.mean, interval.n) == (values[0], len(values))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    several = bootstrap_mean(values, list(clusters), is_share=True, repeats=[i % 2 for i in range(len(values))])
    assert several == interval


def test_a_share_is_as_any_mean_in_the_middle_and_with_one_cluster() -> None:
    assert bootstrap_mean([0, 1, 1, 0] * 5, is_share=True) == bootstrap_mean([0, 1, 1, 0] * 5)
    assert math.isnan(bootstrap_mean([1, 1], ["a", "a"], is_share=True).low)
    assert bootstrap_mean([None], is_share=True).n == 0
    with pytest.raises(ValueError, match="those of a share from 0 to 1"):
        bootstrap_mean([50, 50], is_share=True)
    with pytest.raises(ValueError, match="need clusters"):
        bootstrap_mean([1, 1], repeats=[0, 1], is_share=True)


@pytest.mark.parametrize("clauses", [2, 5, 20])
def test_a_wrong_answer_makes_no_arm_look_surer(clauses: int) -> None:
    """All right on so many clauses, then one, two, ... answers wrong: the lower end never rises."""
    where = [str(i % clauses) for i in range(40)]
    ends = [bootstrap_mean([0] * wrong + [1] * (40 - wrong), where, is_share=True).low for wrong in range(8)]
    assert ends == sorted(ends, reverse=True) and ends[0] == pytest.approx(0.025 ** (1 / clauses))
    highs = [bootstrap_mean([1] * right + [0] * (40 - right), where, is_share=True).high for right in range(8)]
    assert highs == pytest.approx([1 - end for end in ends], abs=0.02)


def test_two_values_by_hand() -> None:
    """Of 0 and 1 a sample is (0,0), (0,1), (1,0) or (1,1): means 0, 1/2, 1 with probability 1/4, 1/2, 1/4.

    The 2.5th percentile is therefore 0 and the 97.5th is 1.
    """
    assert bootstrap_mean([0, 1]) == Interval(0.5, 0.0, 1.0, 2)


def test_clusters_of_unequal_size_by_hand() -> None:
    """Clusters a = {0, 0, 0} and b = {1}: samples are aa, ab, ba, bb with means 0, 1/4, 1/4, 1; the mean is 1/4.

    A mean of cluster means would give 1/2 for ab. With probability 1/4 each, 0 and 1 are the percentiles.
    """
    assert bootstrap_mean([0, 0, 0, 1], ["a", "a", "a", "b"]) == Interval(0.25, 0.0, 1.0, 4)


def test_rows_without_a_value_are_left_out_with_their_cluster() -> None:
    with_gap = bootstrap_mean([1, None, 0, 1], ["a", "z", "b", "c"], samples=200)
    assert with_gap == bootstrap_mean([1, 0, 1], ["a", "b", "c"], samples=200)
    assert with_gap.n == 3


def test_agrees_with_the_normal_interval_for_many_values() -> None:
    """For 0, 1, ..., 399 the standard error is sqrt((400^2 - 1)/12)/20 = 5.7735, so 199.5 -+ 1.96*5.7735 = 11.316."""
    interval = bootstrap_mean([float(i) for i in range(400)], samples=4000)
    assert interval.mean == 199.5
    assert interval.low == pytest.approx(199.5 - 11.316, abs=0.7)
    assert interval.high == pytest.approx(199.5 + 11.316, abs=0.7)


def test_interval_covers_the_true_mean() -> None:
    """300 sets of 40 skewed values (exponential, mean 1): a nominal 95% interval should cover 1 in 90% to 98%."""
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(300):
        interval = bootstrap_mean(list(rng.exponential(size=40)), samples=400)
        hits += interval.low <= 1 <= interval.high
    assert 0.90 <= hits / 300 <= 0.98


def test_clusters_widen_the_interval_of_correlated_values() -> None:
    """Twenty clauses of five equal values hold 20 independent values, not 100: sqrt 5 = 2.24 times the width."""
    levels = np.random.default_rng(3).normal(size=20)
    values = [float(v) for v in levels for _ in range(5)]
    clusters = [f"clause-{i}" for i in range(20) for _ in range(5)]
    clustered, naive = bootstrap_mean(values, clusters), bootstrap_mean(values)
    ratio = (clustered.high - clustered.low) / (naive.high - naive.low)
    assert ratio == pytest.approx(5**0.5, rel=0.12)
    assert clustered.mean == naive.mean


def test_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    values, clusters = rng.normal(size=60), [f"c{i % 13}" for i in range(60)]
    order = rng.permutation(60)
    assert bootstrap_mean(list(values), clusters) == bootstrap_mean(list(values[order]), [clusters[i] for i in order])
    assert bootstrap_mean(list(values)) == bootstrap_mean(list(values[order]))


def test_seed_decides_the_result() -> None:
    values = [0.1, 0.9, 0.4, 0.7, 0.2, 0.6]
    assert bootstrap_mean(values, samples=50, seed=1) == bootstrap_mean(values, samples=50, seed=1)
    assert bootstrap_mean(values, samples=50, seed=1) != bootstrap_mean(values, samples=50, seed=2)


def test_paired_difference_by_hand() -> None:
    """The three questions with both differ by 0.2, 0.2 and 0.2: mean 0.2 with no width although a and b vary."""
    interval = paired_difference([0.3, 0.9, 0.5, None, 1.0], [0.1, 0.7, 0.3, 0.4, None], ["a", "b", "c", "d", "e"])
    assert interval.n == 3
    assert (interval.mean, interval.low, interval.high) == pytest.approx((0.2, 0.2, 0.2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 2.0], ["a"]), "2 values but 1 clusters"),
        (([1.0, math.nan],), "finite"),
        (([1.0, math.inf],), "finite"),
        (([1.0], None, 0), "samples=0"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(*arguments)


def test_pairs_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values cannot be paired with 1"):
        paired_difference([1.0, 2.0], [1.0])
