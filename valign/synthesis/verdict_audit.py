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
    """Measure how well a question's words tell its verdict.

    The classifier is that of the shortcut audit. A fold holds whole clauses, or where these are fewer than folds whole
    questions.

    Args:
        rows: D_sft and D_pref; a question that occurs twice counts once, one without a verdict not at all.
        seed: Of the drawing of folds.

    Returns:
        ``auc`` (0.5: told by chance; 1: always; None with a ``reason`` for fewer than 20 questions or 5 with
        either verdict), ``words`` (those that speak most for ``yes`` and for ``no``), ``questions``, ``cause`` (in
        words, where the AUC is above 0.7, else empty).
    """
    asked = {row.question: row for row in rows if row.verdict in ("yes", "no")}
    report: dict[str, Any] = {"questions": len(asked), "cause": ""}
    labels = np.array([int(row.verdict == "yes") for row in asked.values()])
    if len(asked) < FEWEST or min(labels.sum(), (1 - labels).sum()) < FOLDS:
        reason = f"{len(asked)} questions with a verdict are too few, {FEWEST} are needed, {FOLDS} of them of either"
        return {**report, "auc": None, "reason": reason}
    clauses = [" ".join(row.clauses) for row in asked.values()]
    groups = clauses if len(set(clauses)) >= FOLDS else list(asked)
    names, bag, length = word_features(list(asked))
    yes, no = telling_words(names, bag, labels)
    report |= {"auc": held_out_auc(with_length(bag, length), labels, groups, seed), "words": {"yes": yes, "no": no}}
    if report["auc"] > VERDICT_LIMIT:
        found = [f"for {name}: {', '.join(words)}" for name, words in report["words"].items() if words]
        report["cause"] = (
            f"whether yes or no is right can often be told from a question's words without the document (AUC above "
            f"{VERDICT_LIMIT}): {'; '.join(found)}. Add cases that differ in little and are decided the other way."
        )
    return report


def verdict_lines(report: dict[str, Any]) -> list[str]:
    """Return the audit for the closing table."""
    if report["auc"] is None:
        return [f"    verdict audit: not measured, {report['reason']}"] if report["questions"] else []
    lines = [
        f"    verdict audit: AUC {report['auc']:.2f}; 0.5: a question's words do not tell its verdict, above "
        f"{VERDICT_LIMIT}: they often do, without the document"
    ]
    return lines + ([f"    WARNING: {report['cause']}"] if report["cause"] else [])
