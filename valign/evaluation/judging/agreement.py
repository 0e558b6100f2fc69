"""How far two judges of the same pairs of answers agree: raw agreement, and Cohen's kappa."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.evaluation.bootstrap import Interval
from valign.evaluation.judging.judgement import Judgement
from valign.evaluation.judging.kappa import cohens_kappa

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
    rated = [(one[key][1], one[key][0], other[key][0]) for key in shared]
    found = cohens_kappa(rated, (-1, 0, 1), samples, seed)
    return Agreement(first, second, found.same, found.kappa)


def agreements(judged: Mapping[str, Sequence[Judgement]]) -> list[Agreement]:
    """Compare every two judges that have judged a pair of answers in common, in the order given."""
    names = list(judged)
    found = [agreement(a, b, judged) for i, a in enumerate(names) for b in names[i + 1 :]]
    return [one for one in found if one is not None]
