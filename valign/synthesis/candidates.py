"""Candidates: questions with answers as a large teacher or a file has them; the filters make rows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from valign.core.records import Instruction, Passage, Preference, Provenance
from valign.core.store import digest
from valign.evaluation.verdicts import stated_verdict
from valign.synthesis.filters import Filters, Funnel, waiving
from valign.synthesis.frames import FROM_FILE, FROM_TEACHER, SILENT, scenario_family
from valign.synthesis.quotes import Quote
from valign.synthesis.rows import make_instruction, silent_answer
from valign.synthesis.writer import Writer

# How a teacher's rejected answer contradicts its clause: by the opposite verdict, an exception that the clause does not
# have, another scope, another holder of the right or duty, another consequence.
CONTRADICTIONS = ("verdict", "exception", "scope", "holder", "consequence")
HELD_OUT = "clause held out"


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
        polarity: Of a probe: what the words that decide it do, as the teacher says.
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
    polarity: str = ""


@dataclass(frozen=True)
class Checked:
    """A candidate that the filters let pass, with its passage, the words that it rests on, and its scores."""

    candidate: Candidate
    passage: Passage
    quote: Quote
    scores: dict[str, float]

    @property
    def origin(self) -> Provenance:
        """Where the row comes from."""
        c, quote = self.candidate, self.quote
        return Provenance(quote.text, quote.start, quote.end, c.template, c.template_hash, c.teacher, dict(c.sampling))


def filters_of_given(writer: Writer, filters: Filters) -> Filters:
    """Return the filters of given rows.

    These rows may have any form, and the filters that the settings waive are left out. Where cosines judge, they only
    drop what is far off: the limits that suit a small teacher's rows drop half of a large one's good ones
    (``experiments/filters``).

    Args:
        writer: Has the settings.
        filters: The document's filters.
    """
    s = filters.settings
    limits: dict[str, float] = {}
    if s.relevance == "embedding":
        limits |= {"min_relevance": min(s.min_relevance, 0.1), "rank_margin": max(s.rank_margin, 0.15)}
    if s.faithfulness == "embedding":
        limits |= {"min_faithfulness": min(s.min_faithfulness, 0.3)}
    return waiving(filters, ("form", *s.waive), limits)


def instructions_of(
    candidates: Sequence[Candidate], writer: Writer, filters: Filters, funnel: Funnel
) -> list[Instruction]:
    """Put candidates for D_sft through the filters and make rows of those that pass.

    Args:
        candidates: The candidates; their rejected answers, if they have one, are left aside.
        writer: Knows the document and its settings.
        filters: The document's filters.
        funnel: Counts of D_sft; what is made, dropped and kept is added.
    """
    rows = []
    for one in _check(candidates, writer, filters, funnel):
        c = one.candidate
        row = make_instruction(c.kind, one.passage, c.question, c.answer, one.origin, one.scores)
        rows.append(replace(row, verdict=c.verdict))
        funnel.keep(c.clause, c.kind)
    return rows


def preferences_of(
    candidates: Sequence[Candidate], writer: Writer, filters: Filters, funnel: Funnel
) -> list[Preference]:
    """Put candidates for D_pref through the filters and make pairs of those that pass.

    Args:
        candidates: The candidates, each with a rejected answer.
        writer: Knows the document and its settings.
        filters: The document's filters.
        funnel: Counts of D_pref; what is made, dropped and kept is added.
    """
    rows: dict[str, Preference] = {}
    for one in _check(candidates, writer, filters, funnel):
        c = one.candidate
        name = f"pref-{digest([c.clause, c.question, c.rejected_kind])[:12]}"
        if name in rows:  # the filter of duplicates may be waived
            drop_candidate(funnel, c, "duplicate")
            continue
        family = scenario_family(c.clause, FROM_TEACHER, c.question)
        rows[name] = Preference(
            name,
            (c.clause,),
            c.kind,
            c.question,
            c.answer,
            c.rejected,
            c.rejected_kind,
            one.origin,
            one.scores,
            family,
            c.verdict,
        )
        funnel.keep(c.clause, c.rejected_kind)
    return list(rows.values())


def chosen_rows(pairs: Sequence[Preference], writer: Writer, funnel: Funnel) -> list[Instruction]:
    """Return the pairs whose rejected answer a teacher or a file has, with their chosen answers, as rows of D_sft.

    Args:
        pairs: D_pref.
        writer: Knows the document.
        funnel: Counts of D_sft, to which these rows are added.
    """
    passages = {passage.clause: passage for passage in writer.document.passages}
    rows = []
    for pair in pairs:
        if pair.rejected_kind in CONTRADICTIONS and not pair.provenance.template.startswith("frame/"):
            passage = passages[pair.clauses[0]]
            row = make_instruction(pair.kind, passage, pair.question, pair.chosen, pair.provenance, dict(pair.filters))
            rows.append(replace(row, verdict=pair.verdict))
            funnel.made += 1
            funnel.keep(passage.clause, pair.kind)
    return rows


def drop_candidate(funnel: Funnel, candidate: Candidate, reason: str) -> None:
    """Count a candidate as dropped; a given one is named, so that whoever gave it can mend it."""
    funnel.drop(reason)
    if candidate.template.startswith(f"{FROM_FILE}/"):
        named = {"clause": candidate.clause, "question": candidate.question}
        funnel.given_dropped.append({**named, "dropped": reason})


def _check(candidates: Sequence[Candidate], writer: Writer, filters: Filters, funnel: Funnel) -> list[Checked]:
    """Return the candidates that pass; the others are counted."""
    passages = {passage.clause: passage for passage in writer.document.passages}
    filters.score_relevance([(c.question, c.clause) for c in candidates if c.clause in passages])
    asked: list[Checked] = []
    for c in candidates:
        funnel.made += 1
        if c.clause not in passages:
            drop_candidate(funnel, c, HELD_OUT)
            continue
        reason, scores = _question_fault(c, writer, filters)
        if reason:
            drop_candidate(funnel, c, reason)
            continue
        quote = writer.quote(c.question, passages[c.clause])
        silence = silent_answer(writer, c.question, quote) if c.kind == SILENT and not c.answer else ""
        asked.append(Checked(replace(c, answer=c.answer or silence), passages[c.clause], quote, scores))
    answered = [one for one in asked if one.candidate.kind != SILENT]
    questions = [one.candidate.question for one in answered]
    filters.score_faithfulness([(one.candidate.answer, one.passage) for one in answered], questions)
    kept = []
    for one in asked:
        c = one.candidate
        reason, more = (None, {}) if c.kind == SILENT else filters.check_answer(c.answer, one.passage, c.question)
        if reason:
            drop_candidate(funnel, c, reason)
        else:
            kept.append(replace(one, scores={**one.scores, **more}))
    return kept


def _question_fault(c: Candidate, writer: Writer, filters: Filters) -> tuple[str | None, dict[str, float]]:
    """Judge a candidate's question, and whether its answer says the verdict that it should."""
    unjudged = c.kind == SILENT and filters.relevance.judge is None
    own = waiving(filters, ("relevance",)) if unjudged else filters
    reason, scores = own.check_question(c.question, c.clause, c.kind)
    reason = reason or writer.reserved_reason(c.clause, c.question)
    if not reason and c.verdict and stated_verdict(c.answer) not in (c.verdict, None):
        reason = "answer against its verdict"
    return reason, scores
