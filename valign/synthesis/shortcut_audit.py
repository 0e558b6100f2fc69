"""Shortcut audit: can the rejected answers be told from the chosen ones without reading the question?

A pair should differ in faithfulness alone. Where a classifier that sees nothing but the length and the words of an
answer tells which of the two it is, on clauses that it was not fitted to, preference training can learn that manner
instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from valign.core.records import Preference

FOLDS = 5
FEWEST = 20
WARN_ABOVE = 0.8
SHOWN_WORDS = 5
WORD_PATTERN = re.compile(r"\w+")


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
    names, bag, length = _features(pairs)
    both = np.hstack([bag, length])
    kinds = {}
    for kind in sorted({pair.rejected_kind for pair in pairs}):
        own = np.array([pair.rejected_kind == kind for pair in pairs])
        kinds[kind] = _auc(both[np.tile(own, 2)], [g for g, is_own in zip(groups, own, strict=True) if is_own], seed)
    counts = length[: len(pairs), 0].mean() - length[len(pairs) :, 0].mean()
    report |= {
        "auc": _auc(both, groups, seed),
        "length_auc": _auc(length, groups, seed),
        "kinds": kinds,
        "words": _words(bag, names),
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


def _features(pairs: Sequence[Preference]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the vocabulary, the words (2n, v) and the standardised word count (2n, 1); chosen answers come first."""
    texts = [WORD_PATTERN.findall(text.lower()) for text in (*(p.chosen for p in pairs), *(p.rejected for p in pairs))]
    names = sorted({word for text in texts for word in text})
    place = {word: i for i, word in enumerate(names)}
    bag = np.zeros((len(texts), len(names)), np.float32)
    for row, text in zip(bag, texts, strict=True):
        row[[place[word] for word in text]] = 1
    counts = np.array([[float(len(text))] for text in texts])
    return names, bag, (counts - counts.mean()) / (counts.std() or 1.0)


def _auc(features: np.ndarray, groups: Sequence[str], seed: int) -> float | None:
    """Return the mean held-out AUC over the folds; None where there are too few pairs.

    Args:
        features: Rows of the chosen answers, then those of the rejected ones in the same order.
        groups: For each pair, what has to stay in one fold.
        seed: Of the drawing of folds.
    """
    from sklearn.metrics import roc_auc_score

    if _too_few(groups):
        return None
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[place]: i % FOLDS for i, place in enumerate(order)}
    folds = np.tile([fold_of[group] for group in groups], 2)
    labels = np.repeat([1, 0], len(groups))
    scores, sizes = [], []
    for fold in range(FOLDS):
        held = folds == fold
        model = _fit(features[~held], labels[~held])
        scores.append(roc_auc_score(labels[held], model.decision_function(features[held])))
        sizes.append(held.sum())
    return round(float(np.average(scores, weights=sizes)), 4)


def _fit(features: np.ndarray, labels: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, max_iter=1000).fit(features, labels)


def _words(bag: np.ndarray, names: Sequence[str]) -> dict[str, list[str]]:
    """Return the words with the largest weights on either side."""
    half = len(bag) // 2
    weights = _fit(bag, np.repeat([1, 0], half)).coef_[0] if names else np.zeros(0)
    order = np.argsort(weights, kind="stable")
    chosen = [names[i] for i in order[::-1][:SHOWN_WORDS] if weights[i] > 1e-6]
    return {"chosen": chosen, "rejected": [names[i] for i in order[:SHOWN_WORDS] if weights[i] < -1e-6]}


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
