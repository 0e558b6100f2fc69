"""Rows of D_sft, each with the words of the document that it rests on."""

from __future__ import annotations

from dataclasses import replace

from valign.core.errors import ValignError
from valign.core.records import Instruction, Passage, Provenance
from valign.core.store import digest
from valign.documents.clauses import topic
from valign.generation.requests import Sampling
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.frames import FROM_FRAME, FROM_TEACHER, scenario_family
from valign.synthesis.quotes import Quote
from valign.synthesis.writer import Writer


def frame_words(writer: Writer, passage: Passage) -> tuple[str, str]:
    """Return the words that frames use for the document and for the passage."""
    title = writer.document.title.removeprefix("The ").strip()
    return title, topic(passage).lower() or passage.heading[-1]


def silent_answer(writer: Writer, question: str, quote: Quote) -> str:
    """Return the answer to a question on which the document is silent: that it is, and the nearest that it says."""
    title = writer.document.title.removeprefix("The ").strip()
    frames = writer.language.silent_frames
    if not frames:
        raise ValignError(f"synthesis.instructions.kinds.silent has no answers in {writer.language.name}; set it to 0.")
    return writer.rng("silent", question).choice(frames).format(title=title, quote=quote.sentence)


def make_framed_row(
    writer: Writer, passage: Passage, kind: str, question: str, answer: str, quote: Quote, sampling: Sampling | None
) -> Instruction:
    """Return the row of a fixed sentence, before the filters have scored it."""
    origin = writer.provenance(quote, f"frame/{kind}", digest(question)[:8], sampling)
    return make_instruction(kind, passage, question, answer, origin, {})


def make_instruction(
    kind: str, passage: Passage, question: str, answer: str, origin: Provenance, scores: dict[str, float]
) -> Instruction:
    """Return a row of D_sft about a passage, with its id and its scenario family."""
    name = f"sft-{digest([passage.clause, kind, question])[:12]}"
    group = scenario_family(passage.clause, FROM_TEACHER if origin.teacher != FROM_FRAME else kind, question)
    return Instruction(name, (passage.clause,), kind, question, answer, origin, scores, family=group)


def keep_framed(rows: list[Instruction], row: Instruction, filters: Filters, funnel: Funnel, passage: Passage) -> None:
    """Put a framed row through the filters that concern it: repetition, overlap with the evaluation, the answer's."""
    funnel.made += 1
    if any(row.example_id == other.example_id for other in rows):
        funnel.drop("duplicate")
        return
    reason, scores = filters.check_leak(row.question)
    if not reason:
        reason, more = filters.check_answer(row.answer, passage)
        scores = {**scores, **more}
    if reason:
        funnel.drop(reason)
        return
    funnel.keep(passage.clause, row.kind)
    rows.append(replace(row, filters=scores))
