"""The page's heat map: clauses by arms, for each metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valign.evaluation.metric_info import MetricInfo
from valign.reporting.clause_names import Clauses
from valign.reporting.colours import COLOUR_STEPS, colour_step
from valign.reporting.comparison import BASE, Comparison, metric_named
from valign.reporting.numbers import finite_number, format_number


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
        n = max(int(finite_number(scores.get(clause, {}).get("n")) or 0) for scores in by_clause)
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
        "legend": f"Stronger colour: {side}. The scale runs from {format_number(low)} to {format_number(high)}.",
        "change_legend": f"Blue: {side} than base; red: the opposite. The scale runs to {format_number(most)} on "
        "either side.",
        "measured": bool(known),
        "cells": [
            [
                (format_number(v), colour_step(v, low, high, metric.higher_is_better), *_changed(change, most, metric))
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
    text, higher = format_number(change, True), metric.higher_is_better
    side = "" if higher is None or text == format_number(0.0) else "better" if (change > 0) == higher else "worse"
    return text, colour_step(change, -most, most, higher) if most else COLOUR_STEPS // 2, side
