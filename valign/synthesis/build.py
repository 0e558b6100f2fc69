"""The synthesis stage: everything that one document's training needs, written to one folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from valign.core.files import write_json, write_jsonl
from valign.core.records import Document, Fact, Instruction, Preference, Question
from valign.evaluation.probes.policy import PolicyProbe
from valign.retrieval.protocols import Embedder
from valign.synthesis.apply_review import review_data
from valign.synthesis.candidates import Candidate, chosen_rows, filters_of_given, instructions_of
from valign.synthesis.citations import pair_with_citation, with_citation
from valign.synthesis.contrasts import check_given_pairs
from valign.synthesis.coverage import (
    ReviewLosses,
    check_coverage,
    check_not_empty,
    count_questions,
    cover_instructions,
    cover_preferences,
)
from valign.synthesis.dataset import FUNNEL, QUESTIONS, REVIEWED, DataRows, read_reviewed, write_rows
from valign.synthesis.decisions import ReviewFile
from valign.synthesis.evaluation_questions import write_questions
from valign.synthesis.fact_examples import count_taught, write_fact_examples
from valign.synthesis.fact_extraction import list_facts
from valign.synthesis.faithfulness import make_faithfulness
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.instructions import write_instructions
from valign.synthesis.languages.choice import language_of, warn_of_gaps
from valign.synthesis.preferences import write_preferences
from valign.synthesis.question_kinds import QUESTION_KINDS
from valign.synthesis.relevance import make_relevance
from valign.synthesis.review_summary import lost_in_review
from valign.synthesis.settings import SynthesisSettings
from valign.synthesis.shortcut_audit import audit_shortcuts
from valign.synthesis.verdict_audit import audit_verdicts
from valign.synthesis.writer import Writer, count_pending
from valign.teachers.batch_round import stop_if_pending
from valign.teachers.cache import CachedTeacher

log = logging.getLogger(__name__)

TEMPLATES = (
    "question",
    "scenario",
    "held_out",
    "answer",
    *QUESTION_KINDS[1:],
    "silent_check",
    "extract",
    "repair",
    "faithful",
    "decides",
    "cases",
    "contrasts",
    "items_repair",
    "carries_value",
)


def synthesize(
    folder: Path,
    document: Document,
    held_out: Sequence[Question] | None,
    *,
    teacher: CachedTeacher,
    base: CachedTeacher,
    embedder: Embedder,
    settings: SynthesisSettings,
    seed: int,
    system_prompt: str | None = None,
    question_teacher: CachedTeacher | None = None,
    given: Sequence[Candidate] = (),
    probes: Sequence[PolicyProbe] = (),
    audited: bool = True,
    review: ReviewFile | None = None,
) -> dict[str, Any]:
    """Write ``sft.jsonl``, ``preferences.jsonl``, ``questions.jsonl``, ``facts.jsonl`` and ``funnel.json`` to a folder.

    Args:
        folder: Where the files go.
        document: The document.
        held_out: Evaluation questions; None makes some from the document, with a prompt of their own.
        teacher: Writes the data.
        base: The base model, whose own answers may serve as rejected ones.
        embedder: Gives unit vectors.
        settings: What is written, how much, and what the filters let pass.
        seed: The run's seed.
        system_prompt: The one under which the base model answers.
        question_teacher: Writes the evaluation questions, where they are made; None for the teacher itself.
        given: Given rows; the teacher writes what the settings ask for beyond them.
        probes: Probes of the policy; no training question may resemble them or the evaluation questions.
        audited: Whether the rows are searched for shortcuts; not in a dry pass, which has placeholders there.
        review: What people decided about the rows.

    Returns:
        Counts for the manifest.

    Raises:
        Pending: A batch has completions still to bring; everything that can be asked for without them has been.
        ValignError: Nothing was left for training, or too little for some clause.
    """
    writer = Writer(document, teacher, embedder, settings, seed)
    warn_of_gaps(writer.language, document.name)
    funnels: dict[str, Funnel] = {}
    questions = _write_questions(writer, question_teacher, funnels, folder.name) if held_out is None else held_out
    write_jsonl(folder / QUESTIONS, questions)
    filters = _make_filters(document, [*questions, *(p.to_question() for p in probes)], embedder, teacher, settings)
    instructions, facts = _write_sft(writer, filters, funnels, given)
    preferences = _write_pref(writer, base, filters, funnels, given, system_prompt, audited)
    stop_if_pending(writer.rests_on, folder.name)
    if settings.instructions.chosen_answers:
        instructions += chosen_rows(preferences, writer, funnels["sft"])
    rows = DataRows(instructions, preferences, [*questions])
    rows, reviewed = _finish_rows(folder, rows, writer, funnels, facts, review, probes)
    check_not_empty(writer, rows, funnels)
    coverage = _check_coverage(writer, rows.questions, funnels, held_out is not None, folder, review)
    write_rows(folder, rows, facts, probes)
    audits = _write_funnel(folder, writer, funnels, rows if audited else DataRows([], [], []), reviewed)
    return {**_count(writer, rows, facts, funnels), "coverage": coverage, **audits}


def _write_questions(
    writer: Writer, other: CachedTeacher | None, funnels: dict[str, Funnel], name: str
) -> list[Question]:
    """Make the evaluation questions, with another teacher where there is one; no row may be of their families."""
    of_all = replace(writer.settings, hold_out_clauses=())
    asking = Writer(writer.whole, other or writer.teacher, writer.embedder, of_all, writer.seed)
    unfiltered = _make_filters(writer.whole, (), writer.embedder, asking.teacher, writer.settings)
    questions, funnels["questions"] = write_questions(asking, unfiltered)
    writer.reserved = frozenset(question.family for question in questions)
    if other is not None:
        writer.rests_on = (writer.teacher, other)
        if not writer.teacher.is_batch:  # it is asked when all questions are known, and so everything that it is asked
            stop_if_pending([other], name)
    return questions


def _make_filters(
    document: Document,
    questions: Sequence[Question],
    embedder: Embedder,
    teacher: CachedTeacher,
    settings: SynthesisSettings,
) -> Filters:
    """Return the document's filters, with the judges that the settings name."""
    limits, templates, passages = settings.filters, settings.templates, document.passages
    language = language_of(document)
    faithfulness = make_faithfulness(limits, embedder, teacher, templates, language.prompts)
    relevance = make_relevance(limits, passages, embedder, teacher, templates, language.prompts)
    return Filters(passages, questions, embedder, limits, faithfulness, relevance, language)


