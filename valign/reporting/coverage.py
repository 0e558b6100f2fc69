"""The page's view of the training data: items for each clause as a heat map, and the audits of pairs and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.reporting.clause_names import Clauses
from valign.reporting.colours import colour_step
from valign.reporting.comparison import Comparison
from valign.reporting.numbers import finite_number, format_number
from valign.reporting.training_data import written_data
from valign.synthesis.held_out_clauses import within_any

_COLUMNS = (
    ("sft", "D_sft", "min_instructions"),
    ("preference", "D_pref", "min_preferences"),
    ("facts", "Facts taught", ""),
    ("questions", "Questions", "min_questions"),
)


@dataclass(frozen=True)
class CoverageCell:
    """Items of one clause; ``step`` is the colour, ``short`` says that the contract asks for more.

    Of a clause that was held out of training the contract asks for no training data.
    """

    count: int
    step: int | None
    short: bool


@dataclass(frozen=True)
class CoverageColumn:
    """One kind of data; ``least`` is what the contract asks for, 0 for nothing."""

    title: str
    least: int
    most: int


@dataclass(frozen=True)
class CoverageTable:
    """Clauses by kinds of data; ``covered`` counts the clauses with training data."""

    columns: list[CoverageColumn]
    rows: list[tuple[str, list[CoverageCell]]]
    covered: int
    short: int


def coverage_table(comparison: Comparison, clauses: Clauses) -> CoverageTable | None:
    """Count examples, pairs and evaluation questions for each clause; None where the counts were not given."""
    if not comparison.funnel:
        return None
    counts = {kind: funnel.get("per_clause", {}) for kind, funnel in written_data(comparison).items()}
    counts["questions"] = _questions(comparison, clauses)
    known = {key: (title, least) for key, title, least in _COLUMNS}
    settings = comparison.config.get("synthesis")
    synthesis = settings if isinstance(settings, Mapping) else {}
    contract = synthesis.get("coverage") or {}
    held_out = tuple(synthesis.get("hold_out_clauses") or ())
    columns = []
    for kind, found in counts.items():
        title, key = known.get(kind, (kind, ""))
        most = max((int(n) for n in found.values()), default=0)
        columns.append(CoverageColumn(title, int(finite_number(contract.get(key)) or 0), most))
    ids = clauses.ordered([*(p.clause for p in clauses.passages), *(c for found in counts.values() for c in found)])
    rows = []
    for clause in ids:
        numbers = [int(found.get(clause, 0)) for found in counts.values()]
        exempt = [kind != "questions" and within_any(clause, held_out) for kind in counts]
        rows.append((clause, [_cell(*cell) for cell in zip(numbers, columns, exempt, strict=True)]))
    trained = sum(any(cell.count for cell in cells[:-1]) for _, cells in rows)
    return CoverageTable(columns, rows, trained, sum(any(cell.short for cell in cells) for _, cells in rows))


def _cell(count: int, column: CoverageColumn, exempt: bool) -> CoverageCell:
    step = colour_step(float(count), 0.0, float(column.most), True) if count else None
    return CoverageCell(count, step, count < column.least and not exempt)


def _questions(comparison: Comparison, clauses: Clauses) -> dict[str, int]:
    """Count the questions that were asked, each once, for every passage that they are about."""
    asked = {answer.question_id: answer.clause for result in comparison.arms for answer in result.answers}
    counts: dict[str, int] = {}
    for clause in asked.values():
        for name in [passage.clause for passage in clauses.below(clause)] or [clause]:
            counts[name] = counts.get(name, 0) + 1
    return counts


@dataclass(frozen=True)
class AuditTable:
    """An audit in words; ``rows`` are what was told apart, and how well."""

    sentence: str
    warning: str
    rows: list[tuple[str, str]]


def audit_table(comparison: Comparison) -> AuditTable | None:
    """Return the audit that was stored with D_pref, or None where there is none."""
    report, auc = _stored_audit(comparison, "preference")
    if not report:
        return None
    if auc is None:
        return AuditTable(f"Not measured: {report.get('reason', 'no reason was given')}.", "", [])
    rows = [("Length and words", auc), ("Length alone", report.get("length_auc"))]
    kinds = report.get("kinds")
    rows += [(f"Rejected answers of kind {kind}", value) for kind, value in _mapping(kinds).items()]
    return _audit(report, "an answer's side", ("chosen", "rejected"), rows)


def verdict_audit_table(comparison: Comparison) -> AuditTable | None:
    """Return the audit of verdicts that was stored with D_sft, or None where there is none."""
    report, auc = _stored_audit(comparison, "sft")
    if auc is None:
        return None
    rows = [("Length and words of the question", auc), ("Its length alone", report.get("length_auc"))]
    return _audit(report, "a verdict", ("yes", "no"), rows)


def _audit(report: Mapping[str, Any], what: str, sides: Sequence[str], rows: Sequence[tuple[str, Any]]) -> AuditTable:
    words = _mapping(report.get("words"))
    named = {side: _words(words.get(side)) for side in sides}
    found = [f"{side}: {', '.join(said)}" for side, said in named.items() if said]
    sentence = f"Words that speak most for {what}: {'; '.join(found)}." if found else ""
    shown = [(name, format_number(auc)) for name, value in rows if (auc := finite_number(value)) is not None]
    return AuditTable(sentence, str(report.get("cause") or ""), shown)


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return what a damaged run may have damaged: a mapping, empty where it is none."""
    return value if isinstance(value, Mapping) else {}


def _words(value: Any) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list | tuple) else []


def _stored_audit(comparison: Comparison, part: str) -> tuple[Mapping[str, Any], float | None]:
    """Return an audit as it was stored, empty where there is none, and its AUC, None where that is none."""
    report = _mapping(_mapping(_mapping(comparison.funnel).get(part)).get("audit"))
    return report, finite_number(report.get("auc"))
