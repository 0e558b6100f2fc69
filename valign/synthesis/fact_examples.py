"""Rows of D_sft that teach the facts: several phrasings for each, answered with the clause's words that hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from valign.core.records import Fact, Instruction, Passage
from valign.core.store import digest
from valign.synthesis.facts import sentence_of
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.quotes import Quote
from valign.synthesis.rows import make_instruction
from valign.synthesis.writer import Writer

UNTAUGHT = "no example"


def write_fact_examples(
    writer: Writer, filters: Filters, funnel: Funnel, facts: Sequence[Fact], asked: Sequence[Instruction]
) -> list[Instruction]:
    """Write ``examples_per_fact`` rows for every fact, as far as its phrasings pass the filters.

    Args:
        writer: Knows the document and the settings.
        filters: The document's filters.
        funnel: Counts of D_sft, to which these rows are added.
        facts: What is to be taught.
        asked: Rows that are there already; no question is asked twice about a clause.
    """
    passages = {passage.clause: passage for passage in writer.document.passages}
    taken = {(row.clauses[0], row.question) for row in asked}
    rows = []
    for fact in facts:
        passage = passages[fact.clause]
        quote = holding_quote(writer, fact, passage)
        kept = 0
        for question in order_phrasings(writer, fact, passage):
            if kept == writer.settings.instructions.examples_per_fact:
                break
            if (fact.clause, question) in taken:
                continue
            taken.add((fact.clause, question))
            funnel.made += 1
            reason, scores = filters.check_leak(question)
            if not reason:
                reason, more = filters.check_answer(quote.sentence, passage)
                scores |= more
            if reason:
                funnel.drop(reason)
                continue
            kept += 1
            funnel.keep(fact.clause, "fact")
            rows.append(_row(writer, fact, question, quote, scores))
    return rows


def count_taught(facts: Sequence[Fact], rows: Sequence[Instruction], failures: Mapping[str, int]) -> Funnel:
    """Count the facts with at least one row of their own as kept; the others, and what failed before, as dropped."""
    taught = {row.fact for row in rows}
    funnel = Funnel(made=len(facts) + sum(failures.values()))
    funnel.dropped.update(failures)
    for fact in facts:
        if fact.fact_id in taught:
            funnel.keep(fact.clause, fact.kind)
        else:
            funnel.drop(UNTAUGHT)
    return funnel


def order_phrasings(writer: Writer, fact: Fact, passage: Passage) -> list[str]:
    """Return a fact's questions, shuffled by the seed, and then the sentences to complete."""
    rng = writer.rng("phrasings", fact.fact_id)
    ordered = []
    for group in writer.language.phrasings(fact, passage):
        rng.shuffle(group)
        ordered += group
    return ordered


def holding_quote(writer: Writer, fact: Fact, passage: Passage) -> Quote:
    """Return the clause's words that answer questions about a fact: the writer's quote, where the fact is in it."""
    sentence = sentence_of(fact, passage)
    quote = writer.quote(sentence.text, passage)
    return quote if quote.start <= fact.start and fact.end <= quote.end else sentence


def _row(writer: Writer, fact: Fact, question: str, quote: Quote, scores: dict[str, float]) -> Instruction:
    origin = writer.provenance(quote, f"frame/{fact.kind}", digest(question)[:8], None)
    passage = next(p for p in writer.document.passages if p.clause == fact.clause)
    return replace(make_instruction("fact", passage, question, quote.sentence, origin, scores), fact=fact.fact_id)
