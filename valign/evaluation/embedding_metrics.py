"""Metrics that compare the answers' embeddings with those of the references and of the document."""

from __future__ import annotations

from collections.abc import Sequence

from valign.core.records import Passage
from valign.documents.clauses import ClauseIndex
from valign.evaluation.bertscore import bertscore
from valign.evaluation.metric_info import MetricInput
from valign.retrieval.protocols import Embedder, TokenEmbedder

DIGITS = 4
AT_ONCE = 4096  # answers that are compared with all passages at once


def similarity(embedder: Embedder, answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return the cosine of each answer with its reference; an empty answer gets 0."""
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers but {len(references)} texts to compare them with")
    if not answers:
        return []
    cosines = (embedder.embed(list(answers)) * embedder.embed(list(references))).sum(axis=1)
    return [float(c) if answer.strip() else 0.0 for c, answer in zip(cosines, answers, strict=True)]


def faithfulness(embedder: Embedder, answers: Sequence[str], clause_texts: Sequence[str]) -> list[float]:
    """Return the cosine of each answer with the text of the clause that decides its question; empty answers get 0."""
    return similarity(embedder, answers, clause_texts)


def right_clause(
    embedder: Embedder, answers: Sequence[str], clause_ids: Sequence[str], passages: Sequence[Passage]
) -> list[float]:
    """Return 1.0 where, of all passages of the document, the nearest to the answer belongs to the question's clause.

    Args:
        embedder: Gives unit rows; nearest means the highest cosine.
        answers: N answers; an empty one gets 0.
        clause_ids: The N clauses that decide the questions.
        passages: All passages of the document, at least one.
    """
    if len(answers) != len(clause_ids):
        raise ValueError(f"{len(answers)} answers but {len(clause_ids)} clause ids")
    if not answers:
        return []
    said, texts = embedder.embed(list(answers)), embedder.embed([p.text for p in passages]).T
    index = ClauseIndex(passages)
    nearest = [int(n) for i in range(0, len(said), AT_ONCE) for n in (said[i : i + AT_ONCE] @ texts).argmax(axis=1)]
    hits = [n in index.indices(clause) for n, clause in zip(nearest, clause_ids, strict=True)]
    return [float(hit and bool(answer.strip())) for hit, answer in zip(hits, answers, strict=True)]


def reference_similarity(given: MetricInput) -> list[float]:
    """Return the similarity of each of an arm's answers to its reference."""
    answers = given.answers
    return _rounded(similarity(given.embedder, [a.answer for a in answers], [a.reference for a in answers]))


def token_similarity(given: MetricInput) -> Sequence[float | None]:
    """Return the BERTScore of each of an arm's answers; None where the embedder does not embed tokens."""
    answers = given.answers
    if not isinstance(given.embedder, TokenEmbedder):
        return [None] * len(answers)
    return _rounded(bertscore(given.embedder, [a.answer for a in answers], [a.reference for a in answers]))


def clause_similarity(given: MetricInput) -> list[float | None]:
    """Return the faithfulness of each of an arm's answers; None where the document has no such clause."""
    index = ClauseIndex(given.passages)
    known = [i for i, a in enumerate(given.answers) if index.indices(a.clause)]
    texts = [index.text(given.answers[i].clause) for i in known]
    cosines = _rounded(faithfulness(given.embedder, [given.answers[i].answer for i in known], texts))
    return _spread(known, cosines, len(given.answers))


def nearest_clause(given: MetricInput) -> list[float | None]:
    """Return whether each of an arm's answers is nearest to its clause; None where the document has no such clause."""
    index = ClauseIndex(given.passages)
    known = [i for i, a in enumerate(given.answers) if index.indices(a.clause)]
    asked = [given.answers[i] for i in known]
    hits = right_clause(given.embedder, [a.answer for a in asked], [a.clause for a in asked], given.passages)
    return _spread(known, hits, len(given.answers))


def _spread(places: Sequence[int], values: Sequence[float], length: int) -> list[float | None]:
    """Return the values at their places, and None elsewhere."""
    found = dict(zip(places, values, strict=True))
    return [found.get(i) for i in range(length)]


def _rounded(cosines: Sequence[float]) -> list[float]:
    """Drop the digits that depend on which texts were embedded together, so that a run gives the same file again."""
    return [round(cosine, DIGITS) for cosine in cosines]
