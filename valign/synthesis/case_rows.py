"""Rows of D_sft from the teacher's questions, by the prompts that the settings choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from valign.core.records import Instruction, Passage
from valign.generation.requests import Completion, Sampling
from valign.synthesis.candidates import Candidate, instructions_of
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.frames import SILENT
from valign.synthesis.question_kinds import answer_silent, ask_all_kinds, fit_questions
from valign.synthesis.settings import PAIRED_KINDS
from valign.synthesis.structured import ask_cases
from valign.synthesis.value_check import check_values
from valign.synthesis.writer import Writer


def ask_instructions(
    writer: Writer,
    filters: Filters,
    funnel: Funnel,
    passages: Sequence[Passage] | None = None,
    turn: int = 0,
    total: int | None = None,
) -> list[Instruction]:
    """Return the rows whose questions the teacher wrote.

    With ``prompts: large`` these are planned questions in structured calls; a silent one's answer is that the document
    does not say, as with the other prompts, and the kinds that take two passages are asked for as with those. A clause
    of which a batch has still to say whether it carries a value has no plan yet.

    Args:
        writer: Writes with the teacher.
        filters: The document's filters.
        funnel: Counts of D_sft, to which these rows are added.
        passages: The passages that are asked about; by default the document's.
        turn: Number of the round; each has other random numbers.
        total: Questions about each passage; by default as the settings say.
    """
    if writer.settings.prompts == "small":
        return ask_all_kinds(writer, filters, funnel, passages, turn, total)
    shown = writer.document.passages if passages is None else passages
    check_values(writer)
    planned = [passage for passage in shown if passage.clause not in writer.unknown_value]
    candidates = ask_cases(writer, planned, turn, funnel, total)
    rows = instructions_of([c for c in candidates if c.kind != SILENT], writer, filters, funnel)
    rows += _silent_rows(writer, filters, funnel, [c for c in candidates if c.kind == SILENT])
    return rows + ask_all_kinds(writer, filters, funnel, passages, turn, total, PAIRED_KINDS)


def _silent_rows(
    writer: Writer, filters: Filters, funnel: Funnel, candidates: Sequence[Candidate]
) -> list[Instruction]:
    """Return the rows of questions that the document leaves open."""
    passages = {passage.clause: passage for passage in writer.document.passages}
    filters.score_relevance([(candidate.question, candidate.clause) for candidate in candidates])
    asked = []
    for candidate in candidates:
        completion = Completion(candidate.question, 0, True)
        sampling = _sampling(dict(candidate.sampling))
        asked += fit_questions(
            writer, filters, funnel, SILENT, passages[candidate.clause], None, [completion], sampling
        )
    return answer_silent(writer, funnel, writer.template("cases"), asked) if asked else []


def _sampling(kept: dict[str, Any]) -> Sampling:
    """Return the sampling settings that a candidate has kept."""
    return Sampling(**{name: value for name, value in kept.items() if name != "repaired"})
