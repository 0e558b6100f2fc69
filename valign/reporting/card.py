"""The alignment card: what a model was aligned to, how, how well, and what it is not for, as Markdown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import valign
from valign.core.text import markdown
from valign.reporting.card_metadata import WHOLE_MODEL, card_form, front_matter, license_sentence
from valign.reporting.card_training import data_facts, training_facts
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import BASE, Comparison
from valign.reporting.coverage import audit_table, coverage_table, verdict_audit_table
from valign.reporting.differences import arm_differences, difference_sentences
from valign.reporting.known_failures import HALF, known_failures, probe_failures, weak_clauses
from valign.reporting.numbers import format_share
from valign.reporting.opening import base_name, make_opening, shown_title
from valign.reporting.people import writers
from valign.reporting.score_groups import score_groups
from valign.reporting.subject import Subject, find_subject
from valign.reporting.tax_and_probes import extra_tables
from valign.reporting.training_data import leak_sentence

_TEMPLATES = Path(__file__).parent / "templates"
_CARD = "card.md.j2"
MOST_CLAUSES = 15


@dataclass(frozen=True)
class EvidenceRow:
    """One measure of the card's table: before, after and their difference, in words."""

    label: str
    before: str
    after: str
    difference: str


def alignment_card(comparison: Comparison, arm: str | None = None, form: str | None = None) -> str:
    """Return the card: front matter for the hub, and text for people. The same comparison gives the same card.

    All texts are escaped: a document or an answer can bring in no markup, no link and no front matter. Of the
    config the card has what is listed in ``valign.reporting.card_training`` alone, and of a path the last part.

    Args:
        comparison: The arms; of them the card's own and base are told of.
        arm: The arm; None for the one that the page's first screen is about.
        form: ``adapter`` or ``model``, where the card lies beside one; None for what the run trained.
    """
    subject = find_subject(comparison, arm)
    named = [answer.clause for answer in subject.arm.answers]
    clauses = Clauses(comparison.passages, named)
    tested = arm_differences(comparison)
    two = replace(comparison, arms=[a for a in comparison.arms if a.arm in (BASE, subject.arm.arm)])
    form = form or (card_form(comparison) if subject.is_trained else WHOLE_MODEL)
    weak = weak_clauses(subject.arm)
    probe_faults, wrong_probes = probe_failures(subject.arm, clauses)
    context: dict[str, Any] = {
        "front": Written(front_matter(comparison, subject, form)),
        "title": shown_title(comparison),
        "comparison": comparison,
        "base_name": base_name(comparison),
        "base": comparison.base_model,
        "subject": subject,
        "opening": make_opening(comparison, clauses, tested, subject.arm.arm),
        "data": data_facts(comparison, subject),
        "writers": writers(comparison, subject.arm.data),
        "coverage": coverage_table(comparison, clauses),
        "audit": audit_table(comparison),
        "verdict_audit": verdict_audit_table(comparison),
        "leak": leak_sentence(comparison),
        "training": training_facts(comparison, subject),
        "evidence": _evidence(two, subject),
        "extras": extra_tables(two),
        "findings": difference_sentences(tested),
        "half": format_share(HALF),
        "weak": [(clauses.called(r.clause), format_share(r.right), r.questions) for r in weak[:MOST_CLAUSES]],
        "more_weak": max(0, len(weak) - MOST_CLAUSES),
        "failures": known_failures(subject.arm, clauses),
        "probe_failures": probe_faults,
        "wrong_probes": wrong_probes,
        "license": license_sentence(comparison.base_model),
        "version": valign.__version__,
    }
    return _environment().get_template(_CARD).render(context)


class Written(str):
    """Markdown that was written here and is not escaped again."""


def _shown(value: Any) -> str:
    """Return what an expression of the template shows: its text, in which no mark of Markdown means anything."""
    return value if isinstance(value, Written) else markdown(str(value))


def _environment() -> Environment:
    """Return a Jinja environment that escapes every expression for Markdown and fails on a name it does not know."""
    loader = FileSystemLoader(_TEMPLATES)
    return Environment(
        loader=loader,
        autoescape=False,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _evidence(two: Comparison, subject: Subject) -> list[EvidenceRow]:
    """Return the rows of the page's score table for base and the arm alone."""
    places = {result.arm: i for i, result in enumerate(two.arms)}
    before, after = places.get(BASE), places[subject.arm.arm]
    found = []
    for _, rows in score_groups(two):
        for row in rows:
            cell = row.cells[after]
            gaps = [gap for gap in cell.differences if gap.other == BASE]
            label = row.metric.label + (f" ({row.metric.direction})" if row.metric.direction else "")
            earlier = "" if before is None or before == after else _mean(row.cells[before].mean, row.cells[before].ends)
            found.append(
                EvidenceRow(
                    label, earlier, _mean(cell.mean, cell.ends), _mean(gaps[0].mean, gaps[0].ends) if gaps else ""
                )
            )
    return found


def _mean(mean: str, ends: str) -> str:
    return f"{mean} ({ends})" if ends else mean
