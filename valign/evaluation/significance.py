"""Tests of differences: clustered standard errors, Holm's correction, effect sizes, smallest detectable effects."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
POWER = 0.8


@dataclass(frozen=True)
class PairedTest:
    """A paired difference, tested.

    Attributes:
        mean: Mean of the questions' differences; None where there are none.
        n: Number of questions that both arms have.
        clusters: Number of clauses that they are about.
        error: Standard error of the mean, clustered by clause; None where fewer than two clauses, or no spread at
            all, leave it unknown.
        p: Two-sided p-value of no difference; None where the error is unknown.
        effect_size: Mean over the standard deviation of the questions' differences (Cohen's d for pairs); None where
            that deviation is 0 or unknown.
        smallest: The smallest true difference that would be found, at the level 0.05, in 80% of such evaluations.
    """

    mean: float | None
    n: int
    clusters: int
    error: float | None
    p: float | None
    effect_size: float | None
    smallest: float | None


def paired_test(
    differences: Sequence[float], clusters: Sequence[str], repeats: Sequence[object] | None = None
) -> PairedTest:
    """Test whether the mean of paired differences is zero.

    The test is Student's, on the mean over its clustered error, with one degree of freedom less than there are
    clusters (Cameron and Miller, A Practitioner's Guide to Cluster-Robust Inference, 2015, section VI); with several
    trainings, than there are of the fewer, clusters or trainings. The effect size is d_z of Cohen, Statistical Power
    Analysis, 1988, section 2.3.5.

    Args:
        differences: N differences, one a question and training.
        clusters: Their N clauses.
        repeats: Their N trainings (seeds); None, or one alone, for a single training.

    Raises:
        ValueError: Lengths differ.
    """
    n, known = len(differences), len(set(clusters))
    if not n:
        return PairedTest(None, 0, 0, None, None, None, None)
    mean = math.fsum(differences) / n
    error = clustered_error(differences, clusters, repeats)
    trained = len(set(repeats)) if repeats is not None else 1
    units = min(known, trained) if trained > 1 else known
    spread = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1)) if n > 1 else 0.0
    size = mean / spread if spread > 1e-12 else None
    if error is None:
        return PairedTest(mean, n, known, None, None, size, None)
    from scipy.special import stdtr

    p = min(1.0, 2 * float(stdtr(units - 1, -abs(mean) / error)))
    return PairedTest(mean, n, known, error, p, size, smallest_effect(error, units))


def clustered_error(
    values: Sequence[float], clusters: Sequence[str], repeats: Sequence[object] | None = None
) -> float | None:
    """Return the standard error of a mean whose values are independent between clusters only.

    With the sum ``S_g`` and the number ``n_g`` of the values of each of G clusters, N values and their mean m, it is
    the root of ``G / (G - 1) * sum((S_g - n_g m)^2) / N^2``: the linearised ratio estimator of Cochran, Sampling
    Techniques, 1977, section 9A.6; with one value a cluster it is the usual error of a mean.

    Values of several trainings depend on each other along both, so the squared errors clustered by clause and by
    training are added, and the one clustered by both at once is taken off (Cameron, Gelbach and Miller, Robust
    Inference with Multiway Clustering, Journal of Business and Economic Statistics 29(2), 2011); the result is no less
    than either.

    Returns:
        The error; None with fewer than two clusters, or where all clusters have the same mean.

    Raises:
        ValueError: Lengths differ.
    """
    if repeats is not None and len(set(repeats)) > 1:
        one, other = clustered_error(values, clusters), _error(values, repeats) or 0.0
        both = _error(values, list(zip(clusters, repeats, strict=True))) or 0.0
        return None if one is None else max(one**2 + other**2 - both**2, one**2, other**2) ** 0.5
    return _error(values, clusters)


def _error(values: Sequence[float], clusters: Sequence[object]) -> float | None:
    groups: dict[object, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        groups[cluster].append(value)
    if len(groups) < 2:
        return None
    mean = math.fsum(values) / len(values)
    squares = math.fsum((math.fsum(g) - len(g) * mean) ** 2 for g in groups.values())
    error = math.sqrt(len(groups) / (len(groups) - 1) * squares) / len(values)
    return error if error > 1e-12 else None


def smallest_effect(error: float, clusters: int, level: float = LEVEL, power: float = POWER) -> float:
    """Return the minimum detectable effect: the true difference that a test at a level finds with a power.

    It is the error times the sum of Student's quantiles at ``1 - level / 2`` and at ``power`` (2.80 errors with many
    clusters). Source: Bloom, Minimum Detectable Effects, Evaluation Review 19(5), 1995. It rests on the error that
    was measured, so it says what another set of as many questions on as many clauses could show, and it is no second
    test of the difference that was found.

    Args:
        error: Clustered standard error of the mean difference.
        clusters: Number of clusters, at least two.
        level: Two-sided level of the test.
        power: Share of evaluations in which the difference is found.
    """
    from scipy.special import stdtrit

    return error * float(stdtrit(clusters - 1, 1 - level / 2) + stdtrit(clusters - 1, power))


def holm_correction(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values corrected for their number, so that one false finding among all has the level's probability.

    The k-th smallest of m is multiplied by ``m - k + 1``, is at least as large as the one before, and at most 1.
    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.

    Args:
        p_values: Those that are corrected together; None where there is no test, which is not counted.
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for k, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - k) * p))
        found[i] = highest
    return found
