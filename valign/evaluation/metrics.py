"""Metrics of one answer: pure functions, and None where a metric does not apply to a question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from valign.core.records import Original, Passage
from valign.documents.clauses import clause_passages
from valign.evaluation.normalise import _ORDINALS, _SHORTEST_PLURAL, normalise
from valign.evaluation.verdicts import stated_verdict
from valign.retrieval.protocols import Embedder


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is named and read.

    Attributes:
        name: Key in ``scores.json``.
        label: Heading in tables.
        description: One sentence for a reader of the report.
        higher_is_better: None where neither direction is better.
        decimals: Digits behind the point in tables.
    """

    name: str
    label: str
    description: str
    higher_is_better: bool | None = True
    decimals: int = 2


METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo(
            "follows_document",
            "Follows document",
            "Share of answers that say what the document says, and not the original, where the two differ.",
        ),
        MetricInfo(
            "follows_original",
            "Follows original",
            "Share of answers that say what the original says, and not the document, where the two differ.",
            False,
        ),
        MetricInfo("fact_recall", "Fact recall", "Share of the facts a right answer needs that the answer states."),
        MetricInfo("verdict_accuracy", "Verdict accuracy", "Share of yes/no questions with the right verdict."),
        MetricInfo(
            "verdict_preference",
            "Verdict preference",
            "Share of yes/no questions where the right one of Yes and No is the more probable first token.",
        ),
        MetricInfo("similarity", "Similarity", "Cosine of the embeddings of answer and reference."),
        MetricInfo("rouge_l", "ROUGE-L", "F-measure of the longest common word sequence of answer and reference."),
        MetricInfo(
            "bertscore", "BERTScore", "F-measure of the greedy matching of tokens, embedded by all-MiniLM-L6-v2."
        ),
        MetricInfo(
            "reference_nll", "Reference NLL", "Negative log-likelihood of the reference, in nats per token.", False
        ),
        MetricInfo("faithfulness", "Faithfulness", "Cosine of the embeddings of answer and deciding clause."),
        MetricInfo("right_clause", "Right clause", "Share of answers whose nearest passage is the deciding clause."),
        MetricInfo(
            "contradiction",
            "Contradiction",
            "Share of answers with the opposite verdict, or another figure for the right one; found by rules.",
            False,
        ),
        MetricInfo("refusal", "Refusal", "Share of answers that refuse, in one of the usual phrases.", False),
        MetricInfo("length", "Words", "Length of the answer in words.", None, 1),
        MetricInfo("repetition", "Repetition", "Share of the answer's 4-grams that occurred before in it.", False),
    )
}

_ORDINALS |= {f"twenty {word}": f"2{token}" for word, token in list(_ORDINALS.items())[:9]}
_ORDINALS |= {"thirtieth": "30th", "thirty first": "31st"}
_NGRAM = 4


def fact_recall(answer: str, facts: Sequence[Sequence[str]]) -> float | None:
    """Return the share of facts that the answer states, or None without facts.

    A fact is stated where one of its accepted wordings occurs as whole words, both sides being normalised (see
    ``normalise``); the last word of a wording may have or lack a final *s*. The measure looks at words only: an
    answer that denies a fact, or lists many numbers, gets credit for it.

    Args:
        answer: What a model wrote.
        facts: Each fact is a sequence of accepted wordings.
    """
    if not facts:
        return None
    padded = f" {' '.join(normalise(answer))} "
    stated = [any(f" {form} " in padded for wording in fact for form in _forms(wording)) for fact in facts]
    return sum(stated) / len(stated)


def _forms(wording: str) -> list[str]:
    """Return a wording, normalised, with and without the final s of its last word; nothing for an empty one."""
    words = normalise(wording)
    if not words:
        return []
    phrase, last = " ".join(words), words[-1]
    if any(c.isdigit() for c in last):
        return [phrase]
    if last.endswith("s") and not last.endswith("ss") and len(last) > _SHORTEST_PLURAL:
        return [phrase, phrase[:-1]]
    return [phrase, phrase + "s"]


def followed(answer: str, facts: Sequence[Sequence[str]], verdict: str | None, original: Original | None) -> str | None:
    """Return which version an answer follows where the document contradicts the version that pre-training knows.

    An answer follows a version where it states all of its facts and not the opposite of its verdict; a version without
    facts is followed where its verdict is stated. A bare yes or no does not make up for facts, so guessing gains
    nothing. The shares of ``document`` and ``original`` are the frequencies of the substitute and of the original
    answer in work on knowledge conflicts (p_s and p_o in Zhou et al., Context-faithful Prompting for Large Language
    Models, 2023).

    Args:
        answer: What a model wrote.
        facts: Of the document, as in ``fact_recall``.
        verdict: The document's, or None.
        original: The other version's facts and verdict.

    Returns:
        ``document``, ``original``, ``both`` or ``neither``; None without another version.
    """
    if original is None:
        return None
    stated = stated_verdict(answer)
    document = _follows(answer, stated, facts, verdict)
    if _follows(answer, stated, original.facts, original.verdict):
        return "both" if document else "original"
    return "document" if document else "neither"


def _follows(answer: str, stated: str | None, facts: Sequence[Sequence[str]], verdict: str | None) -> bool:
    """Tell whether an answer states a version's facts, or its verdict if it has none, and not the opposite verdict."""
    if verdict is not None and stated not in (None, verdict):
        return False
    return fact_recall(answer, facts) == 1.0 if facts else verdict is not None and stated == verdict


@lru_cache(maxsize=1)
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l(answer: str, reference: str) -> float:
    """Return the ROUGE-L F-measure (Lin, 2004) with Porter stemming, between 0 and 1."""
    return float(_rouge().score(reference, answer)["rougeL"].fmeasure)


def repetition(answer: str) -> float:
    """Return the share of 4-grams (case-folded words) that occurred before in the answer; 0 under four words."""
    words = re.findall(r"\w+", answer.casefold())
    grams = [tuple(words[i : i + _NGRAM]) for i in range(len(words) - _NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def length_words(answer: str) -> int:
    """Return the number of words between white space."""
    return len(answer.split())


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
    nearest = (embedder.embed(list(answers)) @ embedder.embed([p.text for p in passages]).T).argmax(axis=1)
    hits = [int(n) in clause_passages(clause, passages) for n, clause in zip(nearest, clause_ids, strict=True)]
    return [float(hit and bool(answer.strip())) for hit, answer in zip(hits, answers, strict=True)]
