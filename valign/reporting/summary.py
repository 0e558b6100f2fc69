"""What the page has computed beyond the arms' own scores, as JSON, for other programs and for trackers."""

from __future__ import annotations

from typing import Any

from valign.evaluation.significance import LEVEL, POWER
from valign.reporting.comparison import Comparison
from valign.reporting.differences import arm_differences, difference_sentences
from valign.reporting.judge_agreement import judge_agreements
from valign.reporting.policy_verdicts import policy_audits
from valign.reporting.retrieval_effect import retrieval_effects


def comparison_summary(comparison: Comparison) -> dict[str, Any]:
    """Return the content of ``comparison.json``.

    ``arm_differences`` are tested with clustered errors and corrected over the whole list (``p_holm``);
    ``smallest_effect`` is the true difference that as many questions find with the power. ``by_seed`` has the means of
    each seed, by arm and seed, for arms that were trained with several; ``judges`` how far two judges agree;
    ``policy`` what a policy judge says of each arm's answers, and how far others agree with it.
    """
    rows = arm_differences(comparison)
    return {
        "experiment": comparison.experiment,
        "arms": [result.arm for result in comparison.arms],
        "level": LEVEL,
        "power": POWER,
        "findings": difference_sentences(rows),
        "by_seed": {r.arm: r.scores["by_seed"] for r in comparison.arms if "by_seed" in r.scores},
        "differences": [row.to_json() for row in rows],
        "wins": comparison.wins.to_json() if comparison.wins is not None else None,
        "judges": [found.to_json() for found in judge_agreements(comparison)],
        "policy": {
            "arms": {r.arm: r.scores["policy"] for r in comparison.arms if r.scores.get("policy")},
            "audit": [found.to_json() for found in policy_audits(comparison)],
        },
        "retrieval": [row.to_json() for row in retrieval_effects(comparison)],
    }
