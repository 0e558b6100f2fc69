"""The page's tables: arms by metrics, clauses by arms, and where the training data came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from valign.evaluation.arm_names import arm_label
from valign.evaluation.metric_info import MANNER, SUBSTANCE, MetricInfo
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import ARM_NOTES, BASE, ArmResult, Comparison, metric_named
from valign.reporting.figures import LEVELS, level
from valign.reporting.headline import standing
from valign.reporting.numbers import number, show

GROUPS = {
    SUBSTANCE: "Does the answer say the right thing?",
    MANNER: "How is the answer written?",
    "": "Further measures",
}
FACTS = "facts"
KINDS = {"sft": "Questions and answers (D_sft)", "preference": "Pairs of answers (D_pref)"}
WORDS = (
    ("Arm", "One of the ways of answering that are compared, as in a clinical trial."),
    ("SFT", "Supervised fine-tuning: the model learns to give the answers of D_sft, the questions and answers."),
    ("DPO", "Direct preference optimization: of each pair in D_pref, it learns to prefer the faithful answer."),
    ("RAG", "Retrieval-augmented generation: passages that fit the question are put into the prompt."),
    (
        "NLL, nats",
        "Negative log-likelihood: how unexpected a text is. One nat more a token is 2.7 times less likely.",
    ),
    ("KL", "Kullback-Leibler divergence: how far two models' predictions of the next token are apart; 0 is alike."),
    ("p", "How often chance alone, with no true difference, would show one as large as this."),
    ("Holm", "A correction of p for the number of differences that were tested, by Holm's method."),
    (
        "AUC",
        "Area under the ROC curve: how often a rejected answer is told from a chosen one; 0.5 is guessing.",
    ),
    ("Leak rate", "Share of the evaluation questions that repeat a run of words of a training question."),
)


@dataclass(frozen=True)
class Difference:
    """One arm minus another: mean and interval in words, and ``better``, ``worse``, ``same`` or nothing."""

    other: str
    mean: str
    ends: str
    standing: str


@dataclass(frozen=True)
class Cell:
    """One arm on one metric."""

    mean: str
    ends: str
    best: bool
    differences: list[Difference]


@dataclass(frozen=True)
class MetricRow:
    """One metric over all arms; ``questions`` says on how many it was measured."""

    metric: MetricInfo
    questions: str
    cells: list[Cell]


def score_groups(comparison: Comparison) -> list[tuple[str, list[MetricRow]]]:
    """Return the score table's rows by group: what is said, how it is said, the rest."""
    rows = [_metric_row(comparison, metric_named(name)) for name in comparison.metrics]
    groups = [(title, [row for row in rows if row.metric.group == group]) for group, title in GROUPS.items()]
    return [(title, members) for title, members in groups if members]


def _metric_row(comparison: Comparison, metric: MetricInfo) -> MetricRow:
    """Build one metric's row; the best arms are marked where one arm is better than another."""
    means = [m for m in (result.mean(metric.name) for result in comparison.arms) if m is not None]
    best = None
    if metric.higher_is_better is not None and len({show(mean) for mean in means}) > 1:
        best = max(means) if metric.higher_is_better else min(means)
    cells = []
    for result in comparison.arms:
        mean, ends = result.mean(metric.name), result.interval(metric.name)
        words = f"{show(ends[0])} to {show(ends[1])}" if ends else "no interval" if mean is not None else ""
        is_best = best is not None and show(mean) == show(best)
        cells.append(Cell(show(mean), words, is_best, _differences(result, metric)))
    counts = sorted({result.count(metric.name) for result in comparison.arms if result.count(metric.name)})
    words = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1]))) if counts else ""
    return MetricRow(metric, f"{words} question{'' if words == '1' else 's'}" if words else "", cells)


def _differences(result: ArmResult, metric: MetricInfo) -> list[Difference]:
    """Return the arm's differences from base and from every other arm it was compared with; base first."""
    others = sorted((arm for arm in result.scores.get("versus", {}) if arm != result.arm), key=lambda arm: arm != BASE)
    found = []
    for other in others:
        difference = result.difference(metric.name, other)
        if difference is not None:
            mean, ends = difference
            words = f"{show(ends[0], True)} to {show(ends[1], True)}" if ends else ""
            found.append(Difference(arm_label(other), show(mean, True), words, standing(difference, metric)))
    return found


@dataclass(frozen=True)
class HeatRow:
    """One clause of the heat map."""

    clause: str
    short: str
    heading: str
    text: str
    questions: int
    anchor: str


@dataclass(frozen=True)
class HeatMap:
    """Clauses by arms.

    ``layers`` has, for each metric, its words and by row and arm (text, colour step or None, change from base, its
    colour step or None, ``better`` or ``worse`` or nothing); the template draws the first one, and a script the one
    that the reader picks. ``changes`` says whether there is a base to compare with.
    """

    metrics: list[MetricInfo]
    rows: list[HeatRow]
    layers: dict[str, dict[str, Any]]
    changes: bool


