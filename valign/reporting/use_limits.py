"""What a model must not be used for, as its own evidence says."""

from __future__ import annotations

from statistics import median

from valign.evaluation.metric_info import MetricInfo
from valign.evaluation.tax.scores import TAX_METRICS
from valign.reporting.adherence import VERDICT_METRIC, policy_share, probed_share, right_share
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import BASE, ArmResult, Comparison
from valign.reporting.headline import has_made_questions
from valign.reporting.known_failures import HALF, weak_clauses
from valign.reporting.numbers import count_noun, finite_number, format_share
from valign.reporting.people import judged_by_people, rows_read
from valign.reporting.subject import Subject, deciding_metric
from valign.reporting.tax_and_probes import crossed_limits

MOST_NAMED = 8
FEW_QUESTIONS = 5
"""With fewer on a clause, the figure of that clause is a hint alone."""


def use_limits(comparison: Comparison, subject: Subject, clauses: Clauses, finding: str) -> list[str]:
    """Return the limits, the gravest first.

    Args:
        comparison: The arms.
        subject: The arm in question.
        clauses: The document's clauses.
        finding: Whether it follows the document better than base: ``better``, ``worse``, ``unclear`` or ``alone``.
    """
    arm = subject.arm
    found = [
        *_unsupported(comparison, arm, finding),
        *_wrong_verdicts(comparison, arm),
        *_refusals(arm),
        *_clauses(comparison, arm, clauses),
        *_other_abilities(subject),
        *_people(comparison),
        *_evidence(comparison, arm),
    ]
    return [*found, "Not for anything but this document: nothing else was asked."]


def _unsupported(comparison: Comparison, arm: ArmResult, finding: str) -> list[str]:
    """Say where there is no evidence that the arm follows the document better than base."""
    metric = deciding_metric(comparison, arm)
    measure = _phrase(metric) if metric else "any measure"
    if finding == "unclear":
        return [
            f"Not as a model that follows the document: by {measure}, it is not shown to be better than the base model."
        ]
    if finding == "worse":
        return [f"Not as a model that follows the document: by {measure}, it is worse than the base model."]
    if finding == "alone" and arm.arm != BASE:
        return ["Not as a model that follows the document: it was not compared with the base model."]
    return []


def _phrase(metric: MetricInfo) -> str:
    return metric.label[:1].lower() + metric.label[1:]


def _wrong_verdicts(comparison: Comparison, arm: ArmResult) -> list[str]:
    share = right_share(comparison, arm, lambda row: True) if arm.mean(VERDICT_METRIC) is not None else None
    asked = "answers"
    if share is None:
        share, asked = probed_share(arm), "answers to probes"
    if share is None:
        return ["Not to decide a case: whether it says yes and no rightly was not measured."]
    wrong = (1 - share.mean) * share.n
    found = []
    if wrong > 0:
        about = "" if abs(wrong - round(wrong)) < 1e-6 else "about "
        found.append(
            f"Not to decide a case without a person who checks it: {about}{round(wrong)} of {share.n} {asked} have the "
            "wrong verdict, or none that is clear."
        )
    if asked == "answers" and not (share.ends and share.ends[0] > HALF):
        found.append(
            "Not for its yes or no alone: it is not shown to do better than guessing, which is right half of the time."
        )
    return found


def _refusals(arm: ArmResult) -> list[str]:
    """Say what probes of the policy found of things allowed and denied."""
    over, under = (policy_share(arm, f"policy_{side}_refusal") for side in ("over", "under"))
    found = []
    if under and under.mean:
        found.append(
            f"Not to keep out what the rules forbid: of {under.n} forbidden things it allows "
            f"{under.count} ({format_share(under.mean)})."
        )
    if over and over.mean:
        found.append(
            f"Not where a wrong refusal does harm: of {over.n} allowed things it denies, or refuses to "
            f"speak about, {over.count} ({format_share(over.mean)})."
        )
    return found


def _clauses(comparison: Comparison, arm: ArmResult, clauses: Clauses) -> list[str]:
    """Name the clauses of which less than half was right, and count those about which nothing was asked."""
    found = []
    weak = clauses.ordered(result.clause for result in weak_clauses(arm))
    if weak:
        found.append(
            f"Not on these clauses, where less than half of what was asked was right: {_named(weak, clauses)}."
        )
    asked = {passage.clause for answer in arm.answers for passage in clauses.below(answer.clause)}
    silent = [passage.clause for passage in clauses.passages if passage.clause not in asked]
    if arm.answers and silent:
        found.append(f"Not on these clauses, about which nothing was asked: {_named(silent, clauses)}.")
    return found


def _named(found: list[str], clauses: Clauses) -> str:
    names = [clauses.called(clause) for clause in found]
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _other_abilities(subject: Subject) -> list[str]:
    if not subject.is_trained:
        return []
    tax = subject.arm.scores.get("tax") or {}
    if not tax.get("metrics"):
        return ["Not as a general assistant: what the training cost of other abilities was not measured."]
    if crossed_limits("", tax, TAX_METRICS):
        return ["Not as a general assistant: it lost more of its other abilities than this run allows."]
    return []


def _people(comparison: Comparison) -> list[str]:
    if judged_by_people(comparison) or rows_read(comparison)[0]:
        return []
    done = "judged an answer" if comparison.funnel is None else "read the training data or judged an answer"
    return [f"Not where somebody has to answer for it: as far as this run notes, no person has {done}."]


def _evidence(comparison: Comparison, arm: ArmResult) -> list[str]:
    """Say how far the figures themselves carry."""
    found = []
    counts = [entry["n"] for entry in arm.scores.get("by_clause", {}).values() if finite_number(entry.get("n"))]
    if counts and median(counts) < FEW_QUESTIONS:
        spread = " to ".join(str(n) for n in dict.fromkeys((min(counts), max(counts))))
        most = count_noun(max(counts), "question").partition(" ")[2]
        verb = "is" if max(counts) == 1 else "are"
        found.append(f"Not for a statement on a single clause: {spread} {most} a clause {verb} a hint, no proof.")
    if has_made_questions(comparison):
        found.append(
            "Not as the last word: a model wrote the questions from the document, and questions of people may go worse."
        )
    rate = finite_number((comparison.leak or {}).get("rate"))
    if rate:
        found.append(
            f"Not as unseen evidence: {format_share(rate, 1)} of the questions repeat words of a training question."
        )
    if arm.stages and len(arm.scores.get("seeds", [])) < 2:
        found.append("Not for a statement on what another training would give: it was trained once.")
    return found
