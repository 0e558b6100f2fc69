"""How far two judges of the same pairs of answers agree: raw agreement, and Cohen's kappa."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from valign.evaluation.bootstrap import Interval
from valign.evaluation.judging.judgement import Judgement

AnswerPair = tuple[str, str, str]


@dataclass(frozen=True)
class Agreement:
    """Two judges on the pairs of answers that both judged.

    Attributes:
        first: One judge.
        second: The other judge.
        same: Share of the pairs on which both say the same: win, tie or loss.
        kappa: Cohen's kappa with its 95% interval over clauses; its mean is NaN where chance alone would agree always.
    """

    first: str
    second: str
    same: float
    kappa: Interval

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"first": self.first, "second": self.second, "same": self.same, "kappa": self.kappa.to_json()}


def pair_outcomes(judgements: Sequence[Judgement]) -> dict[AnswerPair, tuple[int, str]]:
    """Return, by question and both arms in alphabetical order, who won (1, 0 for a tie, -1) and the clause."""
    found = {}
    for j in judgements:
        seen = j if j.first < j.second else j.swapped()
        found[seen.question_id, seen.first, seen.second] = (seen.score > 0.5) - (seen.score < 0.5), seen.clause
    return found


def agreement(
    first: str, second: str, judged: Mapping[str, Sequence[Judgement]], samples: int = 1000, seed: int = 0
) -> Agreement | None:
    """Compare two judges over the pairs of answers that both have judged; None where there is none.

    Kappa is ``(p_o - p_e) / (1 - p_e)``, with the share ``p_o`` of the pairs on which both say the same of win, tie and
    loss, and the share ``p_e`` that they would agree on by chance with the frequencies that each has. Source: Cohen, A
    Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement 20(1), 1960.

    Args:
        first: Name of one judge in ``judged``.
        second: Name of the other one.
        judged: What each said; the arms of a pair may stand in either order.
        samples: Bootstrap samples, which draw whole clauses.
        seed: Of the random numbers.
    """
    one, other = pair_outcomes(judged[first]), pair_outcomes(judged[second])
    shared = sorted(set(one) & set(other))
    if not shared:
        return None
    groups: dict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
    for key in shared:
        groups[one[key][1]][one[key][0], other[key][0]] += 1
    outcomes = (-1, 0, 1)
    tables = np.array([[[group[a, b] for b in outcomes] for a in outcomes] for _, group in sorted(groups.items())])
    total = tables.sum(axis=0)
    low = high = float("nan")
    if len(groups) > 1:
        drawn = np.random.default_rng(seed).multinomial(len(groups), np.full(len(groups), 1 / len(groups)), samples)
        found = _kappa(np.einsum("bg,gij->bij", drawn, tables))
        found = found[np.isfinite(found)]
        if len(found):
            low, high = (float(end) for end in np.percentile(found, [2.5, 97.5]))
    kappa = Interval(float(_kappa(total[None])[0]), low, high, len(shared))
    return Agreement(first, second, float(np.trace(total) / total.sum()), kappa)


def _kappa(tables: np.ndarray) -> np.ndarray:
    """Return kappa of each table of counts, (B, 3, 3); NaN where chance agrees always."""
    shares = tables / tables.sum(axis=(1, 2), keepdims=True)
    same = np.trace(shares, axis1=1, axis2=2)
    chance = (shares.sum(axis=1) * shares.sum(axis=2)).sum(axis=1)
    rest = np.where(1 - chance > 1e-12, 1 - chance, np.nan)
    return np.asarray((same - chance) / rest)


def agreements(judged: Mapping[str, Sequence[Judgement]]) -> list[Agreement]:
    """Compare every two judges that have judged a pair of answers in common, in the order given."""
    names = list(judged)
    found = [agreement(a, b, judged) for i, a in enumerate(names) for b in names[i + 1 :]]
    return [one for one in found if one is not None]
