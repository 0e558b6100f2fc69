"""How much of the evaluation questions, and of their verdicts, the training data give away."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from valign.core.text import runs_of
from valign.core.word_index import WordIndex
from valign.evaluation.normalise import normalise


def question_overlap(questions: Sequence[str], training: Sequence[str], n: int = 5) -> dict[str, Any]:
    """Measure how much of the evaluation questions the training questions give away.

    Args:
        questions: Q evaluation questions.
        training: T training questions.
        n: Length in words of a sequence that counts as shared; a shorter question is compared as a whole.

    Returns:
        ``rate``: share of the evaluation questions that share such a sequence with a training question; ``questions``:
        these, each as ``{"question", "training", "shared"}`` with the first training question and the words;
        ``max_jaccard``: Q values, the highest Jaccard similarity of a question's set of words to a training
        question's. Words are compared in the spelling that ``normalise`` gives them.
    """
    words = [normalise(q) for q in questions]
    trained = [normalise(t) for t in training]
    runs = [runs_of(own, n) for own in words]
    nearest = WordIndex(trained)
    shorter = _whole_texts(
        {" ".join(own) for own, grams in zip(words, runs, strict=True) if own and not grams}, trained
    )
    source = {gram: i for i in reversed(range(len(trained))) for gram in runs_of(trained[i], n)}
    leaks, jaccard = [], []
    for question, own, grams in zip(questions, words, runs, strict=True):
        hits = [(source[gram], " ".join(gram)) for gram in grams if gram in source]
        if (whole := " ".join(own)) in shorter:
            hits = [(shorter[whole], whole)]
        if hits:
            index, shared = min(hits, key=lambda hit: hit[0])
            leaks.append({"question": question, "training": training[index], "shared": shared})
        jaccard.append(nearest.nearest(own))
    return {"rate": len(leaks) / len(questions) if questions else 0.0, "questions": leaks, "max_jaccard": jaccard}


def _whole_texts(texts: Collection[str], trained: Sequence[list[str]]) -> dict[str, int]:
    """Return for each short text the first training question that has it, where one has."""
    found: dict[str, int] = {}
    lengths = sorted({text.count(" ") + 1 for text in texts})
    for i, own in enumerate(trained):
        for length in lengths:
            for start in range(len(own) - length + 1):
                if (text := " ".join(own[start : start + length])) in texts:
                    found.setdefault(text, i)
    return found


def verdicts_by_wording(
    asked: Sequence[tuple[str, str]], training: Sequence[tuple[str, str]]
) -> dict[str, float | int] | None:
    """Guess the evaluation questions' verdicts from their words and how many these are, by training questions' words.

    What is guessed rightly above a half needs neither the document nor a model. A model has to be above it to show that
    it decides by more than the manner in which training questions are worded.

    Args:
        asked: Evaluation questions with their verdicts, ``yes`` or ``no``.
        training: Training questions with theirs; one that occurs twice counts once.

    Returns:
        ``accuracy``, ``accuracy_yes`` and ``accuracy_no`` (shares guessed rightly, of all, and of those that "yes" and
        "no" decides), ``questions`` and ``training`` (counts); None for fewer than 20 training questions or 5 with
        either verdict, or where the evaluation questions do not have both.
    """
    import numpy as np

    from valign.core.word_classifier import FEWEST, FOLDS, fit_classifier, with_length, word_features

    known = dict(training)
    labels, wanted = (np.array([v == "yes" for v in vs], dtype=bool) for vs in (known.values(), [v for _, v in asked]))
    if len(known) < FEWEST or min(labels.sum(), (~labels).sum()) < FOLDS or wanted.all() or not wanted.any():
        return None
    _, bag, length = word_features([*known, *(question for question, _ in asked)], len(known))
    features = with_length(bag, length)
    model = fit_classifier(features[: len(known)], labels)
    is_right = model.predict(features[len(known) :]) == wanted
    shares = {"accuracy": is_right, "accuracy_yes": is_right[wanted], "accuracy_no": is_right[~wanted]}
    found = {name: round(float(right.mean()), 4) for name, right in shares.items()}
    return {**found, "questions": len(asked), "training": len(known)}
