"""Candidates: questions with answers as a large teacher or a file has them, before the filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from valign.core.records import Instruction, Passage, Preference, Provenance
from valign.core.store import digest
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.frames import FROM_TEACHER, scenario_family
from valign.synthesis.rows import make_instruction
from valign.synthesis.writer import Writer

# How a teacher's rejected answer contradicts its clause: by the opposite verdict, an exception that the clause does not
# have, another scope, another holder of the right or duty, another consequence.
CONTRADICTIONS = ("verdict", "exception", "scope", "holder", "consequence")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A question about a clause and its answer; with a rejected answer it is meant for D_pref, else for D_sft.

    Attributes:
        clause: Id of the clause that decides the question.
        kind: Kind of question, for example ``factual``, ``case``, ``scenario``.
        question: What the user says.
        answer: The faithful answer.
        verdict: ``yes``, ``no``, or None where the question has no verdict.
        rejected: An answer that contradicts the clause; nothing for D_sft.
        rejected_kind: How it contradicts: one of ``CONTRADICTIONS``.
        teacher: Id of the model that wrote it.
        template: Id of the prompt template.
        template_hash: SHA-256 (first 16 hex digits) of the template's text.
        sampling: Sampling settings of the call.
    """

    clause: str
    kind: str
    question: str
    answer: str
    verdict: str | None = None
    rejected: str = ""
    rejected_kind: str = ""
    teacher: str
    template: str
    template_hash: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)


def instructions_of(
    candidates: Sequence[Candidate], writer: Writer, filters: Filters, funnel: Funnel
) -> list[Instruction]:
    """Return the candidates that the filters let pass as rows of D_sft.

    Args:
        candidates: Questions with answers.
        writer: Has the document.
        filters: The document's filters.
        funnel: Counts of D_sft, to which these rows are added.
    """
    rows = []
    for candidate, passage, scores in _passing(candidates, writer, filters, funnel):
        origin = _origin(candidate, passage, writer)
        row = make_instruction(candidate.kind, passage, candidate.question, candidate.answer, origin, scores)
        rows.append(replace(row, verdict=candidate.verdict))
        funnel.keep(passage.clause, candidate.kind)
    return rows


def preferences_of(
    candidates: Sequence[Candidate], writer: Writer, filters: Filters, funnel: Funnel
) -> list[Preference]:
    """Return the candidates that the filters let pass as rows of D_pref.

    Args:
        candidates: Questions with a faithful and a rejected answer.
        writer: Has the document.
        filters: The document's filters.
        funnel: Counts of D_pref, to which these rows are added.
    """
    rows = []
    for candidate, passage, scores in _passing(candidates, writer, filters, funnel):
        name = f"pref-{digest([passage.clause, candidate.question, candidate.rejected_kind])[:12]}"
        family = scenario_family(passage.clause, FROM_TEACHER, candidate.question)
        rows.append(
            Preference(
                name,
                (passage.clause,),
                candidate.kind,
                candidate.question,
                candidate.answer,
                candidate.rejected,
                candidate.rejected_kind,
                _origin(candidate, passage, writer),
                scores,
                family,
                candidate.verdict,
            )
        )
        funnel.keep(passage.clause, candidate.rejected_kind)
    return rows


def _passing(
    candidates: Sequence[Candidate], writer: Writer, filters: Filters, funnel: Funnel
) -> list[tuple[Candidate, Passage, dict[str, float]]]:
    """Return what the filters let pass, each with its passage and its scores."""
    passages = {passage.clause: passage for passage in writer.document.passages}
    filters.embed_batch([candidate.question for candidate in candidates])
    asked = []
    for candidate in candidates:
        funnel.made += 1
        reason, scores = filters.check_question(candidate.question, candidate.clause)
        reason = reason or writer.reserved_reason(candidate.clause, candidate.question)
        if reason:
            funnel.drop(reason)
        else:
            asked.append((candidate, passages[candidate.clause], scores))
    filters.score_faithfulness([(candidate.answer, passage) for candidate, passage, _ in asked])
    kept = []
    for candidate, passage, scores in asked:
        reason, more = filters.check_answer(candidate.answer, passage)
        if reason:
            funnel.drop(reason)
        else:
            kept.append((candidate, passage, {**scores, **more}))
    return kept


def _origin(candidate: Candidate, passage: Passage, writer: Writer) -> Provenance:
    """Say where a candidate came from: the words of its clause nearest to the answer, and who wrote it."""
    quote = writer.quote(f"{candidate.question} {candidate.answer}", passage)
    written = candidate.template, candidate.template_hash, candidate.teacher
    return Provenance(quote.text, quote.start, quote.end, *written, dict(candidate.sampling))
