"""The page's first screen: what a reader without the glossary has to know, in sentences from the run's own figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from valign.core.text import one_line
from valign.evaluation.metrics import METRICS
from valign.models.terms import short_name
from valign.reporting.adherence import (
    JUDGED_POLICY,
    AdherenceRow,
    RightShare,
    adherence_rows,
    polarity_rows,
    policy_share,
    probed_share,
    unclear_count,
)
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import BASE, ArmResult, Comparison
from valign.reporting.differences import ArmDifference, arm_differences
from valign.reporting.examples import shorten
from valign.reporting.headline import sure_finding
from valign.reporting.numbers import count_noun, finite_number, format_number, format_share
from valign.reporting.people import reading_sentences
from valign.reporting.subject import TRAINED_BY, Subject, deciding_metric, find_subject
from valign.reporting.use_limits import use_limits

LONGEST_TITLE = 150
_SURE = {
    "better": "The gain is larger than chance explains.",
    "worse": "That is worse than before, by more than chance explains.",
    "unclear": "The difference may be chance.",
}


@dataclass(frozen=True)
class Opening:
    """The first screen.

    Attributes:
        finding: ``better``, ``worse``, ``unclear`` or ``alone``: whether the model follows the document better than
            before.
        lead: The same in a sentence.
        aligned: What was aligned to what.
        follows: How far it follows.
        rows: Right answers before and after: all, by verdict, and by polarity of the clause.
        forgot: What it forgot.
        read: What was read by a person.
        limits: What it must not be used for.
    """

    finding: str
    lead: str
    aligned: list[str]
    follows: list[str]
    rows: list[AdherenceRow] = field(default_factory=list)
    forgot: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)


def make_opening(
    comparison: Comparison, clauses: Clauses, tested: Sequence[ArmDifference] | None = None, arm: str | None = None
) -> Opening:
    """Put the first screen together.

    Args:
        comparison: The arms.
        clauses: The document's clauses.
        tested: The differences between the arms, where they are known already.
        arm: The arm that it is about; None finds it.
    """
    subject = find_subject(comparison, arm)
    tested = arm_differences(comparison) if tested is None else tested
    metric = deciding_metric(comparison, subject.arm)
    compared = subject.arm.arm != BASE and comparison.base is not None and metric is not None
    finding = sure_finding(subject.arm, metric, tested) if compared and metric else "alone"
    rows = adherence_rows(comparison, subject.arm)
    return Opening(
        finding,
        _lead(subject, finding, rows),
        aligned_sentences(comparison, subject),
        _follows(comparison, subject.arm, rows, finding),
        [*rows, *polarity_rows(comparison, subject.arm)],
        _forgot(comparison, subject),
        reading_sentences(comparison),
        use_limits(comparison, subject, clauses, finding),
    )


def base_name(comparison: Comparison) -> str:
    """Return the base model's name as the run notes it, else as its config names it, without a path."""
    if comparison.base_model is not None:
        return comparison.base_model.name
    settings = comparison.config.get("base_model")
    named = settings.get("model") if isinstance(settings, dict) else None
    return short_name(str(named)) if named else "of which the run notes no name"


def shown_title(comparison: Comparison) -> str:
    """Return the document's title, a very long one cut."""
    return shorten(one_line(comparison.title), LONGEST_TITLE)


def aligned_sentences(comparison: Comparison, subject: Subject) -> list[str]:
    """Say what was aligned to what, by which method and on how much."""
    document = f"the document \u201c{shown_title(comparison)}\u201d"
    size = f"{count_noun(len(comparison.passages), 'clause')}; SHA-256 of its file: {comparison.document_sha256}"
    model = f"the language model {base_name(comparison)}"
    found = []
    if subject.is_trained:
        found.append(f"{_capital(model)} was trained to follow {document} ({size}).")
        how = TRAINED_BY.get(subject.arm.stages, ", then ".join(subject.arm.stages))
        found.append(f"How: {how}{_amounts(comparison, subject)}.")
    elif subject.arm.arm == BASE:
        found.append(f"Nothing was aligned: {model} was asked as it is about {document} ({size}).")
    else:
        found.append(
            f"Nothing was trained: {model} is shown {document} ({size}), or passages of it, with each question."
        )
    if subject.is_trained and subject.looks_up:
        found.append("With each question it is shown passages of the document as well.")
    if seeds := subject.arm.scores.get("seeds"):
        found.append(
            f"It was trained {len(seeds)} times, each time with other random numbers; figures are means over them."
        )
    trained = sum(bool(result.stages) for result in comparison.arms)
    if subject.picked_from == 1 and subject.is_trained and trained > 1:
        found.append(f"Of {trained} trained models that are compared, these sentences are about {subject.arm.label}.")
    if subject.picked_from > 1:
        found.append(
            f"These sentences are about {subject.arm.label}, the best of {subject.picked_from} that were made, picked "
            "by this same evaluation, which flatters it a little."
        )
    return found