def _write_sft(
    writer: Writer, filters: Filters, funnels: dict[str, Funnel], given: Sequence[Candidate]
) -> tuple[list[Instruction], list[Fact]]:
    """Write D_sft and list the facts that it teaches; the counts of both are put among the funnels."""
    funnel = funnels["sft"] = Funnel()
    taken = [row for row in given if not row.rejected]
    pending = count_pending(writer)
    rows = instructions_of(taken, writer, filters_of_given(writer, filters), funnel)
    if count_pending(writer) > pending:
        return rows, []  # what they leave to the teacher shows when the judge has replied
    rows += write_instructions(writer, filters, funnel)
    facts, failures = list_facts(writer)
    rows += write_fact_examples(writer, filters, funnel, facts, rows)
    cover_instructions(writer, filters, funnel, rows)
    funnels["facts"] = count_taught(facts, rows, failures)
    return rows, facts


def _write_pref(
    writer: Writer,
    base: CachedTeacher,
    filters: Filters,
    funnels: dict[str, Funnel],
    given: Sequence[Candidate],
    system_prompt: str | None,
    audited: bool,
) -> list[Preference]:
    """Write D_pref; its counts are put among the funnels."""
    funnel = funnels["preference"] = Funnel()
    pairs = [row for row in given if row.rejected]
    pending = count_pending(writer)
    rows = check_given_pairs(pairs, writer, filters_of_given(writer, filters), funnel)
    if count_pending(writer) > pending:
        return rows
    rows += write_preferences(writer, base, filters, funnel, system_prompt, audited)
    cover_preferences(writer, base, filters, funnel, rows, system_prompt)
    return rows


