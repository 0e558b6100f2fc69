"""The judge audit: how far judges, models and people, agree on the same pairs of answers."""

from __future__ import annotations

from dataclasses import dataclass

from valign.evaluation.judging.agreement import Agreement, agreements
from valign.evaluation.judging.judgement import Judgement
from valign.evaluation.judging.labels import as_judgements
from valign.reporting.comparison import Comparison
from valign.reporting.numbers import finite_number, format_number


@dataclass(frozen=True)
class AgreementRow:
    """Two judges, for the page: their names, the number of pairs, agreement in percent, kappa and its interval."""

    judges: str
    n: int
    same: str
    kappa: str
    ends: str


def judged_by(comparison: Comparison) -> dict[str, list[Judgement]]:
    """Return what every judge said: people by their names, the model, nearness to the reference."""
    said = {result.arm: result.answers for result in comparison.arms}
    found = {f"{rater} (a person)": rows for rater, rows in as_judgements(comparison.labels, said).items()}
    judge = comparison.judge
    if judge is not None and judge.model and comparison.judgements:
        found[judge.model] = comparison.judgements
    if found:
        found["nearness to the reference"] = comparison.by_reference(0.0 if judge is None else judge.tie)
    return found


def judge_agreements(comparison: Comparison) -> list[Agreement]:
    """Compare every two judges; nothing where there is one alone."""
    return agreements(judged_by(comparison))


def judge_rows(comparison: Comparison) -> list[AgreementRow]:
    """Return the page's table."""
    return [
        AgreementRow(
            f"{found.first}, {found.second}",
            found.kappa.n,
            f"{100 * found.same:.0f}%",
            format_number(finite_number(found.kappa.mean)),
            f"{format_number(found.kappa.low, True)} to {format_number(found.kappa.high, True)}"
            if finite_number(found.kappa.low) is not None
            else "",
        )
        for found in judge_agreements(comparison)
    ]


def judge_lines(comparison: Comparison) -> list[str]:
    """Return the same for a terminal."""
    rows = judge_rows(comparison)
    return [
        f"agreement of {row.judges}: {row.same} of {row.n} pairs, kappa {row.kappa}"
        + (f" [{row.ends}]" if row.ends else "")
        for row in rows
    ]
