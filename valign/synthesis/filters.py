"""Filters: what makes a candidate fit for training, each with its score, which stays on the row."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from valign.core.records import Passage, Question
from valign.core.text import count_words, is_question, refuses, runs_of, words
from valign.core.word_index import WordIndex
from valign.retrieval.protocols import Embedder
from valign.synthesis.answer_checks import AnswerChecks
from valign.synthesis.faithfulness import ByEmbedding, Faithfulness
from valign.synthesis.languages.choice import choose_language
from valign.synthesis.languages.pack import LanguagePack
from valign.synthesis.relevance import RelevanceChecks, RelevanceJudge
from valign.synthesis.settings import FilterSettings
from valign.synthesis.text_checks import Language, Wordings

SHORTEST, LONGEST = 3, 45
COPIED = 6
WIDE_OPEN: Mapping[str, Mapping[str, float]] = {
    "language": {"min_language": 0.0},
    "relevance": {"min_relevance": -1.0, "max_rank": sys.maxsize},
    "leak": {"max_overlap": 1.0, "max_evaluation": 1.0},
    "duplicate": {"max_duplicate": 1.0, "max_wording": 1.0},
    "repetition": {"max_repetition": 1.0},
    "faithfulness": {"min_faithfulness": -1.0},
}


@dataclass
class Funnel:
    """How many candidates were made, how many each filter dropped, and how many are left for each clause."""

    made: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    per_clause: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    given_dropped: list[dict[str, str]] = field(default_factory=list)

    def drop(self, name: str) -> None:
        """Count a candidate that a filter dropped."""
        self.dropped[name] += 1

    def keep(self, clause: str, kind: str) -> None:
        """Count a candidate that passed."""
        self.kept += 1
        self.per_clause[clause] += 1
        self.kinds[kind] += 1

    def take_back(self, clause: str, kind: str, name: str) -> None:
        """Count a candidate that had passed as dropped after all."""
        self.kept -= 1
        self.per_clause[clause] -= 1
        self.kinds[kind] -= 1
        self.drop(name)

    def add(self, other: Funnel) -> None:
        """Add the counts of another funnel."""
        self.made += other.made
        self.kept += other.kept
        for mine, more in zip(
            (self.dropped, self.per_clause, self.kinds), (other.dropped, other.per_clause, other.kinds), strict=True
        ):
            mine.update(more)
        self.given_dropped += other.given_dropped

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "made": self.made,
            "dropped": dict(self.dropped),
            "kept": self.kept,
            "per_clause": dict(self.per_clause),
            "kinds": dict(self.kinds),
            **({"given_dropped": self.given_dropped} if self.given_dropped else {}),
        }


class Vectors:
    """Unit vectors that come one by one, and the cosine of another with the nearest of them."""

    def __init__(self, width: int) -> None:
        self.rows = np.zeros((64, width), np.float32)
        self.count = 0

    def add(self, vector: np.ndarray) -> None:
        """Add a vector; the array is doubled where it is full."""
        if self.count == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        self.rows[self.count] = vector
        self.count += 1

    def nearest(self, vector: np.ndarray) -> float:
        """Return the largest cosine, 0 where there is no vector yet."""
        return float((self.rows[: self.count] @ vector).max(initial=0.0))


class Filters:
    """The filters of one document.

    Args:
        passages: All passages of the document.
        held_out: Evaluation questions, which no training question may resemble.
        embedder: Gives unit vectors.
        settings: Thresholds.
        faithfulness: Judges answers; by default their nearness to the passage.
        relevance: Judges whether a clause decides a question; by default their nearness decides.
        language: Finds numbers and names; by default that of the passages.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        held_out: Sequence[Question],
        embedder: Embedder,
        settings: FilterSettings,
        faithfulness: Faithfulness | None = None,
        relevance: RelevanceJudge | None = None,
        language: LanguagePack | None = None,
    ) -> None:
        self.embedder = embedder
        self.settings = settings
        self.relevance = RelevanceChecks(passages, embedder, settings, relevance)
        width = self.relevance.vectors.shape[1]
        texts = [q.question for q in held_out]
        self.has_held_out = bool(texts)
        self.held_out_words = WordIndex(words(text) for text in texts)
        self.held_out_runs = {run for text in texts for run in ngrams(words(text), COPIED)}
        self.held_out_vectors = embedder.embed(texts) if texts else np.zeros((0, width), np.float32)
        self.kept: set[tuple[str, str]] = set()
        self.seen = Vectors(width)
        self.wordings = Wordings()
        bodies = [passage.text for passage in passages]
        self.language = Language(bodies)
        pack = language or choose_language(bodies)
        self.answers = AnswerChecks(settings, self.language, faithfulness or ByEmbedding(embedder), pack)
        self.waived: frozenset[str] = frozenset()

    def embed_batch(self, questions: Sequence[str]) -> None:
        """Embed together the questions that will be checked one by one; those that are malformed need no vector."""
        self.embedder.embed([text for text in questions if well_formed(text)])

    def score_relevance(self, questions: Sequence[tuple[str, str]]) -> None:
        """Embed and judge together questions, each with its clause's id, that will be checked one by one.

        The judge is not asked about those that are dropped in any case.
        """
        self.embed_batch([text for text, _ in questions])
        self.relevance.score([(text, clause) for text, clause in questions if self._fit(text)[0] is None])

    def check_question(self, text: str, clause: str, kind: str = "") -> tuple[str | None, dict[str, float]]:
        """Judge a question.

        Args:
            text: The question.
            clause: The clause that it was asked about.
            kind: Its kind; ``silent`` and the kinds on two clauses are judged otherwise.

        Returns:
            The name of the filter that drops it, or None; and the scores: ``language`` (fit to the document's script
            and stop words, 0 to 1), ``relevance`` (cosine with its passage), ``rank`` (of its passage among all, by
            that cosine, from 1; those nearer by no more than ``rank_margin`` do not count), ``decides`` (the judge's
            reply, where there is one: see ``RelevanceJudge.scores``), ``overlap`` and ``evaluation`` (likeness to the
            evaluation questions, in words and as a cosine), ``nearest`` (cosine with the nearest question kept so
            far), ``wording`` (share of runs of letters in common with the nearest of those).
        """
        reason, scores = self._fit(text)
        for judge in (lambda text: self._relevant(text, clause, kind), self.check_leak, self._repeats):
            if reason:
                return reason, scores
            reason, more = judge(text)
            scores |= more
        if reason or ((clause, text) in self.kept and "duplicate" not in self.waived):
            return reason or "duplicate", scores
        self.kept.add((clause, text))
        self.seen.add(self.embedder.embed([text])[0])
        self.wordings.add(text)
        return None, scores

    def _fit(self, text: str) -> tuple[str | None, dict[str, float]]:
        """Judge a question's form and language."""
        if "form" not in self.waived and (not well_formed(text) or refuses(text)):
            return "malformed" if not well_formed(text) else "refusal", {}
        language = round(self.language.score(text), 4)
        return ("other language" if language < self.settings.min_language else None), {"language": language}

    def _relevant(self, text: str, clause: str, kind: str) -> tuple[str | None, dict[str, float]]:
        reason, scores = self.relevance.check(text, clause, kind)
        return reason, {**scores, "relevance": round(scores["relevance"], 4)}

    def _repeats(self, text: str) -> tuple[str | None, dict[str, float]]:
        """Judge a question's likeness to those kept before."""
        scores = {"nearest": round(self.seen.nearest(self.embedder.embed([text])[0]), 4)}
        if scores["nearest"] > self.settings.max_duplicate:
            return "duplicate", scores
        scores["wording"] = round(self.wordings.nearest(text), 4)
        return ("duplicate wording" if scores["wording"] > self.settings.max_wording else None), scores

    def check_leak(self, text: str) -> tuple[str | None, dict[str, float]]:
        """Judge only a question's likeness to the evaluation questions.

        Returns:
            The name of the filter that drops it, or None; and the scores: ``overlap`` (1 for six words in a row in
            common with an evaluation question, else the largest share of words in common), ``evaluation`` (cosine
            with the nearest evaluation question).
        """
        if not self.has_held_out:
            return None, {"overlap": 0.0, "evaluation": 0.0}
        cosine = float((self.held_out_vectors @ self.embedder.embed([text])[0]).max())
        scores = {"overlap": round(self._overlap(text), 4), "evaluation": round(cosine, 4)}
        if scores["overlap"] > self.settings.max_overlap:
            return "overlaps evaluation", scores
        return ("near evaluation" if scores["evaluation"] > self.settings.max_evaluation else None), scores

    def score_faithfulness(self, answers: Sequence[tuple[str, Passage]], questions: Sequence[str] = ()) -> None:
        """Judge together the answers that ``check_answer`` will be asked about one by one, with the same questions."""
        self.answers.score(answers, questions)

    def check_answer(self, text: str, passage: Passage, question: str = "") -> tuple[str | None, dict[str, float]]:
        """Judge an answer.

        Args:
            text: The answer.
            passage: What it should rest on.
            question: What it replies to, where that is known; its numbers and names may be in the answer.

        Returns:
            The name of the filter that drops it, or None; and the scores: ``repetition`` (share of runs of three
            words that came before), ``answer_language`` (fit to the document's script and stop words; the passage's
            own words are 1), ``faithfulness`` (the judge's score) and ``ungrounded`` (count of numbers and names that
            passage and question lack).
        """
        return self.answers.check(text, passage, question)

    def _overlap(self, text: str) -> float:
        """Return 1 for six words in a row in common with an evaluation question, else the largest Jaccard index."""
        if not self.held_out_runs.isdisjoint(ngrams(words(text), COPIED)):
            return 1.0
        return self.held_out_words.nearest(words(text))


