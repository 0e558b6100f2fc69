"""Several seeds of one experiment: their values put together, and how much the seed alone changes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from valign.evaluation.arm_names import arm_label
from valign.evaluation.metric_info import MetricInfo
from valign.evaluation.scores import choose_metrics, difference_by_metric, score_arm
from valign.evaluation.tax.scores import TAX_METRICS
from valign.reporting.comparison import BASE, ArmResult, Comparison, metric_named
from valign.reporting.numbers import MISSING, format_number


def pool_seeds(
    by_seed: Mapping[str, Mapping[int, ArmResult]],
    samples: int,
    exposure: Mapping[str, str] | None = None,
    metrics: Sequence[str] | None = None,
) -> list[ArmResult]:
    """Put the arms of several seeds together; differences are to the arms that some seed was compared with.

    Answers, and what was measured beside the questions (tax, probes, policy judge), are those of the lowest seed;
    ``by_seed`` has the means of the tax under each. An arm that has the same values under every seed, because nothing
    was trained, keeps one row a question.

    Args:
        by_seed: Each arm under each seed.
        samples: Number of bootstrap samples.
        exposure: ``seen`` or ``unseen`` for clauses, where training left some out.
        metrics: Names of the metrics that the runs show; all of them where there are none.
    """
    rows = {arm: choose_metrics(_rows(results), metrics) for arm, results in by_seed.items()}
    found = []
    for arm, results in by_seed.items():
        first = results[min(results)]
        others = dict.fromkeys(other for one in results.values() for other in one.scores.get("versus", {}))
        scores = score_arm(arm, rows[arm], rows[BASE] if BASE in others and BASE in rows else None, samples, exposure)
        for other in (name for name in others if name in rows and name not in (arm, BASE)):
            scores["versus"][other] = difference_by_metric(arm, rows[arm], rows[other], samples)
        every_seed = rows[arm] if "seeds" in scores else []
        for seed, means in scores.get("by_seed", {}).items():
            means.update(_tax_means(results[int(seed)]))
        found.append(replace(first, scores={**first.scores, **scores}, every_seed=every_seed))
    return found


def _tax_means(result: ArmResult) -> dict[str, float]:
    measured = result.scores.get("tax", {}).get("metrics", {})
    return {name: measured[name]["mean"] for name in TAX_METRICS if name in measured}


def _rows(results: Mapping[int, ArmResult]) -> list[dict[str, Any]]:
    """Return an arm's values under all seeds, with the seed; without it and once where no training is behind them."""
    values = results[min(results)].values
    if not any(result.stages for result in results.values()) and all(r.values == values for r in results.values()):
        return values
    return [{**row, "seed": seed} for seed, result in sorted(results.items()) for row in result.values]


@dataclass(frozen=True)
class SeedRow:
    """One arm, or one arm minus another, on one metric: its mean under each seed."""

    metric: MetricInfo
    name: str
    cells: list[str]
    deviation: str


@dataclass(frozen=True)
class SeedTable:
    """How much the seed alone changes.

    Attributes:
        seeds: The seeds, in order.
        rows: Arms and differences by metric.
        sentences: In how many seeds an arm is above the one before it, or above base where there is no such.
    """

    seeds: list[int]
    rows: list[SeedRow]
    sentences: list[str]


def seed_table(comparison: Comparison) -> SeedTable | None:
    """Return means by seed of the leading metrics; None where no arm was trained with several seeds."""
    pooled = {result.arm: result.scores["by_seed"] for result in comparison.arms if "by_seed" in result.scores}
    seeds = sorted({int(seed) for means in pooled.values() for seed in means})
    if not seeds:
        return None
    rows: list[SeedRow] = []
    sentences: list[tuple[str, str]] = []
    for metric in (metric_named(name) for name in comparison.metrics):
        if not metric.is_charted:
            continue
        name = metric.name
        for result in comparison.arms:
            if result.arm in pooled:
                means = [pooled[result.arm].get(str(seed), {}).get(name) for seed in seeds]
                rows.append(_row(metric, result.label, means))
        for result in comparison.arms:
            for other in result.scores.get("versus", {}):
                if result.arm in pooled and (other in pooled or other == BASE):
                    gaps = _gaps(comparison, result, other, name, seeds)
                    rows.append(_row(metric, f"{result.label} \u2212 {arm_label(other)}", gaps, signed=True))
                    sentences.append((other, _sentence(result.label, arm_label(other), metric, gaps)))
    for name in TAX_METRICS:
        for result in comparison.arms:
            if result.arm in pooled:
                means = [pooled[result.arm].get(str(seed), {}).get(name) for seed in seeds]
                rows.append(_row(metric_named(name), result.label, means))
    rows = [row for row in rows if any(cell != MISSING for cell in row.cells)]
    said = [text for other, text in sentences if text and other != BASE] or [text for _, text in sentences if text]
    return SeedTable(seeds, rows, said)


def _gaps(
    comparison: Comparison, result: ArmResult, other: str, metric: str, seeds: Sequence[int]
) -> list[float | None]:
    """Return an arm's mean minus another's, seed by seed; an arm without seeds has one mean."""
    against = next(arm for arm in comparison.arms if arm.arm == other)
    found: list[float | None] = []
    for seed in seeds:
        a = result.scores["by_seed"].get(str(seed), {}).get(metric)
        theirs = against.scores.get("by_seed")
        b = against.mean(metric) if theirs is None else theirs.get(str(seed), {}).get(metric)
        found.append(None if a is None or b is None else a - b)
    return found


def _row(metric: MetricInfo, name: str, values: Sequence[float | None], signed: bool = False) -> SeedRow:
    known = [value for value in values if value is not None]
    deviation = format_number(statistics.stdev(known)) if len(known) > 1 else MISSING
    return SeedRow(metric, name, [format_number(value, signed) for value in values], deviation)


def _sentence(label: str, other: str, metric: MetricInfo, gaps: Sequence[float | None]) -> str:
    known = [gap for gap in gaps if gap is not None]
    if len(known) < 2:
        return ""
    above = sum(gap > 0 for gap in known)
    return (
        f"{label} is above {other} in {metric.label} with {above} of {len(known)} seeds, by "
        f"{format_number(statistics.fmean(known), signed=True)} on average."
    )


def seed_markdown(table: SeedTable) -> str:
    """Return the table as Markdown, with its sentences."""
    head = ["Does the seed matter?", "", *(f"seed {seed}" for seed in table.seeds), "SD"]
    lines: list[list[Any]] = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    lines += [[row.metric.label, row.name, *row.cells, row.deviation] for row in table.rows]
    shown = "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
    return "\n\n".join([shown, " ".join(table.sentences)])
