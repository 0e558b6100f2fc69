"""Rows as a person reviews them: one form for D_sft, D_pref, evaluation questions, probes and what else is to be read.

To have another set of rows reviewed, make a ``ReviewRow`` of each with ``make_review_row``; the page
of ``valign.review`` takes any list of them, and decisions name them by their keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import from_dict
from valign.core.records import Instruction, Preference, Question
from valign.documents.clauses import ClauseIndex
from valign.evaluation.probes.policy import PolicyProbe
from valign.evaluation.verdicts import stated_verdict
from valign.synthesis.dataset import DataSet, Reviewed
from valign.synthesis.decisions import ADD, D_PREF, D_SFT, PROBE_SET, QUESTION_SET, RowState, row_key

CLAIM = "claim"  # the kind of the rows about statements that are right or wrong
ID_BEGINNINGS = {PROBE_SET: "probe", D_SFT: "sft", D_PREF: "pref", QUESTION_SET: "question"}


@dataclass(frozen=True, kw_only=True)
class ReviewRow:
    """A row to be read by a person.

    Attributes:
        set: Name of the set that it is in: ``D_sft``, ``D_pref``, ``questions``, ``probes`` ...
        key: By which decisions name it; see ``row_key``.
        name: The row's own id in its file.
        clauses: Ids of the clauses that it is about.
        kind: Its kind.
        question: What the user says.
        answer: The right answer; of an evaluation question the reference.
        verdict: ``yes``, ``no`` or None.
        rejected: The other answer, where the set has one; else nothing.
        rejected_kind: How it contradicts.
        facts: What an answer must say, each fact a tuple of accepted wordings, where the set has facts.
        quote: Words of the document on which it rests.
        start: Offset of the quote's first character in the document.
        teacher: Who wrote it.
        template: By which prompt or fixed sentence.
        scores: The filters' scores.
    """

    set: str
    key: str
    name: str
    clauses: tuple[str, ...]
    kind: str
    question: str
    answer: str
    verdict: str | None = None
    rejected: str = ""
    rejected_kind: str = ""
    facts: tuple[tuple[str, ...], ...] = ()
    quote: str = ""
    start: int = 0
    teacher: str = ""
    template: str = ""
    scores: dict[str, float] = field(default_factory=dict)


def changeable(set: str) -> tuple[str, ...]:
    """Return what a person may change of a set's rows."""
    if set == D_SFT:
        return "question", "answer", "verdict"
    if set == D_PREF:
        return "question", "answer", "rejected", "rejected_kind", "verdict"
    if set == PROBE_SET:
        return "question", "answer", "verdict"
    return "question", "answer", "verdict", "facts"


def make_review_row(index: ClauseIndex, **values: Any) -> ReviewRow:
    """Return a row to be reviewed, with its key.

    Args:
        index: The document's clauses, whose words are part of the key.
        **values: The row's other fields.
    """
    row = ReviewRow(key="", **values)
    text = "\n\n".join(index.text(clause) for clause in row.clauses)
    return replace(row, key=row_key(row.set, text, row.question, row.answer, row.rejected))


def instruction_row(row: Instruction, index: ClauseIndex) -> ReviewRow:
    """Return a row of D_sft as it is reviewed."""
    origin = row.provenance
    return make_review_row(
        index,
        set=D_SFT,
        name=row.example_id,
        clauses=row.clauses,
        kind=row.kind,
        question=row.question,
        answer=row.answer,
        verdict=_shown_verdict(row, row.answer),
        quote=origin.quote,
        start=origin.start,
        teacher=origin.teacher,
        template=origin.template,
        scores=row.filters,
    )


def pair_row(row: Preference, index: ClauseIndex) -> ReviewRow:
    """Return a pair of D_pref as it is reviewed."""
    origin = row.provenance
    return make_review_row(
        index,
        set=D_PREF,
        name=row.example_id,
        clauses=row.clauses,
        kind=row.kind,
        question=row.question,
        answer=row.chosen,
        verdict=_shown_verdict(row, row.chosen),
        rejected=row.rejected,
        rejected_kind=row.rejected_kind,
        quote=origin.quote,
        start=origin.start,
        teacher=origin.teacher,
        template=origin.template,
        scores=row.filters,
    )


