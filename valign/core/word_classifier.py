"""How much the words of texts give away: a classifier that sees which words there are and how many, and no more."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from valign.core.text import words

FOLDS = 5
FEWEST = 20
SHOWN_WORDS = 5


def word_features(texts: Sequence[str], fitted: int | None = None) -> tuple[list[str], Any, np.ndarray]:
    """Return what the classifier sees of T texts.

    Args:
        texts: The texts.
        fitted: How many of them, from the first on, it is fitted to; None for all.

    Returns:
        The V words in order, of scripts without spaces the letters; which of them each text has, a sparse matrix (T, V)
        of 0 and 1; and the number of its words, standardised over those it is fitted to, (T, 1).
    """
    from scipy.sparse import csr_matrix

    split = [words(unicodedata.normalize("NFC", text)) for text in texts]
    names = sorted({word for row in split for word in row})
    place = {word: i for i, word in enumerate(names)}
    columns = [sorted({place[word] for word in row}) for row in split]
    starts = np.cumsum([0, *map(len, columns)])
    ones = np.ones(starts[-1])
    bag = csr_matrix((ones, [column for row in columns for column in row], starts), shape=(len(texts), len(names)))
    counts = np.array([[float(len(row))] for row in split])
    known = counts[:fitted]
    return names, bag, (counts - known.mean()) / (known.std() or 1.0)


def with_length(bag: Any, length: np.ndarray) -> Any:
    """Return the words and the number of words as one matrix, (T, V + 1)."""
    from scipy.sparse import csr_matrix, hstack

    return csr_matrix(hstack([bag, csr_matrix(length)]))


def fit_classifier(features: Any, labels: np.ndarray) -> Any:
    """Fit a logistic regression to features (T, F), dense or sparse, and labels of 0 and 1, (T,)."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, max_iter=1000).fit(features, labels)


def held_out_auc(features: Any, labels: np.ndarray, groups: Sequence[str], seed: int) -> float | None:
    """Return the area under the ROC curve on texts that the classifier was not fitted to.

    It is fitted to all folds but one and judged on that one, in turn; the mean counts a fold by its texts. None where
    some fold, or the texts outside of it, have one label alone.

    Args:
        features: (T, F), dense or sparse.
        labels: 0 or 1 for each text, (T,).
        groups: For each text, what stays in one fold; at least five different ones.
        seed: Of the drawing of folds.
    """
    from sklearn.metrics import roc_auc_score

    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[place]: i % FOLDS for i, place in enumerate(order)}
    folds = np.array([fold_of[group] for group in groups])
    scores, sizes = [], []
    for fold in range(FOLDS):
        held = folds == fold
        if len(set(labels[held])) < 2 or len(set(labels[~held])) < 2:
            return None
        model = fit_classifier(features[~held], labels[~held])
        scores.append(roc_auc_score(labels[held], model.decision_function(features[held])))
        sizes.append(held.sum())
    return round(float(np.average(scores, weights=sizes)), 4)


def telling_words(names: Sequence[str], bag: Any, labels: np.ndarray) -> tuple[list[str], list[str]]:
    """Return the words that speak most for label 1 and for label 0, at most five of each."""
    weights = fit_classifier(bag, labels).coef_[0] if len(names) else np.zeros(0)
    order = np.argsort(weights, kind="stable")
    ones = [names[i] for i in order[::-1][:SHOWN_WORDS] if weights[i] > 1e-6]
    return ones, [names[i] for i in order[:SHOWN_WORDS] if weights[i] < -1e-6]
