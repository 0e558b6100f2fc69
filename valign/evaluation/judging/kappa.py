"""Cohen's kappa: how far two raters agree beyond what chance would give, with an interval over clauses."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valign.evaluation.bootstrap import Interval


@dataclass(frozen=True)
class RatedTwice:
    """Two raters on the same items.

    Attributes:
        table: The confusion matrix, counts by the first rater's outcome (rows) and the second's (columns).
        same: Share of the items on which both say the same.
        kappa: Cohen's kappa with its 95% interval over clauses; its mean is NaN where chance alone would agree always.
    """

    table: tuple[tuple[int, ...], ...]
    same: float
    kappa: Interval


def cohens_kappa(
    rated: Sequence[tuple[str, object, object]], outcomes: Sequence[object], samples: int = 1000, seed: int = 0
) -> RatedTwice:
    """Return how far two raters agree.

    Kappa is ``(p_o - p_e) / (1 - p_e)``, with the share ``p_o`` of the items on which both say the same, and the share
    ``p_e`` that they would agree on by chance with the frequencies that each has. Source: Cohen, A Coefficient of
    Agreement for Nominal Scales, Educational and Psychological Measurement 20(1), 1960.

    Args:
        rated: The clause of each item, and what either rater said of it; at least one.
        outcomes: All that can be said.
        samples: Bootstrap samples, which draw whole clauses.
        seed: Of the random numbers.
    """
    groups: dict[str, Counter[tuple[object, object]]] = defaultdict(Counter)
    for clause, one, other in rated:
        groups[clause][one, other] += 1
    tables = np.array([[[group[a, b] for b in outcomes] for a in outcomes] for _, group in sorted(groups.items())])
    total = tables.sum(axis=0)
    low = high = float("nan")
    if len(groups) > 1:
        drawn = np.random.default_rng(seed).multinomial(len(groups), np.full(len(groups), 1 / len(groups)), samples)
        found = _kappa(np.einsum("bg,gij->bij", drawn, tables))
        found = found[np.isfinite(found)]
        if len(found):
            low, high = (float(end) for end in np.percentile(found, [2.5, 97.5]))
    kappa = Interval(float(_kappa(total[None])[0]), low, high, len(rated))
    counts = tuple(tuple(int(n) for n in row) for row in total)
    return RatedTwice(counts, float(np.trace(total) / total.sum()), kappa)


def _kappa(tables: np.ndarray) -> np.ndarray:
    """Return kappa of each table of counts, (B, K, K); NaN where chance agrees always."""
    shares = tables / tables.sum(axis=(1, 2), keepdims=True)
    same = np.trace(shares, axis1=1, axis2=2)
    chance = (shares.sum(axis=1) * shares.sum(axis=2)).sum(axis=1)
    rest = np.where(1 - chance > 1e-12, 1 - chance, np.nan)
    return np.asarray((same - chance) / rest)