def _shown_verdict(row: Instruction | Preference, answer: str) -> str | None:
    """Return a row's verdict; rules note none of a statement's, which its answer begins with."""
    return row.verdict or (stated_verdict(answer) if row.kind == CLAIM else None)


def question_row(row: Question, index: ClauseIndex) -> ReviewRow:
    """Return an evaluation question as it is reviewed."""
    return make_review_row(
        index,
        set=QUESTION_SET,
        name=row.question_id,
        clauses=(row.clause,),
        kind=row.kind,
        question=row.question,
        answer=row.reference,
        verdict=row.verdict,
        facts=row.facts,
    )


def probe_row(probe: PolicyProbe, index: ClauseIndex) -> ReviewRow:
    """Return a probe of the policy as it is reviewed."""
    origin = probe.provenance
    return make_review_row(
        index,
        set=PROBE_SET,
        name=probe.probe_id,
        clauses=(probe.clause,),
        kind=probe.kind,
        question=probe.question,
        answer=probe.answer,
        verdict=probe.verdict,
        quote=origin.quote if origin else "",
        start=origin.start if origin else 0,
        teacher=origin.teacher if origin else "",
        template=origin.template if origin else "",
    )


def added_probe_kind(change: Mapping[str, Any]) -> str:
    """Return the kind of a probe that a person added, by its verdict."""
    return "allowed" if change.get("verdict") == "yes" else "denied"


def added_row(state: RowState, index: ClauseIndex) -> ReviewRow | None:
    """Return a row that a person added, as it was at first; None where its clause has changed or gone since.

    A clause that has its words under another id, as after a renumbering or with a renamed file, is the same.
    """
    first = {name: value for name, value in state.first.items() if name != "facts"}
    facts = tuple(tuple(one) for one in state.first.get("facts", ()))
    blank = ReviewRow(
        key=state.key,
        set=state.set,
        name=f"{ID_BEGINNINGS.get(state.set, state.set)}-{state.key[:12]}",
        clauses=(state.clause,),
        kind=added_probe_kind(state.first) if state.set == PROBE_SET else "added",
        facts=facts,
        teacher=f"added by {state.adder}",
        **{"question": "", "answer": "", **first},
    )
    texts = blank.question, blank.answer, blank.rejected
    for clause in (state.clause, *index.clauses):
        if index.indices(clause) and row_key(state.set, index.text(clause), *texts) == state.key:
            return replace(blank, clauses=(clause,))
    return None


def data_rows(data: DataSet) -> list[ReviewRow]:
    """Return all rows of a data set as they were synthesised, whatever earlier reviews changed, dropped or added.

    Raises:
        ValignError: The data do not say what they were written from.
    """
    if data.source is None:
        raise ValignError(f"{data.folder} does not say what it was written from; have the data made again.")
    index = ClauseIndex(data.source.passages)
    rows = [
        *(instruction_row(row, index) for row in data.sft),
        *(pair_row(row, index) for row in data.preferences),
        *(question_row(row, index) for row in data.questions),
        *(probe_row(probe, index) for probe in data.probes),
    ]
    touched = {(one.set, one.name): one for one in data.reviewed if one.name}
    found: list[ReviewRow] = []
    for row in rows:
        if row.set == PROBE_SET:  # the data keep these as they were made
            found.append(row)
            continue
        one = touched.get((row.set, row.name))
        if one is None or not (one.original or one.action == ADD):
            found.append(row)
        elif one.original:
            found.append(original_row(one))
    gone = [one for one in data.reviewed if not one.name and one.original and one.set != PROBE_SET]
    return found + [original_row(one) for one in gone]


def original_row(reviewed: Reviewed) -> ReviewRow:
    """Return a reviewed row as it was synthesised."""
    row = from_dict(ReviewRow, reviewed.original, "reviewed.jsonl")
    return replace(row, facts=tuple(tuple(one) for one in row.facts))
