"""Does a clause decide a question? The teacher's second look, shown the clauses that are nearest to the question."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from valign.core.records import Passage
from valign.core.store import digest
from valign.documents.clauses import labelled
from valign.generation.requests import Request, Sampling
from valign.retrieval.protocols import Embedder
from valign.synthesis.frames import SILENT
from valign.synthesis.judge_replies import find_letters
from valign.synthesis.settings import PAIRED_KINDS, FilterSettings
from valign.synthesis.templates import load_template
from valign.teachers.cache import CachedTeacher
from valign.teachers.pending import is_pending

DECIDES_TEMPLATE = "decides"
DECIDES_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"decides": {"type": "array", "items": {"type": "string"}}},
    "required": ["decides"],
    "additionalProperties": False,
}
CLAUSE_LETTERS = "ABCDEFGHIJKLMNOP"
FIRST, NAMED, OTHER, NONE = 1.0, 0.5, 0.0, -1.0
IRRELEVANT, OTHER_CLAUSE, NO_CLAUSE = "irrelevant", "another clause decides it", "no clause decides it"
NOT_SILENT = "not silent"


class RelevanceJudge:
    """Asks the teacher which of the clauses nearest to a question decide it, or none.

    The question's own clause is always shown: where it is not among the nearest, it takes the last one's place. The
    order is drawn by the question alone, so a question asked about two clauses that are both near is one call.

    Args:
        passages: All passages of the document.
        embedder: Finds the nearest.
        teacher: Judges, by greedy decoding.
        shown: Clauses in a prompt.
        templates: Folder with prompt templates of the user's own.
        language: Code of the language of its prompt.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        embedder: Embedder,
        teacher: CachedTeacher,
        shown: int,
        templates: str | None = None,
        language: str = "en",
    ) -> None:
        self.passages = list(passages)
        self.place = {passage.clause: i for i, passage in enumerate(passages)}
        self.embedder = embedder
        self.vectors = embedder.embed([labelled(passage) for passage in passages])
        self.teacher = teacher
        self.shown = min(shown, len(CLAUSE_LETTERS), len(self.passages))
        self.template = load_template(DECIDES_TEMPLATE, templates, language)

    def scores(self, questions: Sequence[tuple[str, str]]) -> list[float | None]:
        """Judge questions, each given with its clause's id.

        Returns:
            For each: 1 where its clause is the first that is named, 0.5 where it is named behind another, 0 where
            only other clauses are, -1 where the reply is that none decides it; None where the reply cannot be read.
        """
        asked = [(text, self.place[clause], self.order(text, clause)) for text, clause in questions]
        requests = [self.request(text, order) for text, _, order in asked]
        replies = self.teacher.complete_all(requests, "relevance") if requests else []
        return [self._score(found[0].text, own, order) for (_, own, order), found in zip(asked, replies, strict=True)]

    def order(self, question: str, clause: str) -> list[int]:
        """Return the indices of the passages that are shown, in the order of their letters."""
        own = self.place[clause]
        near = self.vectors @ self.embedder.embed([question])[0]
        nearest = [int(i) for i in np.argsort(-near, kind="stable")[: self.shown]]
        if own not in nearest:
            nearest[-1] = own
        nearest.sort()
        random.Random(digest(["order", question])).shuffle(nearest)
        return nearest

    def request(self, question: str, order: Sequence[int]) -> Request:
        """Return the call that asks which of some passages decide a question."""
        lines = [f"{CLAUSE_LETTERS[i]}. {labelled(self.passages[place])}" for i, place in enumerate(order)]
        messages = self.template.fill(passage="\n".join(lines), question=question)
        return Request(messages, Sampling(max_new_tokens=24), schema=DECIDES_SCHEMA)

    def _score(self, reply: str, own: int, order: Sequence[int]) -> float | None:
        if is_pending(reply):
            return 0.0  # nothing is asked about a question before it is known to be kept
        letters = find_letters(reply, "decides", CLAUSE_LETTERS[: len(order)])
        if letters is None:
            return None
        named = [order[CLAUSE_LETTERS.index(letter)] for letter in letters]
        if own in named:
            return FIRST if named[0] == own else NAMED
        return OTHER if named else NONE


class RelevanceChecks:
    """The filter of questions by their clause: the cosines' limits, and the judge where there is one.

    Args:
        passages: All passages of the document.
        embedder: Gives unit vectors.
        settings: Thresholds.
        judge: Says whether a clause decides a question; None leaves it to the cosines.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        embedder: Embedder,
        settings: FilterSettings,
        judge: RelevanceJudge | None = None,
    ) -> None:
        self.place = {passage.clause: i for i, passage in enumerate(passages)}
        self.vectors = embedder.embed([labelled(passage) for passage in passages])
        self.embedder = embedder
        self.settings = settings
        self.judge = judge
        self._decided: dict[tuple[str, str], float | None] = {}

    def under(self, settings: FilterSettings, judged: bool) -> RelevanceChecks:
        """Return the same filter under other thresholds, without its judge if nothing is to be judged."""
        other = copy(self)
        other.settings = settings
        other.judge = self.judge if judged else None
        return other

    def score(self, questions: Sequence[tuple[str, str]]) -> None:
        """Judge together the questions that ``check`` will be asked about one by one."""
        if self.judge is None:
            return
        new = [(text, clause) for text, clause in dict.fromkeys(questions) if (text, clause) not in self._decided]
        self._decided.update(zip(new, self.judge.scores(new), strict=True))

    def check(self, text: str, clause: str, kind: str = "") -> tuple[str | None, dict[str, float]]:
        """Judge whether a clause decides a question: by the judge's reply, by the cosines where there is none.

        Of a question of the kind ``silent`` the judge has to say that no clause decides it. Kinds that only two clauses
        together answer are left to the cosines.
        """
        scores = self._cosines(text, clause)
        if self.judge is not None and kind not in PAIRED_KINDS:
            self.score([(text, clause)])
            decides = self._decided[text, clause]
            if decides is not None:
                return _reason(decides, kind), {**scores, "decides": decides}
        far = scores["relevance"] < self.settings.min_relevance or scores["rank"] > self.settings.max_rank
        return (IRRELEVANT if far else None), scores

    def _cosines(self, text: str, clause: str) -> dict[str, float]:
        near = self.vectors @ self.embedder.embed([text])[0]
        relevance = float(near[self.place[clause]])
        nearer = int((near > relevance + self.settings.rank_margin).sum())
        return {"relevance": relevance, "rank": float(1 + nearer)}


def _reason(decides: float, kind: str) -> str | None:
    if kind == SILENT:
        return None if decides == NONE else NOT_SILENT
    if decides >= NAMED:
        return None
    return NO_CLAUSE if decides == NONE else OTHER_CLAUSE


def make_relevance(
    settings: FilterSettings,
    passages: Sequence[Passage],
    embedder: Embedder,
    teacher: CachedTeacher,
    templates: str | None = None,
    language: str = "en",
) -> RelevanceJudge | None:
    """Return the judge that ``synthesis.filters.relevance`` asks for; None where the embeddings alone decide."""
    if settings.relevance != "judge":
        return None
    return RelevanceJudge(passages, embedder, teacher, settings.relevance_clauses, templates, language)
