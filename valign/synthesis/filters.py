"""Filters: what makes a candidate fit for training, each with its score, which stays on the row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from valign.records import Passage, Question
from valign.synthesis.edits import ungrounded
from valign.synthesis.templates import labelled

if TYPE_CHECKING:
    from valign.evaluation.metrics import Embedder

SHORTEST, LONGEST = 3, 45


@dataclass
class Funnel:
    """How many candidates were made, how many each filter dropped, and how many are left for each clause."""

    made: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    per_clause: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)

    def drop(self, name: str) -> None:
        """Count a candidate that a filter dropped."""
        self.dropped[name] += 1

    def keep(self, clause: str, kind: str) -> None:
        """Count a candidate that passed."""
        self.kept += 1
        self.per_clause[clause] += 1
        self.kinds[kind] += 1

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "made": self.made,
            "dropped": dict(self.dropped),
            "kept": self.kept,
            "per_clause": dict(self.per_clause),
            "kinds": dict(self.kinds),
        }


@dataclass(frozen=True)
class Limits:
    """Thresholds of the filters; see ``synthesis`` in ``conf/config.yaml``."""

    min_relevance: float
    max_rank: int
    min_faithfulness: float
    max_duplicate: float
    max_overlap: float


class Filters:
    """The filters of one document.

    Args:
        passages: All passages of the document.
        held_out: Evaluation questions, which no training question may resemble.
        embedder: Gives unit vectors.
        limits: Thresholds.
    """

    def __init__(
        self, passages: Sequence[Passage], held_out: Sequence[Question], embedder: Embedder, limits: Limits
    ) -> None:
        self.embedder = embedder
        self.limits = limits
        self.place = {passage.clause: i for i, passage in enumerate(passages)}
        self.passages = embedder.embed([labelled(passage) for passage in passages])
        self.held_out = [words(q.question) for q in held_out]
        texts = [q.question for q in held_out]
        self.held_out_vectors = embedder.embed(texts) if texts else np.zeros((0, self.passages.shape[1]), np.float32)
        self.seen: list[np.ndarray] = []

    def question(self, text: str, clause: str) -> tuple[str | None, dict[str, float]]:
        """Judge a question.

        Args:
            text: The question.
            clause: The clause that it was asked about.

        Returns:
            The name of the filter that drops it, or None; and the scores: ``relevance`` (cosine with its passage),
            ``rank`` (of its passage among all, by that cosine, from 1), ``nearest`` (cosine with the nearest
            question kept so far), ``overlap`` (share of words in common with the nearest evaluation question).
        """
        if not well_formed(text):
            return "malformed", {}
        vector = self.embedder.embed([text])[0]
        near = self.passages @ vector
        relevance = float(near[self.place[clause]])
        scores = {"relevance": round(relevance, 4), "rank": float(1 + int((near > relevance).sum()))}
        if relevance < self.limits.min_relevance or scores["rank"] > self.limits.max_rank:
            return "irrelevant", scores
        scores["overlap"] = round(self._overlap(text, vector), 4)
        if scores["overlap"] > self.limits.max_overlap:
            return "overlaps evaluation", scores
        scores["nearest"] = round(max((float(v @ vector) for v in self.seen), default=0.0), 4)
        if scores["nearest"] > self.limits.max_duplicate:
            return "duplicate", scores
        self.seen.append(vector)
        return None, scores

    def leak(self, text: str) -> tuple[str | None, dict[str, float]]:
        """Judge only a question's likeness to the evaluation questions; returns as ``question`` does."""
        overlap = round(self._overlap(text, self.embedder.embed([text])[0]), 4)
        return ("overlaps evaluation" if overlap > self.limits.max_overlap else None), {"overlap": overlap}

    def answer(self, text: str, passage: Passage) -> tuple[str | None, dict[str, float]]:
        """Judge an answer.

        Returns:
            The name of the filter that drops it, or None; and the scores: ``faithfulness`` (cosine with the passage)
            and ``ungrounded`` (numbers and names that the passage does not have).
        """
        if not text.strip():
            return "empty answer", {}
        vectors = self.embedder.embed([text])
        scores = {
            "faithfulness": round(float(vectors[0] @ self.passages[self.place[passage.clause]]), 4),
            "ungrounded": float(len(ungrounded(text, labelled(passage)))),
        }
        if scores["ungrounded"]:
            return "ungrounded number or name", scores
        if scores["faithfulness"] < self.limits.min_faithfulness:
            return "unfaithful", scores
        return None, scores

    def _overlap(self, text: str, vector: np.ndarray) -> float:
        """Return the largest overlap with an evaluation question.

        It is 1 for six words in a row or nearly the same meaning, else the Jaccard similarity of the words.
        """
        if not self.held_out:
            return 0.0
        if float((self.held_out_vectors @ vector).max()) > self.limits.max_duplicate:
            return 1.0
        own = words(text)
        runs = ngrams(own, 6)
        best = 0.0
        for other in self.held_out:
            if runs & ngrams(other, 6):
                return 1.0
            union = len(set(own) | set(other))
            best = max(best, len(set(own) & set(other)) / union if union else 0.0)
        return best


def well_formed(text: str) -> bool:
    """Tell whether a text is one question: a single line of 3 to 45 words that ends with its question mark."""
    count = len(text.split())
    if "\n" in text or not text.endswith("?") or not SHORTEST <= count <= LONGEST:
        return False
    tokens = words(text)
    runs = [tuple(tokens[i : i + 3]) for i in range(len(tokens) - 2)]
    return len(set(runs)) == len(runs)


def words(text: str) -> tuple[str, ...]:
    """Return the lower-case words of a text."""
    return tuple(re.findall(r"\w+", text.lower()))


def ngrams(tokens: Sequence[str], n: int) -> set[tuple[str, ...]]:
    """Return the runs of n words."""
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}
