"""Shortcut audit: can the rejected answers be told from the chosen ones without reading the question?

A pair should differ in faithfulness alone. Where a classifier that sees nothing but the length and the words of an
answer tells which of the two it is, on clauses that it was not fitted to, preference training can learn that manner
instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from valign.core.records import Preference
from valign.core.word_classifier import FEWEST, FOLDS, held_out_auc, telling_words, with_length, word_features

WARN_ABOVE = 0.8


def audit_shortcuts(pairs: Sequence[Preference], seed: int = 0) -> dict[str, Any]:
    """Measure how well length and words tell chosen from rejected answers.

    The classifier is a logistic regression with the word count and the words (each there or not). It is fitted to all
    folds but one and judged on that one, in turn. A fold holds whole clauses, so that no sentence of a clause can be
    known from another pair; where there are fewer clauses than folds, it holds whole situations.

    Args:
        pairs: D_pref.
        seed: Of the drawing of folds.

    Returns:
        ``auc`` (0.5: told by chance; 1: always; below 0.5: what is chosen for one clause is rejected for another; None
        with a ``reason`` for fewer than 20 pairs or 5 situations),
        ``length_auc`` (by the word count alone), ``kinds`` (AUC for each kind of rejected answer), ``words`` (those
        that speak most for ``chosen`` and for ``rejected``), ``longer`` (which answers are longer), ``pairs``,
        ``folds_by``, ``cause`` (in words, where the AUC is above 0.8, else empty).
    """
    by_clause = len({pair.clauses for pair in pairs}) >= FOLDS
    groups = _groups(pairs, by_clause)
    report: dict[str, Any] = {"pairs": len(pairs), "folds_by": "clause" if by_clause else "situation", "cause": ""}
    if reason := _too_few(groups):
        return {**report, "auc": None, "reason": reason}
    names, bag, length = word_features([*(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)])
    both = with_length(bag, length)
    kinds: dict[str, float | None] = {}
    for kind in sorted({pair.rejected_kind for pair in pairs}):
        own = np.array([pair.rejected_kind == kind for pair in pairs])
        alike = [group for group, is_own in zip(groups, own, strict=True) if is_own]
        kinds[kind] = None if _too_few(alike) else _auc(both[np.tile(own, 2)], alike, seed)
    counts = length[: len(pairs), 0].mean() - length[len(pairs) :, 0].mean()
    report |= {
        "auc": _auc(both, groups, seed),
        "length_auc": _auc(length, groups, seed),
        "kinds": kinds,
        "words": dict(zip(("chosen", "rejected"), telling_words(names, bag, _labels(pairs)), strict=True)),
        "longer": "chosen" if counts > 0 else "rejected" if counts < 0 else "neither",
    }
    report["cause"] = _cause(report)
    return report


def audit_lines(report: dict[str, Any]) -> list[str]:
    """Return the audit for the closing table."""
    if report["auc"] is None:
        return [f"    shortcut audit: not measured, {report['reason']}"]
    kinds = ", ".join(f"{kind} {auc:.2f}" for kind, auc in report["kinds"].items() if auc is not None)
    lines = [
        f"    shortcut audit: AUC {report['auc']:.2f}, of the length alone {report['length_auc']:.2f}"
        + (f" ({kinds})" if kinds else "")
        + f"; 0.5: chosen and rejected answers look alike, above {WARN_ABOVE}: they can be told apart unread"
    ]
    return lines + ([f"    WARNING: {report['cause']}"] if report["cause"] else [])


def _groups(pairs: Sequence[Preference], by_clause: bool) -> list[str]:
    return [" ".join(pair.clauses) if by_clause else pair.question for pair in pairs]


def _too_few(groups: Sequence[str]) -> str:
    if len(groups) < FEWEST:
        return f"{len(groups)} pairs are too few, {FEWEST} are needed"
    if len(set(groups)) < FOLDS:
        return f"{len(set(groups))} situations are too few, {FOLDS} are needed"
    return ""


def _labels(pairs: Sequence[Any]) -> np.ndarray:
    return np.repeat([1, 0], len(pairs))


def _auc(features: Any, groups: Sequence[str], seed: int) -> float | None:
    """Return the held-out AUC of chosen answers, which come first, and the rejected ones of the same pairs."""
    return held_out_auc(features, _labels(groups), [*groups, *groups], seed)


def _cause(report: dict[str, Any]) -> str:
    """Name what gives the rejected answers away."""
    if report["auc"] <= WARN_ABOVE and report["length_auc"] <= WARN_ABOVE:
        return ""
    worst = {kind: auc for kind, auc in report["kinds"].items() if auc is not None and auc > WARN_ABOVE}
    found = [f"the {report['longer']} answers are longer"] if report["length_auc"] > WARN_ABOVE else []
    found += [
        f"{side} answers have: {', '.join(report['words'][side])}"
        for side in ("chosen", "rejected")
        if report["words"][side]
    ]
    kinds = f"; most in: {', '.join(sorted(worst, key=lambda kind: -worst[kind]))}" if worst else ""
    return (
        f"chosen and rejected answers can be told apart without the question (AUC above {WARN_ABOVE}): "
        f"{'; '.join(found)}{kinds}. Lower that kind's share in synthesis.preferences.rejected."
    )
