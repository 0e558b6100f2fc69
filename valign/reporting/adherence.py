"""How far an arm follows the document, in counts: all questions that the rules decide, by verdict and by polarity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from valign.evaluation.bootstrap import bootstrap_mean
from valign.evaluation.probes.policy_probe_scores import DECIDED_METRICS
from valign.evaluation.verdicts import stated_verdict
from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.numbers import MISSING, finite_interval, finite_number, format_share

VERDICT_METRIC = "verdict_accuracy"
PROBED_POLICY, JUDGED_POLICY = "policy_probes", "policy"
_BY_VERDICT = (("yes", "Of these, the right answer is yes"), ("no", "Of these, the right answer is no"))
_BY_POLARITY = (
    ("policy_may", "Probes: the clause allows (may)"),
    ("policy_must", "Probes: the clause requires (must)"),
    ("policy_must_not", "Probes: the clause forbids (must not)"),
)


@dataclass(frozen=True)
class RightShare:
    """How many of some questions were answered rightly.

    Attributes:
        n: The number of questions.
        mean: The share of right answers, over all seeds where there are several.
        ends: Its 95% interval; None where it is not known, or has no width.
    """

    n: int
    mean: float
    ends: tuple[float, float] | None

    @property
    def count(self) -> str:
        """The number of right answers; over several seeds it need not be a whole one."""
        right = self.mean * self.n
        return f"{round(right)}" if abs(right - round(right)) < 1e-6 else f"about {round(right)}"

    @property
    def words(self) -> str:
        """The share with its interval, for a table."""
        ends = f" ({format_share(self.ends[0])} to {format_share(self.ends[1])})" if self.ends else ""
        return f"{self.count} of {self.n}, {format_share(self.mean)}{ends}"


@dataclass(frozen=True)
class AdherenceRow:
    """One group of questions: how many an arm, and the base model, answered rightly."""

    label: str
    after: RightShare | None
    before: RightShare | None

    @property
    def cells(self) -> tuple[str, str, str]:
        """The row of a table: the group, before and after."""
        before, after = (MISSING if share is None else share.words for share in (self.before, self.after))
        return self.label, before, after


def adherence_rows(comparison: Comparison, arm: ArmResult) -> list[AdherenceRow]:
    """Count an arm's and the base's right answers; nothing where no question has a verdict.

    The questions by verdict are those of the evaluation; by polarity of the clause they are probes of the policy.

    Args:
        comparison: All arms, and how the intervals are drawn.
        arm: The arm.
    """
    whole = AdherenceRow("Questions with a yes or no", *(_whole(one) for one in (arm, comparison.base)))
    rows = [whole] if whole.after is not None else []
    for verdict, label in _BY_VERDICT if rows else ():
        row = AdherenceRow(label, *(_of_verdict(comparison, one, verdict) for one in (arm, comparison.base)))
        rows += [row] if row.after is not None else []
    return rows


def polarity_rows(comparison: Comparison, arm: ArmResult) -> list[AdherenceRow]:
    """Count right answers to the probes of a policy by what the deciding clause does; nothing where none were asked."""
    rows = [
        AdherenceRow(label, *(policy_share(one, name) for one in (arm, comparison.base)))
        for name, label in _BY_POLARITY
    ]
    return [row for row in rows if row.after is not None]


def policy_share(arm: ArmResult | None, metric: str, part: str = PROBED_POLICY) -> RightShare | None:
    """Return the share that an arm has on one measure of a policy; None where it was not measured.

    Args:
        arm: The arm; None gives None.
        metric: The measure's name.
        part: The part of ``scores.json``: the probes of a policy, or what a policy judge says.
    """
    return None if arm is None else _share((arm.scores.get(part) or {}).get("metrics", {}).get(metric) or {})


def probed_share(arm: ArmResult | None) -> RightShare | None:
    """Return the share of right answers to all probes that a clause decides; None where none were asked."""
    shares = [share for name in DECIDED_METRICS if (share := policy_share(arm, name))]
    n = sum(share.n for share in shares)
    return RightShare(n, sum(share.mean * share.n for share in shares) / n, None) if n else None


def unclear_count(arm: ArmResult) -> int | None:
    """Count an arm's answers that should state yes or no and state neither; None where there are several seeds."""
    if arm.every_seed:
        return None
    return sum(answer.verdict is not None and stated_verdict(answer.answer) is None for answer in arm.answers)


def _share(cell: dict[str, Any]) -> RightShare | None:
    mean, n = finite_number(cell.get("mean")), finite_number(cell.get("n"))
    return None if mean is None or not n else RightShare(int(n), mean, wide_interval(cell.get("ci95")))


def wide_interval(value: Any) -> tuple[float, float] | None:
    """Return an interval; None for one without a width, from which nothing follows about other questions."""
    ends = finite_interval(value)
    return ends if ends and ends[0] < ends[1] else None


def _whole(arm: ArmResult | None) -> RightShare | None:
    """Return the share that the score table shows."""
    return None if arm is None else _share(arm.scores.get("metrics", {}).get(VERDICT_METRIC) or {})


def _of_verdict(comparison: Comparison, arm: ArmResult | None, verdict: str) -> RightShare | None:
    """Return the share over the questions whose right answer is yes, or no."""
    if arm is None:
        return None
    right = {answer.question_id: answer.verdict for answer in arm.answers}
    return right_share(comparison, arm, lambda row: right.get(str(row.get("question_id"))) == verdict)


def right_share(
    comparison: Comparison, arm: ArmResult, is_wanted: Callable[[dict[str, Any]], bool]
) -> RightShare | None:
    """Return the share of right verdicts over some of an arm's questions, its interval drawn as the scores' are.

    Args:
        comparison: Says how many samples are drawn.
        arm: The arm.
        is_wanted: Whether a row of its values is one of them.
    """
    wanted = [row for row in arm.every_seed or arm.values if is_wanted(row)]
    rows = [row for row in wanted if finite_number(row.get(VERDICT_METRIC)) is not None]
    if not rows:
        return None
    settings = comparison.config.get("evaluation")
    samples = int(settings.get("bootstrap", 2000)) if isinstance(settings, dict) else 2000
    found = bootstrap_mean(
        [row[VERDICT_METRIC] for row in rows],
        [str(row.get("clause", "")) for row in rows],
        samples,
        repeats=[row.get("seed") for row in rows],
        is_share=True,
    ).to_json()
    return RightShare(len({row["question_id"] for row in rows}), found["mean"], wide_interval(found["ci95"]))
