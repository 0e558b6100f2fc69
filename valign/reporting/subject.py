"""Which arm the first screen and the alignment card are about."""

from __future__ import annotations

from dataclasses import dataclass

from valign.evaluation.metric_info import MetricInfo
from valign.reporting.adherence import VERDICT_METRIC
from valign.reporting.comparison import BASE, ArmResult, Comparison, metric_named
from valign.reporting.headline import best_arm, leading_metric

TRAINED_BY = {
    ("sft",): "it learned to give the answers of questions and answers that are written from the document (SFT)",
    ("dpo",): "it learned, of pairs of answers, to prefer the one that is faithful to the document (DPO)",
    ("sft", "dpo"): (
        "it first learned to give the answers of questions and answers that are written from the document (SFT), then, "
        "of pairs of answers, to prefer the faithful one (DPO)"
    ),
}


@dataclass(frozen=True)
class Subject:
    """An arm that stands for the runs.

    Attributes:
        arm: The arm.
        picked_from: The arms that were in question, this one included; it was picked as the best of them where there
            are several.
    """

    arm: ArmResult
    picked_from: int = 1

    @property
    def is_trained(self) -> bool:
        """Whether anything was trained."""
        return bool(self.arm.stages)

    @property
    def looks_up(self) -> bool:
        """Whether the arm is shown passages of the document with each question."""
        return any(answer.retrieved for answer in self.arm.answers)


def find_subject(comparison: Comparison, arm: str | None = None) -> Subject:
    """Find the arm that a reader expects to hear of first.

    Of one run it is the arm for which the run was started: the last that was trained, which is also what
    ``valign.export`` exports. Of several runs it is the best of these by the measure of the page's headline.

    Args:
        comparison: The arms.
        arm: Name of the arm, where it is known already.
    """
    arms = {result.arm: result for result in comparison.arms}
    if arm is not None:
        return Subject(arms[arm])
    others = [result for result in comparison.arms if result.arm != BASE]
    wanted = [arms[name] for name in comparison.results if name in arms]
    candidates = [result for result in wanted if result.stages] or wanted
    candidates = candidates or [result for result in others if result.stages] or others or comparison.arms
    metric = leading_metric(comparison)
    measured = [result for result in candidates if metric and result.mean(metric.name) is not None]
    if metric is None or not measured:
        return Subject(candidates[-1], len(candidates))
    return Subject(best_arm(measured, metric), len(candidates))


def deciding_metric(comparison: Comparison, arm: ArmResult) -> MetricInfo | None:
    """Return the measure that says whether an arm follows the document: its verdicts, else that of the headline."""
    return metric_named(VERDICT_METRIC) if arm.mean(VERDICT_METRIC) is not None else leading_metric(comparison)
