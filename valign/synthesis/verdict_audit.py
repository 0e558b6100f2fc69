"""Verdict audit: can it be told from a training question's words alone whether "yes" or "no" is right?

A case should be decided by the document. Where a classifier that sees nothing but which words a question has tells the
verdict, on clauses that it was not fitted to, a model can learn these words instead, and fails on cases told in others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from valign.core.records import Instruction, Preference
from valign.core.word_classifier import FEWEST, FOLDS, held_out_auc, telling_words, with_length, word_features

VERDICT_LIMIT = 0.7


def audit_verdicts(rows: Sequence[Instruction | Preference], seed: int = 0) -> dict[str, Any]:
    """Measure how well a question's words, and how many these are, tell its verdict.

    The classifier is that of the shortcut audit. A fold holds whole clauses; where these are fewer than folds, or those
    of a fold are all decided alike, it holds whole questions.

    Args:
        rows: D_sft and D_pref; a question that occurs twice counts once, one without a verdict not at all.
        seed: Of the drawing of folds.

    Returns:
        ``auc`` (0.5: told by chance; 1: always; None with a ``reason`` for fewer than 20 questions or 5 with either
        verdict), ``length_auc`` (by the number of words alone), ``words`` (those that speak most for ``yes`` and for
        ``no``), ``longer`` (which questions are longer), ``folds_by``, ``questions``, ``cause`` (in words, where the
        AUC is above 0.7, else empty).
    """
    asked = {row.question: row for row in rows if row.verdict in ("yes", "no")}
    labels = np.array([int(row.verdict == "yes") for row in asked.values()])
    counts = {"yes": int(labels.sum()), "no": int((1 - labels).sum())}
    report: dict[str, Any] = {"questions": len(asked), "cause": ""}
    if len(asked) < FEWEST or min(counts.values()) < FOLDS:
        found = f"{counts['yes']} questions that yes decides and {counts['no']} that no decides"
        return {**report, "auc": None, "reason": f"{found} are too few, {FEWEST} are needed and {FOLDS} of either"}
    names, bag, length = word_features(list(asked))
    clauses = [" ".join(row.clauses) for row in asked.values()]
    both, folds_by, groups, auc = with_length(bag, length), "clause", clauses, None
    if len(set(clauses)) >= FOLDS:
        auc = held_out_auc(both, labels, clauses, seed)
    if auc is None:
        folds_by, groups = "question", _with_both(labels)
        auc = held_out_auc(both, labels, groups, seed)
    means = [float(length[labels == label].mean()) for label in (1, 0)]
    report |= {
        "auc": auc,
        "length_auc": held_out_auc(length, labels, groups, seed),
        "words": dict(zip(("yes", "no"), telling_words(names, bag, labels), strict=True)),
        "longer": "yes" if means[0] > means[1] else "no" if means[1] > means[0] else "neither",
        "folds_by": folds_by,
    }
    report["cause"] = _cause(report)
    return report


def _with_both(labels: np.ndarray) -> list[str]:
    """Return a group for each question, so that each group has questions with either verdict."""
    count = min(labels.sum(), (1 - labels).sum())
    turn = np.where(labels == 1, labels.cumsum(), (1 - labels).cumsum())
    return [str(number) for number in turn % count]


def _cause(report: dict[str, Any]) -> str:
    """Name what gives the verdicts away."""
    if report["auc"] <= VERDICT_LIMIT:
        return ""
    found = [f"those that {report['longer']} decides are longer"] if report["length_auc"] > VERDICT_LIMIT else []
    found += [f"for {name}: {', '.join(words)}" for name, words in report["words"].items() if words]
    return (
        f"whether yes or no is right can often be told from a question's words without the document (AUC above "
        f"{VERDICT_LIMIT}): {'; '.join(found) or 'many words, each a little'}. Add cases that differ in little and are "
        "decided the other way."
    )


def verdict_lines(report: dict[str, Any]) -> list[str]:
    """Return the audit for the closing table."""
    if report["auc"] is None:
        return [f"    verdict audit: not measured, {report['reason']}"] if report["questions"] else []
    lines = [
        f"    verdict audit: AUC {report['auc']:.2f}, of the length alone {report['length_auc']:.2f}; 0.5: a question's"
        f" words do not tell its verdict, above {VERDICT_LIMIT}: they often do, without the document"
    ]
    return lines + ([f"    WARNING: {report['cause']}"] if report["cause"] else [])