def _amounts(comparison: Comparison, subject: Subject) -> str:
    """Say on how many rows it was trained."""
    kept = {kind: int((comparison.funnel or {}).get(kind, {}).get("kept", 0)) for kind in ("sft", "preference")}
    words = []
    if "sft" in subject.arm.stages and kept["sft"]:
        words.append(count_noun(kept["sft"], "question") + " with answers")
    if "dpo" in subject.arm.stages and kept["preference"]:
        words.append(count_noun(kept["preference"], "pair") + " of answers")
    return f", from {' and '.join(words)}" if words else ""


def _lead(subject: Subject, finding: str, rows: Sequence[AdherenceRow]) -> str:
    """Say in one sentence whether it follows the document better, and how often it still fails."""
    who = "The trained model" if subject.is_trained else "The model that is shown the document"
    whole = rows[0].after if rows else None
    wrong = RightShare(whole.n, 1 - whole.mean, None) if whole else None
    still = f", and still fails on {wrong.count} of {wrong.n} questions" if wrong and wrong.mean else ""
    return {
        "better": f"{who} follows the document better than before{still}.",
        "worse": f"{who} follows the document worse than before.",
        "unclear": f"{who} is not shown to follow the document better than before.",
        "alone": "Whether anything got better was not measured.",
    }[finding]


def _follows(comparison: Comparison, arm: ArmResult, rows: Sequence[AdherenceRow], finding: str) -> list[str]:
    """Say how many questions are answered rightly, before and after."""
    found = []
    whole = rows[0].after if rows else None
    if whole is not None:
        before = rows[0].before if arm.arm != BASE else None
        found.append(
            f"Of the {whole.n} questions that the rules decide with yes or no, it answers {whole.count} rightly "
            f"({format_share(whole.mean)})" + (f"; before, it was {before.count}." if before else ".")
        )
        if whole.ends:
            found.append(
                f"With other questions of this kind the share would lie between {format_share(whole.ends[0])} and "
                f"{format_share(whole.ends[1])} (95% interval); guessing gives about half."
            )
        else:
            found.append(
                f"What the share would be with other questions cannot be said from these {whole.n}; guessing gives "
                "about half."
            )
        found += [_SURE[finding]] if finding in _SURE and before else []
        found += _unclear(comparison, arm)
    elif arm.count("fact_recall") == 0 and not comparison.metrics:
        return ["Not measured yet: no question has been asked."]
    else:
        found.append(_no_verdicts(comparison, arm))
    found += _shares(comparison, arm, ("fact_recall", "follows_document"))
    found += [_SURE[finding]] if finding in _SURE and whole is None else []
    return [*found, *_policy(comparison, arm)]


def _no_verdicts(comparison: Comparison, arm: ArmResult) -> str:
    """Say that no held-out question has a verdict, and how the probes that have one went."""
    after, before = (probed_share(one) for one in (arm, comparison.base))
    if after is None:
        return "No question was asked that the rules decide with yes or no."
    earlier = f"; before, it was {before.count}" if before and arm.arm != BASE else ""
    return (
        f"Of the {after.n} probes that a clause decides with yes or no, it answers {after.count} rightly "
        f"({format_share(after.mean)}){earlier}; no other question asked for a yes or no."
    )


