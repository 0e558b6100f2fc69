"""Probes of a policy that a capable teacher writes, one structured call a clause."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from valign.core.records import Document, Passage, Provenance
from valign.core.store import digest
from valign.documents.clauses import labelled
from valign.evaluation.probes.kinds import ALLOWED_KINDS, POLARITIES, UNDECIDED_KINDS
from valign.evaluation.probes.policy import PolicyProbe
from valign.evaluation.verdicts import stated_verdict
from valign.synthesis.candidates import Candidate
from valign.synthesis.case_plans import ItemPlan
from valign.synthesis.languages.en.words import ENGLISH
from valign.synthesis.reply_forms import (
    EMPTY,
    NUMBERED,
    OTHER_VERDICT,
    STRING,
    Form,
    read_verdict,
    text_of,
    with_verdict,
)
from valign.synthesis.structured import ask_form
from valign.synthesis.writer import Writer

PARAPHRASE = "paraphrase"


def write_probes(writer: Writer, passages: Sequence[Passage], kinds: Sequence[str]) -> list[PolicyProbe]:
    """Let the teacher write one probe of each kind about each passage.

    Args:
        writer: Writes with the teacher.
        passages: The clauses.
        kinds: Kinds of probe.

    Returns:
        The probes that are fit in form, in the order of clauses and kinds.
    """
    planned = [(passage, plan_probes(writer, passage, kinds)) for passage in passages]
    title = writer.whole.title

    def show(passage: Passage) -> str:
        return f"({title}) {labelled(passage)}"

    found = ask_form(writer, PROBES, planned, show=show)
    by_clause = {passage.clause: passage for passage in passages}
    return [_probe(writer, candidate, by_clause[candidate.clause]) for candidate in found]


def plan_probes(writer: Writer, passage: Passage, kinds: Sequence[str]) -> list[ItemPlan]:
    """Plan one probe of each kind: its verdict follows from the kind; of a paraphrase it is drawn."""
    rng = writer.rng("probes", passage.text)
    words = writer.language if writer.language.code else ENGLISH
    drawn = rng.choice(("yes", "no"))
    verdicts = {kind: None if kind in UNDECIDED_KINDS else "yes" if kind in ALLOWED_KINDS else "no" for kind in kinds}
    verdicts |= {PARAPHRASE: drawn} if PARAPHRASE in kinds else {}
    askers, places = rng.sample(words.askers, len(words.askers)), rng.sample(words.places, len(words.places))
    return [
        ItemPlan(
            number=i + 1,
            kind=kind,
            asker=askers[i],
            place=places[i],
            verdict=verdict,
            said=writer.language.verdicts,
        )
        for i, (kind, verdict) in enumerate(verdicts.items())
    ]


def probe_id(document: str, clause: str, kind: str, question: str) -> str:
    """Return a probe's id, which follows from what it asks."""
    return f"{document}-probe-{digest([clause, kind, question])[:8]}"


def _probe(writer: Writer, c: Candidate, passage: Passage) -> PolicyProbe:
    quote = writer.quote(c.question, passage)
    drawn = dict(c.sampling)
    of = {"yes": "allowed", "no": "denied"}[c.verdict or "no"] if c.kind == PARAPHRASE else ""
    return PolicyProbe(
        probe_id(writer.whole.name, c.clause, c.kind, c.question),
        c.clause,
        c.kind,
        c.question,
        c.verdict,
        c.answer,
        (c.polarity or writer.language.probes.polarity_of(quote.sentence)) if c.verdict else "",
        of,
        provenance=Provenance(quote.text, quote.start, quote.end, c.template, c.template_hash, c.teacher, drawn),
    )


def _read_probe(item: Mapping[str, Any], plan: ItemPlan, raw: Candidate, document: Document) -> tuple[Candidate, str]:
    """Read a probe with its answer, and what the words that decide it do."""
    answer, verdict = text_of(item.get("answer")), read_verdict(item)
    polarity = text_of(item.get("polarity")).lower().replace("_", " ")
    answer = with_verdict(verdict, answer, plan)
    found = replace(
        raw, answer=answer, verdict=verdict, polarity=polarity if polarity in POLARITIES and plan.verdict else ""
    )
    if not answer:
        return found, EMPTY
    if verdict != plan.verdict or (verdict and stated_verdict(answer) not in (verdict, None)):
        return found, OTHER_VERDICT
    return found, ""


POLARITY_FIELD: dict[str, Any] = {"type": "string", "enum": [*POLARITIES, "none"]}
PROBES = Form("probes", "probes", {**NUMBERED, "polarity": POLARITY_FIELD, "answer": STRING}, 160, _read_probe)
