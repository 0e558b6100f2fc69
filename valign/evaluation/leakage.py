"""How much of the evaluation questions the training data contain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from valign.core.text import runs_of
from valign.evaluation.normalise import normalise
from valign.retrieval.protocols import Embedder


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
    padded = [f" {' '.join(t)} " for t in trained]
    trained_sets = [set(t) for t in trained]
    source = {gram: i for i in reversed(range(len(trained))) for gram in runs_of(trained[i], n)}
    leaks, jaccard = [], []
    for question, own in zip(questions, words, strict=True):
        hits = [(source[gram], " ".join(gram)) for gram in runs_of(own, n) if gram in source]
        if 0 < len(own) < n:
            whole = " ".join(own)
            hits = [(i, whole) for i, text in enumerate(padded) if f" {whole} " in text]
        if hits:
            index, shared = min(hits, key=lambda hit: hit[0])
            leaks.append({"question": question, "training": training[index], "shared": shared})
        bag = set(own)
        jaccard.append(max((len(bag & t) / len(bag | t) for t in trained_sets if bag | t), default=0.0))
    return {"rate": len(leaks) / len(questions) if questions else 0.0, "questions": leaks, "max_jaccard": jaccard}


def max_cosine(embedder: Embedder, questions: Sequence[str], training: Sequence[str]) -> list[float]:
    """Return each question's highest cosine to a training question; 0 where there are no training questions."""
    if not questions or not training:
        return [0.0] * len(questions)
    return [float(c) for c in (embedder.embed(list(questions)) @ embedder.embed(list(training)).T).max(axis=1)]
