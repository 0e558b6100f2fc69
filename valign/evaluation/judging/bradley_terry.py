"""One ranking from all pairs of arms: the model of Bradley and Terry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from valign.evaluation.judging.judgement import Judgement

_PRIOR = 0.5
_STEPS = 2000
_CLOSE = 1e-8


@dataclass(frozen=True)
class Strength:
    """An arm's place in the ranking.

    Attributes:
        arm: The arm's name.
        value: Log-strength; the arms' mean is 0. An arm beats another with the probability
            ``sigmoid(difference of values)``.
        low: Lower end of the 95% bootstrap interval, which resamples whole clauses; NaN with fewer than two clauses.
        high: Upper end.
    """

    arm: str
    value: float
    low: float
    high: float


def rank_arms(judgements: Sequence[Judgement], samples: int = 1000, seed: int = 0) -> list[Strength]:
    """Rank the arms, strongest first.

    The fit is the maximum of the likelihood, by the minorisation-maximisation steps of Hunter, MM Algorithms for
    Generalized Bradley-Terry Models, Annals of Statistics 32, 2004, equation 3. A tie is half a win for either side,
    and every pair that was compared gets half a win on both sides besides, so that an arm that always wins has a
    finite strength. Pairs need not all be compared, but every arm must be, with the others or
    through a third.

    Args:
        judgements: Of any pairs of arms.
        samples: Number of bootstrap samples.
        seed: Seed of the random numbers.

    Returns:
        One strength for each arm; nothing where there are fewer than two, or where some were never compared with the
        others, directly or through a third.
    """
    arms = sorted({arm for j in judgements for arm in (j.first, j.second)})
    place = {arm: i for i, arm in enumerate(arms)}
    clauses = sorted({j.clause for j in judgements})
    row = {clause: i for i, clause in enumerate(clauses)}
    wins = np.zeros((len(clauses), len(arms), len(arms)))
    for j in judgements:
        wins[row[j.clause], place[j.first], place[j.second]] += j.score
        wins[row[j.clause], place[j.second], place[j.first]] += 1 - j.score
    total = wins.sum(0)
    compared = (total + total.T) > 0
    if len(arms) < 2 or not np.linalg.matrix_power(compared + np.eye(len(arms)), len(arms)).all():
        return []
    values = fit_strengths(total[None], compared)[0]
    low = high = np.full(len(arms), np.nan)
    if len(clauses) > 1:
        share = np.full(len(clauses), 1 / len(clauses))
        drawn = np.random.default_rng(seed).multinomial(len(clauses), share, samples)
        low, high = np.percentile(fit_strengths(np.einsum("bc,cij->bij", drawn, wins), compared), [2.5, 97.5], axis=0)
    order = sorted(range(len(arms)), key=lambda i: (-values[i], arms[i]))
    return [Strength(arms[i], float(values[i]), float(low[i]), float(high[i])) for i in order]


def fit_strengths(wins: np.ndarray, compared: np.ndarray) -> np.ndarray:
    """Return log-strengths, (B, K), of mean 0.

    Args:
        wins: (B, K, K), wins of the row's arm over the column's.
        compared: (K, K), which pairs get the prior's half win on both sides.
    """
    wins = wins + _PRIOR * compared
    games, own = wins + wins.transpose(0, 2, 1), wins.sum(2)
    logs = np.zeros(own.shape)
    for _ in range(_STEPS):
        power = np.exp(logs)
        new = np.log(own / (games / (power[:, :, None] + power[:, None, :])).sum(2))
        new -= new.mean(1, keepdims=True)
        moved = float(np.abs(new - logs).max())
        logs = new
        if moved < _CLOSE:
            break
    return logs
