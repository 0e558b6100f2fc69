"""How sure a mean is: percentile bootstrap intervals that resample whole clauses, and seeds where there are several."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval.

    Attributes:
        mean: Mean over the values; NaN where there are none.
        low: Lower end; NaN where fewer than two independent units leave the spread unknown.
        high: Upper end; NaN likewise.
        n: Number of values.
    """

    mean: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """Return ``{"mean", "ci95": [low, high], "n"}`` with None in place of NaN."""
        mean, low, high = (None if math.isnan(x) else x for x in (self.mean, self.low, self.high))
        return {"mean": mean, "ci95": [low, high], "n": self.n}


def bootstrap_mean(
    values: Sequence[float | None],
    clusters: Sequence[str] | None = None,
    samples: int = 2000,
    seed: int = 0,
    repeats: Sequence[object] | None = None,
    is_share: bool = False,
) -> Interval:
    """Return the mean of the values with a 95% percentile bootstrap interval.

    Questions on one clause are not independent, so clusters are drawn with replacement, each with all its values, and
    a sample's mean is the sum of the values drawn over their number. The interval runs from the 2.5th to the 97.5th
    percentile of the samples' means. It is a little narrow where there are few clusters. The order of the rows does
    not matter. Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval)
    and section 8.6 (resampling the units of the design).

    Where the same questions were answered after several trainings, these are drawn with replacement as well, crossed
    with the clusters, so that the interval is one for other questions and other seeds. It errs to the wide side.
    Source: Owen, The Pigeonhole Bootstrap, Annals of Applied Statistics 1(2), 2007.

    Where all values of a share are 0 or 1, resampling finds no spread. The interval is then the exact binomial one over
    the ``k`` clusters, whatever the seeds: it leaves open that a share of ``1 - 0.025^(1/k)`` is otherwise. No interval
    of a share is surer than that. Source: Clopper and Pearson, Biometrika 26(4), 1934.

    Args:
        values: N values; None means that the metric does not apply, and the row is left out.
        clusters: The N clusters (clauses) of the values; None makes each value its own.
        samples: Number of bootstrap samples.
        seed: Seed of the random numbers; the result is a function of the arguments.
        repeats: The N trainings (seeds) that the values come from; None, or one alone, for a single training. Several
            need clusters.
        is_share: Whether every value is from 0 to 1, and the mean a share.

    Raises:
        ValueError: Lengths differ, a value is not finite, or no share, ``samples`` is below 1, or there are several
            trainings and no clusters.
    """
    _require_valid(len(values), samples, clusters=clusters, repeats=repeats)
    kept = [(v, i) for i, v in enumerate(values) if v is not None]
    if not all(math.isfinite(v) and (not is_share or 0 <= v <= 1) for v, _ in kept):
        raise ValueError("values must be finite, and those of a share from 0 to 1")
    if not kept:
        return Interval(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(v for v, _ in kept) / len(kept)
    if repeats is not None and len({repeats[i] for _, i in kept}) > 1:
        if clusters is None:
            raise ValueError("values of several trainings need clusters")
        low, high = _crossed([(v, clusters[i], repeats[i]) for v, i in kept], samples, seed)
    else:
        low, high = _resampled([(v, None if clusters is None else clusters[i]) for v, i in kept], samples, seed)
    if is_share:
        low, high = widen((low, high), len({i if clusters is None else clusters[i] for _, i in kept}))
    return Interval(mean, low, high, len(kept))


def widen(ends: tuple[float, float], units: int) -> tuple[float, float]:
    """Return the interval of a share, surer than so many units allow at no end: not than if all of them agreed.

    >>> low, high = widen((1.0, 1.0), 2)  # of what is right in 16% of all cases, two are right once in forty
    >>> round(low, 3), high
    (0.158, 1.0)

    Args:
        ends: Of a bootstrap interval; NaN, of a single unit, stays NaN.
        units: The number of independent units.
    """
    surest = 0.025 ** (1 / units)
    return min(ends[0], surest), max(ends[1], 1 - surest)


def _require_valid(length: int, samples: int, **labels: Sequence[object] | None) -> None:
    for name, given in labels.items():
        if given is not None and len(given) != length:
            raise ValueError(f"{length} values but {len(given)} {name}")
    if samples < 1:
        raise ValueError(f"samples={samples} must be at least 1")


def _resampled(rows: list[tuple[float, str | None]], samples: int, seed: int) -> tuple[float, float]:
    """Return the interval of a mean from draws of clusters."""
    sums, counts = _units(rows)
    if len(sums) == 1:
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(0, len(sums), size=(samples, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _crossed(rows: list[tuple[float, str, object]], samples: int, seed: int) -> tuple[float, float]:
    """Return the interval of a mean from draws of trainings, crossed with draws of clusters."""
    columns = {cluster: i for i, cluster in enumerate(sorted({cluster for _, cluster, _ in rows}))}
    if len(columns) == 1:
        return math.nan, math.nan
    lines = {repeat: i for i, repeat in enumerate(sorted({repeat for *_, repeat in rows}, key=str))}
    sums, counts = np.zeros((2, len(lines), len(columns)))
    for value, cluster, repeat in sorted(rows, key=lambda row: (row[0], row[1], str(row[2]))):
        sums[lines[repeat], columns[cluster]] += value
        counts[lines[repeat], columns[cluster]] += 1
    random = np.random.default_rng(seed)
    across = random.multinomial(len(columns), np.full(len(columns), 1 / len(columns)), size=samples)
    down = random.multinomial(len(lines), np.full(len(lines), 1 / len(lines)), size=samples)
    totals, numbers = (np.einsum("bs,sg,bg->b", down, table, across) for table in (sums, counts))
    low, high = np.percentile((totals / np.maximum(numbers, 1))[numbers > 0], [2.5, 97.5])
    return float(low), float(high)


def _units(rows: list[tuple[float, str | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum and the number of values of each cluster, sorted by cluster (by value without clusters)."""
    if rows[0][1] is None:
        values = np.sort(np.array([v for v, _ in rows], dtype=np.float64))
        return values, np.ones_like(values)
    groups: dict[str, list[float]] = defaultdict(list)
    for value, cluster in rows:
        groups[str(cluster)].append(value)
    names = sorted(groups)
    return np.array([math.fsum(groups[k]) for k in names]), np.array([float(len(groups[k])) for k in names])


def paired_difference(
    a: Sequence[float | None],
    b: Sequence[float | None],
    clusters: Sequence[str] | None = None,
    samples: int = 2000,
    seed: int = 0,
    repeats: Sequence[object] | None = None,
) -> Interval:
    """Return the mean of ``a - b`` over the questions that have both, with its bootstrap interval.

    Pairing takes the difficulty of the questions out of the comparison, so the interval is far narrower than the two
    arms' own intervals suggest.

    Args:
        a: The arm's N values, in the order of the questions.
        b: The other arm's N values, in the same order.
        clusters: The questions' clusters (clauses).
        samples: Number of bootstrap samples.
        seed: Seed of the random numbers.
        repeats: The N trainings (seeds) that the values come from; None, or one alone, for a single training.

    Raises:
        ValueError: Lengths differ, a value is not finite, ``samples`` is below 1, or there are several trainings and
            no clusters.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values cannot be paired with {len(b)}")
    differences = [None if x is None or y is None else x - y for x, y in zip(a, b, strict=True)]
    return bootstrap_mean(differences, clusters, samples, seed, repeats)
