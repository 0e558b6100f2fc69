"""The policy judge on the page: who it is, how far it can be trusted, and what it said of some answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.core.quotation import find_quote
from valign.core.records import Answer
from valign.evaluation.judging.policy_audit import (
    FEWEST_LABELS,
    QUESTIONS_SAY,
    PolicyAudit,
    Said,
    audit,
    judged_verdicts,
    people_s_verdicts,
    questions_verdicts,
)
from valign.evaluation.judging.policy_judgement import (
    COMPLIES,
    POLICY_VERDICTS,
    UNDECIDED,
    VIOLATES,
    PolicyJudgement,
)
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import ArmResult, Comparison, metric_named
from valign.reporting.numbers import count_noun, finite_number, format_number

MOST_SHOWN = {VIOLATES: 3, COMPLIES: 1, UNDECIDED: 1}  # examples of each arm
INSTEAD = ("verdict_accuracy", "verdict_preference", "contradiction", "faithfulness")
_FAULTS = {
    "unread": "replies that could not be read",
    "unverified": "quotes that are not in the clause word for word",
    "nothing said": "empty answers",
    "no clause": "clauses that the document does not have",
}


@dataclass(frozen=True)
class AuditRow:
    """Two who say of the same answers whether these follow their clause, for the page.

    Attributes:
        names: Both, by name.
        n: The answers.
        same: Agreement in percent.
        kappa: Cohen's kappa.
        ends: Its interval.
        remark: That the answers are too few, where they are.
        heads: Who stands in the confusion matrix's rows, and who in its columns.
        table: The matrix: each outcome of the first with the counts of the second's.
    """

    names: str
    n: int
    same: str
    kappa: str
    ends: str
    remark: str
    heads: tuple[str, str]
    table: list[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class JudgedAnswer:
    """One answer with what the policy judge says of it; the quote stands between ``before`` and ``behind``."""

    verdict: str
    clause: str
    question: str
    answer: str
    before: str
    quote: str
    behind: str
    note: str


@dataclass(frozen=True)
class PolicyView:
    """What the page says of the policy judge.

    Attributes:
        instead: What is measured where nobody judges, in a sentence; nothing where somebody does.
        outcomes: The columns of the confusion matrices.
        audits: How far it agrees with the questions' verdicts and with people.
        remark: What is lacking for an audit by people, if anything.
        examples: Some answers of each arm.
    """

    instead: str
    outcomes: tuple[str, ...]
    audits: list[AuditRow]
    remark: str
    examples: list[tuple[str, list[JudgedAnswer]]]


def policy_view(comparison: Comparison, clauses: Clauses) -> PolicyView:
    """Lay out the page's section."""
    if not any(result.policy for result in comparison.arms):
        rows = [_row(found) for found in policy_audits(comparison)] if comparison.answer_labels else []
        return PolicyView(_instead(comparison), POLICY_VERDICTS, rows, "", [])
    rows = [_row(found) for found in policy_audits(comparison)]
    examples = [(result.label, _examples(result, clauses)) for result in comparison.arms if result.policy]
    return PolicyView("", POLICY_VERDICTS, rows, _lacking(comparison), examples)