def heat_map(comparison: Comparison, clauses: Clauses, anchors: Mapping[str, str]) -> HeatMap:
    """Build the heat map from the scores by clause; ``anchors`` are the answer groups' ids by clause."""
    by_clause = [result.scores.get("by_clause", {}) for result in comparison.arms]
    ids = clauses.ordered(clause for scores in by_clause for clause in scores)
    rows = []
    for clause in ids:
        n = max(int(number(scores.get(clause, {}).get("n")) or 0) for scores in by_clause)
        words = (clauses.short(clause), clauses.heading(clause), clauses.text(clause))
        rows.append(HeatRow(clause, *words, n, anchors.get(clause, "")))
    metrics = [metric_named(name) for name in comparison.metrics]
    layers = {metric.name: _layer(comparison, ids, metric) for metric in metrics}
    layers = {name: layer for name, layer in layers.items() if layer["measured"]}
    changes = comparison.base is not None and len(comparison.arms) > 1
    return HeatMap([metric for metric in metrics if metric.name in layers], rows, layers, changes)


def _layer(comparison: Comparison, ids: list[str], metric: MetricInfo) -> dict[str, Any]:
    """Return one metric's cells, coloured on 0 to 1 where all values lie there, else from the least to the most."""
    values = [[result.by_clause(clause, metric.name) for result in comparison.arms] for clause in ids]
    known = [value for row in values for value in row if value is not None]
    low, high = min([0.0, *known]), max([1.0, *known])
    if low < 0.0 or high > 1.0:
        low, high = min(known), max(known)
    changes = [_changes(comparison, row) for row in values]
    most = max((abs(change) for row in changes for change in row if change is not None), default=0.0)
    side = {True: "better", False: "better (lower)", None: "more"}[metric.higher_is_better]
    return {
        "label": metric.label,
        "legend": f"Stronger colour: {side}. The scale runs from {show(low)} to {show(high)}.",
        "change_legend": f"Blue: {side} than base; red: the opposite. The scale runs to {show(most)} on either side.",
        "measured": bool(known),
        "cells": [
            [
                (show(v), level(v, low, high, metric.higher_is_better), *_changed(change, most, metric))
                for v, change in zip(row, moved, strict=True)
            ]
            for row, moved in zip(values, changes, strict=True)
        ],
    }


def _changes(comparison: Comparison, values: list[float | None]) -> list[float | None]:
    """Return each arm's mean on one clause minus base's; None for base itself, and where one of the two is missing."""
    names = [result.arm for result in comparison.arms]
    before = values[names.index(BASE)] if BASE in names else None
    pairs = zip(names, values, strict=True)
    return [None if name == BASE or before is None or value is None else value - before for name, value in pairs]


def _changed(change: float | None, most: float, metric: MetricInfo) -> tuple[str, int | None, str]:
    """Write a change from base: its words, its colour step on a scale with no change in the middle, and its side."""
    if change is None:
        return "", None, ""
    text, higher = show(change, True), metric.higher_is_better
    side = "" if higher is None or text == show(0.0) else "better" if (change > 0) == higher else "worse"
    return text, level(change, -most, most, higher) if most else LEVELS // 2, side


@dataclass(frozen=True)
class Step:
    """One row of a funnel; ``share`` is the percentage of what was made."""

    name: str
    count: int
    share: float
    kind: str


@dataclass(frozen=True)
class Funnel:
    """How many examples of one kind were made, dropped by each filter, and kept."""

    title: str
    steps: list[Step]


def written(comparison: Comparison) -> dict[str, Mapping[str, Any]]:
    """Return the counts of each kind of data of which something was written."""
    return {kind: counts for kind, counts in (comparison.funnel or {}).items() if counts.get("made")}


def funnels(comparison: Comparison) -> list[Funnel]:
    """Return the funnel of each kind of training data, filters in the order in which they were given."""
    found = []
    for kind, counts in written(comparison).items():
        if kind == FACTS:
            continue
        made = int(counts.get("made", 0))
        steps = [("Written by the teacher", made, "made")]
        steps += [
            (f"Dropped by filter: {name.replace('_', ' ')}", int(n), "dropped") for name, n in counts["dropped"].items()
        ]
        steps.append(("Kept for training", int(counts.get("kept", 0)), "kept"))
        rows = [Step(name, n, round(100 * n / made, 1) if made else 0.0, step) for name, n, step in steps]
        found.append(Funnel(KINDS.get(kind, kind), rows))
    return found


def leak_sentence(comparison: Comparison) -> str:
    """Say how many evaluation questions share a run of words with a training question."""
    if comparison.leak is None:
        return "The overlap of the evaluation questions with the training data was not measured."
    rate = number(comparison.leak.get("rate")) or 0.0
    nearest = comparison.leak.get("max_jaccard")
    found = [number(value) for value in (nearest if isinstance(nearest, list | tuple) else [nearest])]
    top = max((value for value in found if value is not None), default=None)
    close = "" if top is None else f" The closest two have {100 * top:.0f}% of their words in common."
    share = f"{100 * rate:.1f}%" if rate or leaks(comparison) else "None"
    return f"{share} of the evaluation questions repeat a run of words of a training question.{close}"


def leaks(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return the questions that leak: the question, the training question, the words they share."""
    rows = (comparison.leak or {}).get("questions", [])
    keys = ("question", "training", "shared")
    found = [row if isinstance(row, Mapping) else {"question": row} for row in rows]
    return [(str(row.get(keys[0], "")), str(row.get(keys[1], "")), str(row.get(keys[2], ""))) for row in found]


def arm_notes(arms: Iterable[ArmResult]) -> list[tuple[str, str]]:
    """Return each known arm's name and what it is."""
    return [(result.label, ARM_NOTES[result.arm]) for result in arms if result.arm in ARM_NOTES]
