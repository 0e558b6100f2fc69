"""Checks of a pair that a teacher wrote: does the rejected answer differ from the chosen one in its substance alone?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from valign.core.records import Document
from valign.core.text import count_words
from valign.evaluation.verdicts import VERDICTS
from valign.synthesis.answer_checks import UNFAITHFUL
from valign.synthesis.candidates import Candidate, drop_candidate
from valign.synthesis.case_plans import OPPOSITE
from valign.synthesis.faithfulness import ABSENT, CONTRADICTED, ENTAILED
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.writer import Writer

LENGTH_TOLERANCE = 0.25
EVERYTHING_PASSES = -1.0
LEADING = re.compile(rf"\W*({'|'.join(VERDICTS)})(?=\s*[.,;:!\u2013\u2014]|\s+-|\s*$)", re.I)
CITED = re.compile(r"(?:\b(?:article|section|clause|paragraph)|§)\s*\d", re.I)
AGAINST_VERDICT = "answer against its verdict"
NOT_ENTAILED, NOT_CONTRADICTED = UNFAITHFUL, "rejected answer contradicts nothing"


def leading_verdict(answer: str) -> str | None:
    """Return the verdict with which an answer begins; "No one" and "No member" are none.

    >>> [leading_verdict(text) for text in ("No. It closes.", "Yes, it does.", "No one may.")]
    ['no', 'yes', None]
    """
    found = LEADING.match(answer)
    return VERDICTS[found.group(1).lower()] if found else None


def contrast_fault(verdict: str | None, chosen: str, rejected: str, document: Document) -> str:
    """Say what is wrong with a pair as far as its form shows it; nothing where it is fit.

    Args:
        verdict: Of the question.
        chosen: The faithful answer, with its verdict in front.
        rejected: The other one.
        document: Its title and its numbers are not to tell the two apart.
    """
    if not chosen.strip() or not rejected.strip() or chosen.lower() == rejected.lower():
        return "no contrast"
    stated = leading_verdict(chosen), leading_verdict(rejected)
    wanted = (None, None) if verdict is None else (verdict, OPPOSITE[verdict])
    if stated != wanted:
        return "verdicts do not differ" if stated[0] == stated[1] else AGAINST_VERDICT
    lengths = count_words(chosen), count_words(rejected)
    if max(lengths) - min(lengths) > LENGTH_TOLERANCE * max(lengths):
        return "lengths differ"
    if names_document(chosen, document) != names_document(rejected, document):
        return "one answer names the document"
    return ""


def names_document(answer: str, document: Document) -> bool:
    """Tell whether an answer has the document's title or the number of an article or section."""
    title = document.title.removeprefix("The ").strip().lower()
    return bool(title and title in answer.lower()) or CITED.search(answer) is not None


def keep_contradictions(
    candidates: Sequence[Candidate], writer: Writer, filters: Filters, funnel: Funnel
) -> list[Candidate]:
    """Return the candidates whose chosen answer the clause entails and whose rejected answer it contradicts.

    Where the judge cannot tell, or is none that tells contradiction from silence, a candidate passes; so it does in a
    dry pass, which only counts what is asked.

    Args:
        candidates: Questions with two answers.
        writer: Has the document.
        filters: Has the judge of faithfulness.
        funnel: Counts of D_pref; what is dropped is added.
    """
    if not candidates:
        return []
    judge = filters.answers.faithfulness
    passages = {passage.clause: passage for passage in writer.document.passages}
    both = [(text, passages[c.clause]) for c in candidates for text in (c.answer, c.rejected)]
    labels = judge.labels(both, [c.question for c in candidates for _ in range(2)])
    if filters.settings.min_faithfulness <= EVERYTHING_PASSES:
        return list(candidates)
    kept = []
    for candidate, chosen, rejected in zip(candidates, labels[::2], labels[1::2], strict=True):
        fault = ""
        if chosen in (CONTRADICTED, ABSENT):
            fault = NOT_ENTAILED
        elif rejected in (ENTAILED, ABSENT):
            fault = NOT_CONTRADICTED
        if fault:
            funnel.made += 1
            drop_candidate(funnel, candidate, fault)
        else:
            kept.append(candidate)
    return kept