def _finish_rows(
    folder: Path,
    rows: DataRows,
    writer: Writer,
    funnels: dict[str, Funnel],
    facts: Sequence[Fact],
    review: ReviewFile | None,
    probes: Sequence[PolicyProbe],
) -> tuple[DataRows, dict[str, Any]]:
    """Let answers end with their clause where the settings say so, and apply what people decided.

    Returns:
        The rows, and what was read and changed; nothing where there are no decisions.
    """
    if writer.settings.cite:
        passages = writer.document.passages
        cited = [with_citation(row, passages) for row in rows.instructions]
        rows = DataRows(cited, [pair_with_citation(row, passages) for row in rows.preferences], rows.questions)
    if review is None:
        (folder / REVIEWED).unlink(missing_ok=True)  # an interrupted build with decisions may have left it
        return rows, {}

    def make_filters(questions: Sequence[Question]) -> Filters:
        return _make_filters(writer.whole, questions, writer.embedder, writer.teacher, writer.settings)

    return review_data(folder, review, rows, writer, funnels, facts, make_filters, probes)


def _check_coverage(
    writer: Writer,
    questions: Sequence[Question],
    funnels: Mapping[str, Funnel],
    given_questions: bool,
    folder: Path,
    review: ReviewFile | None,
) -> dict[str, dict[str, Any]]:
    """Check that every clause has enough of each kind of data; what is short is returned."""
    by_clause = {
        "instructions": funnels["sft"].per_clause,
        "preferences": funnels["preference"].per_clause,
        "questions": count_questions(questions, writer.whole.passages),
    }
    lost = ReviewLosses(review.path, lost_in_review(read_reviewed(folder))) if review else None
    return check_coverage(writer, by_clause, given_questions, lost)


def _write_funnel(
    folder: Path,
    writer: Writer,
    funnels: Mapping[str, Funnel],
    rows: DataRows,
    reviewed: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the counts of all filters with both audits of the rows; warn of shortcuts and return the audits."""
    counts: dict[str, Any] = {name: funnel.to_dict() for name, funnel in funnels.items()}
    counts["preference"]["audit"] = shortcuts = audit_shortcuts(rows.preferences, writer.seed)
    counts["sft"]["audit"] = verdicts = audit_verdicts([*rows.instructions, *rows.preferences], writer.seed)
    if writer.without_value:
        counts["preference"]["without_value"] = sorted(writer.without_value)
    if shortcuts["cause"]:
        log.warning("D_pref: %s", shortcuts["cause"])
    if verdicts["cause"]:
        log.warning("D_sft: %s", verdicts["cause"])
    if lost := [row for funnel in funnels.values() for row in funnel.given_dropped]:
        first = lost[0]
        log.warning(
            "%d given rows dropped, all named in %s, the first: %r (%s); synthesis.filters.waive spares them a filter",
            len(lost),
            FUNNEL,
            first["question"],
            first["dropped"],
        )
    write_json(folder / FUNNEL, {**counts, **({"review": dict(reviewed)} if reviewed else {})})
    return {"shortcut_audit": shortcuts, "verdict_audit": verdicts}


def _count(writer: Writer, rows: DataRows, facts: Sequence[Fact], funnels: Mapping[str, Funnel]) -> dict[str, Any]:
    """Count rows, facts, clauses, quotes, and the quotes that stand word for word at their offsets in the document.

    Clauses without a value are listed and verdicts counted, where there are any.
    """
    whole, taught = writer.whole, writer.document.passages
    every: list[Instruction | Preference] = [*rows.instructions, *rows.preferences]
    quotes = [row.provenance for row in every]
    verdicts = Counter(row.verdict for row in every if row.verdict)
    return {
        **({"verdicts": dict(sorted(verdicts.items()))} if verdicts else {}),
        **({"without_value": sorted(writer.without_value)} if writer.without_value else {}),
        "instructions": len(rows.instructions),
        "preferences": len(rows.preferences),
        "questions": len(rows.questions),
        "facts": len(facts),
        "facts_covered": funnels["facts"].kept,
        "clauses": len(taught),
        "clauses_held_out": len(whole.passages) - len(taught),
        "clauses_covered": len({clause for row in rows.instructions for clause in row.clauses}),
        "quotes": len(quotes),
        "quotes_verified": sum(whole.text[quote.start : quote.end] == quote.quote for quote in quotes),
    }
