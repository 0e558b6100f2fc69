"""The synthesis stage: everything that one document's training needs, written to one folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import write_json, write_jsonl
from valign.core.records import Document, Question
from valign.retrieval.protocols import Embedder
from valign.synthesis.citations import cited, cited_pair
from valign.synthesis.coverage import check_coverage, count_questions, cover_instructions, cover_preferences
from valign.synthesis.dataset import FACTS, FUNNEL, PREFERENCES, QUESTIONS, SFT
from valign.synthesis.evaluation_questions import write_questions
from valign.synthesis.fact_examples import count_taught, teach
from valign.synthesis.fact_extraction import list_facts
from valign.synthesis.faithfulness import make_faithfulness
from valign.synthesis.filters import Filters, Funnel, Limits
from valign.synthesis.instructions import write_instructions
from valign.synthesis.preferences import write_preferences
from valign.synthesis.question_kinds import KINDS
from valign.synthesis.settings import Settings
from valign.synthesis.shortcut_audit import audit
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher

log = logging.getLogger(__name__)

TEMPLATES = ("question", "scenario", "held_out", "answer", *KINDS[1:], "silent_check", "extract", "repair", "faithful")


def synthesize(
    folder: Path,
    document: Document,
    held_out: Sequence[Question] | None,
    *,
    teacher: CachedTeacher,
    base: CachedTeacher,
    embedder: Embedder,
    settings: Settings,
    limits: Limits,
    seed: int,
    system_prompt: str | None = None,
    question_teacher: CachedTeacher | None = None,
    audited: bool = True,
) -> dict[str, Any]:
    """Write ``sft.jsonl``, ``preferences.jsonl``, ``questions.jsonl``, ``facts.jsonl`` and ``funnel.json`` to a folder.

    Args:
        folder: Where the files go.
        document: The document.
        held_out: Evaluation questions; None makes some from the document, with a prompt of their own.
        teacher: Writes the data.
        base: The base model, whose own answers may serve as rejected ones.
        embedder: Gives unit vectors.
        settings: What is written, and how much.
        limits: Thresholds of the filters.
        seed: Start of the random numbers.
        system_prompt: The one under which the base model answers.
        question_teacher: Writes the evaluation questions, where they are made; None for the teacher itself.
        audited: Whether D_pref is searched for shortcuts; a dry pass has placeholders there.

    Returns:
        Counts for the manifest.

    Raises:
        ValignError: Nothing was left for training, or too little for some clause.
    """
    writer = Writer(document, teacher, embedder, settings, seed)
    taught = writer.document.passages
    funnels: dict[str, Funnel] = {}
    given = held_out is not None
    if held_out is None:
        of_all = replace(settings, hold_out_clauses=())
        asking = Writer(document, question_teacher or teacher, embedder, of_all, seed)
        held_out, funnels["questions"] = write_questions(asking, Filters(document.passages, (), embedder, limits))
        writer.reserved = frozenset(question.family for question in held_out)
    write_jsonl(folder / QUESTIONS, held_out)
    judge = make_faithfulness(settings.faithfulness, settings.faithfulness_model, embedder, teacher, settings.templates)
    filters = Filters(document.passages, held_out, embedder, limits, judge)
    instructions, funnels["sft"] = write_instructions(writer, filters)
    facts, failures = list_facts(writer)
    instructions += teach(writer, filters, funnels["sft"], facts, instructions)
    cover_instructions(writer, filters, funnels["sft"], instructions)
    funnels["facts"] = count_taught(facts, instructions, failures)
    preferences, funnels["preference"] = write_preferences(writer, base, filters, system_prompt)
    cover_preferences(writer, base, filters, funnels["preference"], preferences, system_prompt)
    for name, rows in (("D_sft", instructions), ("D_pref", preferences)):
        if not rows:
            raise ValignError(
                f"{name} is empty: every candidate was dropped ({dict(funnels['sft'].dropped)}); lower "
                "synthesis.min_relevance or raise synthesis.questions_per_passage."
            )
    by_clause = {
        "instructions": funnels["sft"].per_clause,
        "preferences": funnels["preference"].per_clause,
        "questions": count_questions(held_out, document.passages),
    }
    coverage = check_coverage(writer, by_clause, given)
    if settings.cite:
        instructions = [cited(row, document.passages) for row in instructions]
        preferences = [cited_pair(row, document.passages) for row in preferences]
    write_jsonl(folder / FACTS, facts)
    write_jsonl(folder / SFT, instructions)
    write_jsonl(folder / PREFERENCES, preferences)
    counts = {name: funnel.to_dict() for name, funnel in funnels.items()}
    counts["preference"]["audit"] = shortcuts = audit(preferences if audited else (), seed)
    if shortcuts["cause"]:
        log.warning("D_pref: %s", shortcuts["cause"])
    write_json(folder / FUNNEL, counts)
    quotes = [*(row.provenance for row in instructions), *(row.provenance for row in preferences)]
    verified = sum(document.text[q.start : q.end] == q.quote for q in quotes)
    return {
        "instructions": len(instructions),
        "preferences": len(preferences),
        "questions": len(held_out),
        "clauses": len(taught),
        "clauses_held_out": len(document.passages) - len(taught),
        "clauses_covered": len({c for row in instructions for c in row.clauses}),
        "facts": len(facts),
        "facts_covered": funnels["facts"].kept,
        "quotes": len(quotes),
        "quotes_verified": verified,
        "coverage": coverage,
        "shortcut_audit": shortcuts,
    }
