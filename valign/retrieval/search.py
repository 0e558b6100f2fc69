"""Finding the passages that a question is about: by words (BM25), by meaning (embeddings), or by the known clause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from valign.core.errors import ValignError
from valign.core.records import Passage, Question
from valign.core.text import UNSPACED
from valign.documents.clauses import ClauseIndex
from valign.retrieval.embedder import SentenceEmbedder
from valign.retrieval.protocols import Retriever
from valign.retrieval.settings import SEARCHES

ORACLE = "oracle"
WHOLE_DOCUMENT = "document"
UNSPACED_RUN = re.compile(f"[{UNSPACED}]{{2,}}")


class Bm25Retriever:
    """BM25 over lower-cased words of two or more letters, without English stop words, without stemming."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Index the passages.

        Raises:
            ValignError: There are no passages.
        """
        import bm25s

        self.passages = _checked(passages)
        words = _tokens([indexed_text(passage) for passage in passages])
        self._index = None
        if any(words):
            self._index = bm25s.BM25()
            self._index.index(words, show_progress=False)

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Return the k best passages of each query, best first; equal scores keep the reading order."""
        found = []
        for words in _tokens(list(queries)):
            scores = self._index.get_scores(words) if self._index and words else np.zeros(len(self.passages))
            found.append(_best(self.passages, scores, k))
        return found


class EmbeddingRetriever:
    """Cosine similarity between the embeddings of question and passage."""

    def __init__(self, passages: Sequence[Passage], embedder: SentenceEmbedder) -> None:
        """Embed the passages.

        Raises:
            ValignError: There are no passages, or the embedding model cannot be loaded.
        """
        self.passages = _checked(passages)
        self.embedder = embedder
        self._rows = embedder.embed([indexed_text(passage) for passage in passages])

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Return the k best passages of each query, best first; equal scores keep the reading order."""
        scores = self.embedder.embed(list(queries)) @ self._rows.T
        return [_best(self.passages, row, k) for row in scores]


def make_retriever(kind: str, passages: Sequence[Passage], embedder: SentenceEmbedder | None = None) -> Retriever:
    """Return a retriever of the kind ``bm25`` or ``embedding``.

    Raises:
        ValignError: The kind is unknown, or an embedding retriever got no embedder.
    """
    if kind == "bm25":
        return Bm25Retriever(passages)
    if kind != "embedding":
        raise ValignError(f"There is no retriever '{kind}'; choose one of: {', '.join(SEARCHES)}.")
    if embedder is None:
        raise ValignError("The retriever 'embedding' needs an embedding model; give one, or choose 'bm25'.")
    return EmbeddingRetriever(passages, embedder)


def select_passages(
    kind: str, questions: Sequence[Question], passages: Sequence[Passage], embedder: SentenceEmbedder, top_k: int
) -> list[list[Passage]]:
    """Return the passages that an arm is shown for each question.

    Args:
        kind: ``bm25`` or ``embedding`` search with the question; ``oracle`` takes the passages of the question's own
            clause, an upper bound for every search; ``document`` takes all passages in reading order.
        questions: N questions.
        passages: The document's passages.
        embedder: For ``embedding``.
        top_k: Passages for each question, for the kinds that search.

    Returns:
        N lists of passages, best first.

    Raises:
        ValignError: The kind is unknown, there are no passages, or the embedding model cannot be loaded.
    """
    if kind == WHOLE_DOCUMENT:
        return [list(_checked(passages)) for _ in questions]
    if kind == ORACLE:
        index = ClauseIndex(passages)
        return [[passages[i] for i in index.indices(q.clause)] for q in questions]
    return make_retriever(kind, passages, embedder).search([q.question for q in questions], top_k)


def indexed_text(passage: Passage) -> str:
    """Return what is indexed: the headings below the document's title, then the passage's text."""
    return "\n".join([*passage.heading[1:], passage.text])


def recall_at_k(results: Sequence[Sequence[Passage]], clauses: Sequence[str]) -> float:
    """Return the share of queries (0 to 1) that found their clause.

    A passage is right when its id is the clause's or lies inside it: for ``udhr/article-14`` so is
    ``udhr/article-14/2``, while ``udhr/article-1`` is not.

    Args:
        results: The passages found for each query.
        clauses: The right clause of each query, in the same order.

    Raises:
        ValueError: There are no queries, or the two differ in length.
    """
    if not clauses or len(results) != len(clauses):
        raise ValueError(f"one result a clause is needed, got {len(results)} results and {len(clauses)} clauses")
    hits = [
        any(passage.clause == clause or passage.clause.startswith(f"{clause}/") for passage in found)
        for found, clause in zip(results, clauses, strict=True)
    ]
    return sum(hits) / len(hits)


def _checked(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    if not passages:
        raise ValignError("There are no passages to search; check the document.")
    return tuple(passages)


def _best(passages: Sequence[Passage], scores: np.ndarray, k: int) -> list[Passage]:
    """Return the passages of the k highest scores."""
    if k < 1:
        raise ValignError(f"retrieval k={k} must be at least 1.")
    return [passages[int(index)] for index in np.argsort(-scores, kind="stable")[:k]]


def _tokens(texts: list[str]) -> list[list[str]]:
    import bm25s

    if not texts:
        return []
    return bm25s.tokenize(list(map(_spaced, texts)), stopwords="english", return_ids=False, show_progress=False)


def _spaced(text: str) -> str:
    """Return a text whose runs of letters of scripts without spaces are pairs of neighbours with spaces between."""
    return UNSPACED_RUN.sub(lambda run: f" {' '.join(map(''.join, pairwise(run[0])))} ", text)