def waiving(filters: Filters, names: Sequence[str], limits: Mapping[str, float] | None = None) -> Filters:
    """Return filters without some of them; both know of the questions that either keeps.

    Args:
        filters: All of them.
        names: Some of ``WAIVABLE``, or ``form``.
        limits: Other limits for those that stay, by their settings' names.
    """
    wide: dict[str, Any] = dict(limits or {})
    wide |= {key: value for name in names for key, value in WIDE_OPEN.get(name, {}).items()}
    other = copy(filters)
    other.settings = replace(filters.settings, **wide)
    other.waived = filters.waived | set(names)
    other.relevance = filters.relevance.under(other.settings, "relevance" not in other.waived)
    other.answers = filters.answers.under(other.settings, other.waived)
    return other


def lacking(funnel: Funnel, passages: Sequence[Passage], wanted: int) -> list[tuple[int, list[Passage]]]:
    """Group the passages of which fewer than the wanted number are kept by how many they lack."""
    groups: dict[int, list[Passage]] = {}
    for passage in passages:
        groups.setdefault(wanted - funnel.per_clause[passage.clause], []).append(passage)
    return [(count, found) for count, found in groups.items() if count > 0]


def well_formed(text: str) -> bool:
    """Tell whether a text is one question: a single line of 3 to 45 words that ends with its question mark."""
    if "\n" in text or not is_question(text) or not SHORTEST <= count_words(text) <= LONGEST:
        return False
    runs = runs_of(words(text), 3)
    return len(set(runs)) == len(runs)


def ngrams(tokens: Sequence[str], n: int) -> set[tuple[str, ...]]:
    """Return the runs of n words."""
    return set(runs_of(tokens, n))
