"""The alignment tax of a model from what was measured of it, with intervals and limits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from valign.evaluation.bootstrap import Interval, bootstrap_mean
from valign.evaluation.metric_info import MetricInfo
from valign.evaluation.settings import TaxSettings

TAX_METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo("general_nll", "General NLL", "Nats per token of general text.", False),
        MetricInfo("general_nll_increase", "NLL increase", "By how much that is more than the base's.", False, 3),
        MetricInfo("perplexity_ratio", "Perplexity ratio", "Perplexity of general text over the base's.", False),
        MetricInfo("everyday_accuracy", "Everyday accuracy", "Share of everyday instructions that are done right."),
        MetricInfo("everyday_drop", "Accuracy drop", "By how much that share is below the base's.", False),
        MetricInfo(
            "kl_arm_base",
            "KL(arm ‖ base)",
            "Drift in nats per token of general text, expected under the arm.",
            False,
            3,
        ),
        MetricInfo(
            "kl_base_arm",
            "KL(base ‖ arm)",
            "Drift in nats per token of general text, expected under the base.",
            False,
            3,
        ),
    )
}


def tax_scores(
    rows: Sequence[Mapping[str, Any]],
    base_rows: Sequence[Mapping[str, Any]],
    settings: TaxSettings,
    samples: int = 2000,
) -> dict[str, Any]:
    """Return the part ``tax`` of an arm's ``scores.json``.

    Means over the texts are means over all their tokens, and the intervals resample whole texts; those over the
    instructions resample instructions. The perplexity ratio is the exponential of the increase, and so are its ends.

    Args:
        rows: What ``measure_tax`` wrote for the arm's model.
        base_rows: The same for the base model, about the same items.
        settings: The limits of what is lost.
        samples: Bootstrap samples.

    Returns:
        ``metrics`` (each ``mean``, ``ci95``, ``n``), ``limits``, and ``crossed``: the metrics above their limit.
    """
    texts = [row for row in rows if "tokens" in row]
    tasks = [row for row in rows if "correct" in row]
    base = {row["item_id"]: row.get("correct") for row in base_rows}

    def over_texts(name: str, less: str | None = None) -> Interval:
        values = [row[name] - (row[less] if less else 0.0) for row in texts for _ in range(row["tokens"])]
        return bootstrap_mean(values, [row["item_id"] for row in texts for _ in range(row["tokens"])], samples)

    def over_tasks(values: Sequence[float], is_share: bool = False) -> Interval:
        return bootstrap_mean(values, [row["item_id"] for row in tasks], samples, is_share=is_share)

    increase = over_texts("nll", "base_nll")
    found = {
        "general_nll": over_texts("nll"),
        "general_nll_increase": increase,
        "perplexity_ratio": Interval(
            math.exp(increase.mean), math.exp(increase.low), math.exp(increase.high), increase.n
        ),
        "everyday_accuracy": over_tasks([row["correct"] for row in tasks], is_share=True),
        "everyday_drop": over_tasks([base[row["item_id"]] - row["correct"] for row in tasks]),
        "kl_arm_base": over_texts("kl_arm_base"),
        "kl_base_arm": over_texts("kl_base_arm"),
    }
    limits = {"general_nll_increase": settings.max_nll_increase, "everyday_drop": settings.max_accuracy_drop}
    crossed = [name for name, limit in limits.items() if found[name].mean > limit]
    return {
        "metrics": {name: interval.to_json() for name, interval in found.items()},
        "limits": limits,
        "crossed": crossed,
    }
