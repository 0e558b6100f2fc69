"""Win rates of one arm against another, as they are and with the answers' length taken out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from valign.evaluation.bootstrap import Interval, bootstrap_mean, widen
from valign.evaluation.judging.judgement import Judgement

_RIDGE = (0.01, 1.0)
_STEPS = 40
_LARGEST_STEP = 2.0


@dataclass(frozen=True)
class WinRate:
    """How often the first arm wins; ties count as half a win.

    Attributes:
        rate: Mean score of the first arm.
        controlled: The same for answers of equal length, as a logistic regression predicts it.
        ties: Share of the questions with a score of one half.
        flips: Share of the questions on which the judge took the same place in both orders.
        unread: Number of replies that could not be read.
        longer: Share of the questions on which the first arm's answer is the longer one.
    """

    rate: Interval
    controlled: Interval
    ties: float
    flips: float
    unread: int
    longer: float

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        intervals = {"win_rate": self.rate.to_json(), "length_controlled": self.controlled.to_json()}
        return {**intervals, **{k: v for k, v in asdict(self).items() if k not in ("rate", "controlled")}}


def win_rate(judgements: Sequence[Judgement], samples: int = 1000) -> WinRate:
    """Sum up the judgements of one pair of arms, with intervals that resample whole clauses.

    Raises:
        ValueError: There is none.
    """
    if not judgements:
        raise ValueError("no judgement to sum up")
    n, scores, clauses = len(judgements), [j.score for j in judgements], [j.clause for j in judgements]
    return WinRate(
        bootstrap_mean(scores, clauses, samples, is_share=True),
        length_controlled(scores, [j.longer for j in judgements], clauses, samples),
        scores.count(0.5) / n,
        sum(j.flipped for j in judgements) / n,
        sum(j.unread for j in judgements),
        sum(j.longer > 0 for j in judgements) / n,
    )


def length_controlled(
    scores: Sequence[float], longer: Sequence[int], clauses: Sequence[str], samples: int = 1000, seed: int = 0
) -> Interval:
    """Return the win rate that a logistic regression predicts for answers of equal length.

    The chance of a win is ``sigmoid(a + b * tanh(difference in words / its root mean square))``, and the controlled
    rate is ``sigmoid(a)``. The idea is that of Dubois et al., Length-Controlled AlpacaEval: A Simple Way to Debias
    Automatic Evaluators, 2024; their term for a question's difficulty is left out, since one pair of arms has one
    answer a question. A weak ridge (0.01 on a, 1 on b) keeps the fit finite. Where one arm's answers are always the
    longer ones, length and arm cannot be told apart, and the rate stays near the plain one.

    Args:
        scores: N scores of the first arm, from 0 to 1.
        longer: N differences in words, the first arm's less the second's.
        clauses: The N clauses, which the bootstrap draws whole.
        samples: Number of bootstrap samples.
        seed: Seed of the random numbers.
    """
    y, gap = np.asarray(scores, float), np.asarray(longer, float)
    scale = float(np.sqrt(np.mean(gap**2))) or 1.0
    z = np.tanh(gap / scale)
    names = sorted(set(clauses))
    group = np.array([names.index(clause) for clause in clauses])
    mean = float(_sigmoid(_fit(y, z, np.ones((1, len(y)))))[0])
    if len(names) < 2:
        return Interval(mean, float("nan"), float("nan"), len(y))
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), samples)
    low, high = np.percentile(_sigmoid(_fit(y, z, drawn[:, group].astype(float))), [2.5, 97.5])
    return Interval(mean, *widen((float(low), float(high)), len(names)), len(y))


def _fit(y: np.ndarray, z: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the intercept of a weighted ridge logistic regression for each row of weights, (B, N), by Newton steps."""
    a, b = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(_STEPS):
        p = _sigmoid(a[:, None] + b[:, None] * z)
        rest, curve = weights * (y - p), weights * p * (1 - p)
        slopes = rest.sum(1) - _RIDGE[0] * a, (rest * z).sum(1) - _RIDGE[1] * b
        aa, ab, bb = curve.sum(1) + _RIDGE[0], (curve * z).sum(1), (curve * z**2).sum(1) + _RIDGE[1]
        det = aa * bb - ab**2
        steps = (bb * slopes[0] - ab * slopes[1]) / det, (aa * slopes[1] - ab * slopes[0]) / det
        a = a + np.clip(steps[0], -_LARGEST_STEP, _LARGEST_STEP)
        b = b + np.clip(steps[1], -_LARGEST_STEP, _LARGEST_STEP)
        if max(float(np.abs(step).max()) for step in steps) < 1e-9:
            break
    return a


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))