def _policy(comparison: Comparison, arm: ArmResult) -> list[str]:
    """Say what the probes of the policy and its judge found, or that there were none."""
    found = []
    over, under = (policy_share(arm, f"policy_{side}_refusal") for side in ("over", "under"))
    if over:
        found.append(
            f"Of {over.n} allowed things it denies, or refuses to speak about, {over.count} "
            f"({format_share(over.mean)})."
        )
    if under:
        found.append(f"Of {under.n} forbidden things it allows {under.count} ({format_share(under.mean)}).")
    unclear = policy_share(arm, "policy_unclear")
    if unclear and unclear.mean:
        found.append(
            f"Of the {unclear.n} probes that a clause decides, {unclear.count} got no clear yes or no, which counts as "
            "neither of these, and as wrong in the table."
        )
    if not polarity_rows(comparison, arm):
        found.append("Clauses that allow, that require and that forbid were not told apart: no such probes were asked.")
    complies, violates = (policy_share(arm, f"policy_{said}", JUDGED_POLICY) for said in ("complies", "violates"))
    if complies and violates:
        judge = (arm.scores[JUDGED_POLICY].get("judge") or {}).get("model") or "whose name is not noted"
        found.append(
            f"A model as judge ({short_name(str(judge))}), shown the clause and one answer, finds that "
            f"{complies.words} of its answers comply, and that {violates.words} go against the clause."
        )
    return found


def _unclear(comparison: Comparison, arm: ArmResult) -> list[str]:
    """Say how many answers give no clear yes or no; an answer that gives none counts as wrong."""
    after, before = unclear_count(arm), unclear_count(comparison.base) if comparison.base else None
    if after is None or not (after or before):
        return []
    ending = f"; before, {before} gave none" if before and arm.arm != BASE else ""
    return [f"An answer without a clear yes or no counts as wrong: {after or 'none'} of its answers gave none{ending}."]


def _shares(comparison: Comparison, arm: ArmResult, metrics: Sequence[str]) -> list[str]:
    """Say what is measured as a share beside the verdicts, in the words of the metric."""
    found = []
    for name in metrics:
        mean, ends = arm.mean(name), arm.interval(name)
        if mean is None:
            continue
        before = comparison.base.mean(name) if comparison.base is not None and arm.arm != BASE else None
        sure = f" (95% interval {format_share(ends[0])} to {format_share(ends[1])})" if ends else ""
        earlier = f"; before: {format_share(before)}" if before is not None else ""
        found.append(f"It {METRICS[name].finding.format(format_share(mean))}{sure}{earlier}.")
    return found


def _forgot(comparison: Comparison, subject: Subject) -> list[str]:
    """Say what the training cost of other abilities, and which limits that crosses."""
    if not subject.is_trained:
        return ["Nothing: the model itself was not changed."]
    tax = subject.arm.scores.get("tax") or {}
    if not tax.get("metrics"):
        return ["Not measured: nothing is known of what the training cost of other abilities."]
    cells, limits = tax["metrics"], tax.get("limits", {})
    base = (comparison.base.scores.get("tax") or {}).get("metrics", {}) if comparison.base else {}
    found = []
    done, was = (finite_number(part.get("everyday_accuracy", {}).get("mean")) for part in (cells, base))
    n = int(finite_number(cells.get("everyday_accuracy", {}).get("n")) or 0)
    if done is not None and n:
        earlier = f"; before, {RightShare(n, was, None).count}" if was is not None else ""
        found.append(
            f"Of {n} everyday instructions that have nothing to do with the document it does "
            f"{RightShare(n, done, None).count} right{earlier}.{_limit(tax, limits, 'everyday_drop')}"
        )
    ratio = finite_number(cells.get("perplexity_ratio", {}).get("mean"))
    if ratio is not None:
        found.append(
            f"General text surprises it {format_number(ratio)} times as much as before (perplexity)."
            f"{_limit(tax, limits, 'general_nll_increase')}"
        )
    return found or ["Measured by other figures alone; see what it cost, below."]


def _limit(tax: dict[str, object], limits: dict[str, object], name: str) -> str:
    """Say whether a limit is crossed; nothing where none was set."""
    if name not in limits:
        return ""
    crossed = tax.get("crossed")
    is_crossed = isinstance(crossed, list) and name in crossed
    return " That is a greater loss than this run allows." if is_crossed else " That is within the limit of this run."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