def policy_sentences(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say who judged single answers, and how many of its verdicts do not count.

    Args:
        parts: The part ``policy`` of the scores of each arm that has one.
    """
    judges = {str(part["judge"]["model"]): part["judge"] for part in parts if "judge" in part}
    found = []
    for model, judge in judges.items():
        own = [part for part in parts if part["judge"]["model"] == model]
        n = sum(int(part["metrics"]["policy_complies"]["n"]) for part in own)
        counts = {fault: sum(int(part["faults"].get(fault, 0)) for part in own) for fault in _FAULTS}
        said = ", ".join(f"{words} {counts[fault]}" for fault, words in _FAULTS.items() if counts[fault])
        faults = (
            f", {sum(counts.values())} count as undecided for a fault: {said}" if said else " no verdict is left out"
        )
        found.append(f"Policy judge: {judge['kind']} ({model}). Of {n} answers{faults}.")
        if judge.get("warning"):
            found.append(f"Warning: {judge['warning']}")
    return found


def policy_audits(comparison: Comparison) -> list[PolicyAudit]:
    """Compare the policy judges, the questions' own verdicts and people, over the answers that two of them judged."""
    said: dict[str, Said] = {}
    for result in comparison.arms:
        if result.policy:
            name = f"policy judge {result.scores.get('policy', {}).get('judge', {}).get('model', '')}".strip()
            said.setdefault(name, {}).update(judged_verdicts(result.answers, result.policy))
    answers = [answer for result in comparison.arms for answer in result.answers]
    if said or comparison.answer_labels:
        said[QUESTIONS_SAY] = questions_verdicts(answers)
    for rater, labels in people_s_verdicts(comparison.answer_labels, answers).items():
        said[f"{rater} (a person)"] = labels
    return audit(said)


def policy_lines(comparison: Comparison) -> list[str]:
    """Return the audit for a terminal."""
    rows = [_row(found) for found in policy_audits(comparison)]
    lines = [
        f"does the answer follow its clause? {row.names}: {row.same} of {count_noun(row.n, 'answer')} alike, "
        f"kappa {row.kappa}" + (f" [{row.ends}]" if row.ends else "") + (f"; {row.remark}" if row.remark else "")
        for row in rows
    ]
    lacking = _lacking(comparison) if any(result.policy for result in comparison.arms) else ""
    return [*lines, *([lacking] if lacking else [])]


def judged_note(judgement: PolicyJudgement | None) -> str:
    """Say in a line what the policy judge says of an answer; nothing where it was not asked."""
    if judgement is None:
        return ""
    if judgement.fault == "unverified":
        return f"{judgement.outcome} (it said {judgement.said}, by words that are not in the clause)"
    if judgement.fault:
        return f"{judgement.outcome} ({'no readable reply' if judgement.fault == 'unread' else judgement.fault})"
    words = " ".join(judgement.quote.split())
    return f"{judgement.outcome}, by \u201c{words}\u201d" if words else judgement.outcome


def _instead(comparison: Comparison) -> str:
    measured = [metric_named(name) for name in INSTEAD if name in comparison.metrics]
    named = ", ".join(f"{info.label[0].lower()}{info.label[1:]}" for info in measured) or "nothing of the kind"
    return (
        "No policy judge was asked whether each answer follows its clause (evaluation.policy_judge); measured instead, "
        f"by rules, embeddings and likelihoods: {named}."
    )


def _lacking(comparison: Comparison) -> str:
    """Say that people have labelled too little for an audit, where that is so."""
    answers = [answer for result in comparison.arms for answer in result.answers]
    most = max(map(len, people_s_verdicts(comparison.answer_labels, answers).values()), default=0)
    if most >= FEWEST_LABELS:
        return ""
    more = f"more than {count_noun(most, 'single answer')}" if most else "single answers"
    return (
        f"No person has labelled {more} yet; with {FEWEST_LABELS} or more it shows how far people agree with the "
        "policy judge: python -m valign.label runs=FOLDER task=policy."
    )


def _row(found: PolicyAudit) -> AuditRow:
    kappa = found.found.kappa
    ends = (
        f"{format_number(kappa.low, True)} to {format_number(kappa.high, True)}"
        if finite_number(kappa.low) is not None
        else ""
    )
    return AuditRow(
        f"{found.first}, {found.second}",
        kappa.n,
        f"{100 * found.found.same:.0f}%",
        format_number(finite_number(kappa.mean)),
        ends,
        f"too few to tell ({FEWEST_LABELS} are needed)" if found.is_small else "",
        (found.first, found.second),
        list(zip(POLICY_VERDICTS, found.found.table, strict=True)),
    )


def _examples(result: ArmResult, clauses: Clauses) -> list[JudgedAnswer]:
    """Return some of an arm's answers, those that violate their clause first."""
    answers = {answer.question_id: answer for answer in result.answers}
    shown = []
    for verdict, most in MOST_SHOWN.items():
        rows = [j for j in result.policy if j.outcome == verdict and j.question_id in answers]
        shown += [_judged(answers[j.question_id], j, clauses) for j in rows[:most]]
    return shown


def _judged(answer: Answer, judgement: PolicyJudgement, clauses: Clauses) -> JudgedAnswer:
    text = clauses.text(answer.clause)
    start, end = (judgement.quote and not judgement.fault and find_quote(judgement.quote, text)) or (0, 0)
    return JudgedAnswer(
        judgement.outcome,
        clauses.short(answer.clause),
        answer.question,
        answer.answer,
        text[:start],
        text[start:end],
        text[end:],
        judged_note(judgement) if end == start else "",
    )
