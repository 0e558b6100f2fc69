"""Win rates of every pair of arms, and the ranking that follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from valign.evaluation.judging.bradley_terry import Strength, rank_arms
from valign.evaluation.judging.judgement import Judgement
from valign.evaluation.judging.win_rates import WinRate, win_rate

_JUDGE_NAMES = {
    "reference": "nearness to the reference answer",
    "local": "a model in this process",
    "api": "a model behind an API",
}


@dataclass(frozen=True)
class Tournament:
    """What a judge made of all arms.

    Attributes:
        kind: ``reference``, ``local`` or ``api``.
        model: The judge's model; empty for ``reference``.
        warning: Why the judge may be partial, if it may.
        pairs: Win rates by (arm, other arm), both ways round.
        ranking: The arms by strength, best first.
    """

    kind: str
    model: str
    warning: str
    pairs: dict[tuple[str, str], WinRate]
    ranking: list[Strength]

    @property
    def name(self) -> str:
        """The judge in words."""
        return f"{self.kind} ({self.model or _JUDGE_NAMES.get(self.kind, self.kind)})"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, in which each pair stands once."""
        once = {pair: rate for pair, rate in self.pairs.items() if pair[0] > pair[1]}
        ends = [(s, [None if math.isnan(x) else x for x in (s.low, s.high)]) for s in self.ranking]
        return {
            "judge": {"kind": self.kind, "model": self.model or None, "warning": self.warning or None},
            "pairs": [{"arm": arm, "other": other, **rate.to_json()} for (arm, other), rate in once.items()],
            "bradley_terry": [{"arm": s.arm, "strength": s.value, "ci95": ci95} for s, ci95 in ends],
        }


def hold_tournament(
    judgements: Sequence[Judgement], kind: str, model: str = "", warning: str = "", samples: int = 1000
) -> Tournament:
    """Return win rates and ranking of all arms.

    Args:
        judgements: Of any pairs of arms, which may stand in either order.
        kind: The judge: ``reference``, ``local`` or ``api``.
        model: The judge's model.
        warning: Why the judge may be partial.
        samples: Bootstrap samples behind each interval.
    """
    by_pair: dict[tuple[str, str], list[Judgement]] = {}
    for j in judgements:
        for seen in (j, j.swapped()):
            by_pair.setdefault((seen.first, seen.second), []).append(seen)
    pairs = {pair: win_rate(found, samples) for pair, found in sorted(by_pair.items())}
    return Tournament(kind, model, warning, pairs, rank_arms(judgements, samples))
