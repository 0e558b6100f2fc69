"""Metrics that are pure functions of one answer, and None where a metric does not apply to a question."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from valign.core.records import Original
from valign.core.text import count_words, runs_of, words
from valign.evaluation.normalise import normalise
from valign.evaluation.verdicts import stated_verdict

_NGRAM = 4
_SHORTEST_PLURAL = 3


def fact_recall(answer: str, facts: Sequence[Sequence[str]]) -> float | None:
    """Return the share of facts that the answer states, or None without facts.

    A fact is stated where one of its accepted wordings occurs as whole words, both sides being normalised;
    the last word of a wording may have or lack a final *s*. The measure looks at words only: an
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
        facts: The document's; each fact is a sequence of accepted wordings.
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

    return RougeScorer(["rougeL"], tokenizer=_Tokens())


class _Tokens:
    """ROUGE's words: those of its own tokenizer, and the words with letters that it does not know."""

    def __init__(self) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        self.plain = DefaultTokenizer(use_stemmer=True)

    def tokenize(self, text: str) -> list[str]:
        """Return lower-case words, those in ASCII stemmed."""
        parts = (self.plain.tokenize(word) if word.isascii() else [word] for word in words(text))
        return [word for part in parts for word in part]


def rouge_l(answer: str, reference: str) -> float:
    """Return the ROUGE-L F-measure with Porter stemming, from 0 to 1.

    Source: Lin, ROUGE: A Package for Automatic Evaluation of Summaries, 2004.
    """
    return float(_rouge().score(reference, answer)["rougeL"].fmeasure)


def repetition_rate(answer: str) -> float:
    """Return the share of 4-grams (case-folded words) that occurred before in the answer; 0 under four words."""
    grams = runs_of(words(answer.casefold()), _NGRAM)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def length_words(answer: str) -> int:
    """Return the number of words, as ``count_words`` has them."""
    return count_words(answer)
