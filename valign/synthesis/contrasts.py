"""Pairs of D_pref both of whose answers the teacher wrote, and the audit after which one kind is asked for again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from valign.core.records import Passage, Preference
from valign.synthesis.candidates import HELD_OUT, Candidate, drop_candidate, preferences_of
from valign.synthesis.contrast_checks import contrast_fault, keep_contradictions
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.reply_forms import CONTRASTS
from valign.synthesis.settings import PreferenceSettings
from valign.synthesis.shortcut_audit import WARN_ABOVE, audit_shortcuts
from valign.synthesis.structured import ask_contrasts
from valign.synthesis.writer import Writer

log = logging.getLogger(__name__)

AUDIT_TURN = 1000  # a plan that no round of topping up has
REPLACED = "told apart by its words, asked again"


def count_contrasts(settings: PreferenceSettings, count: int | None = None) -> int:
    """Return how many of a passage's situations get a rejected answer of the teacher's.

    By their shares, rounded: of six situations three where ``teacher`` and ``edit`` have equal shares.

    Args:
        settings: Have the shares.
        count: Situations of a passage; by default what the settings say.
    """
    count = settings.scenarios_per_passage if count is None else count
    shares = settings.rejected
    total = shares.teacher + shares.contradiction + shares.edit + shares.clause + shares.base
    return round(count * shares.teacher / total) if total else 0


def write_contrasts(
    writer: Writer,
    filters: Filters,
    funnel: Funnel,
    passages: Sequence[Passage] | None = None,
    turn: int = 0,
    count: int | None = None,
) -> list[Preference]:
    """Return the pairs that the teacher wrote and that every check let pass.

    Args:
        writer: Writes with the teacher.
        filters: The document's filters.
        funnel: Counts of D_pref, to which these pairs are added.
        passages: What the situations are about; by default the document's passages.
        turn: Number of the round; each has another plan.
        count: Situations of a passage; by default the teacher's share of what the settings say.
    """
    count = count_contrasts(writer.settings.preferences) if count is None else count
    if not count:
        return []
    shown = writer.document.passages if passages is None else passages
    candidates = ask_contrasts(writer, shown, turn, funnel, count)
    return preferences_of(keep_contradictions(candidates, writer, filters, funnel), writer, filters, funnel)


def check_given_pairs(
    candidates: Sequence[Candidate], writer: Writer, filters: Filters, funnel: Funnel
) -> list[Preference]:
    """Put given pairs through the checks of a teacher's pairs, but for those that are waived, and make rows of them.

    Args:
        candidates: Questions with two answers.
        writer: Has the document and the settings.
        filters: The filters of given pairs.
        funnel: Counts of D_pref; what is made, dropped and kept is added.
    """
    fit = []
    taught = {passage.clause for passage in writer.document.passages}
    for c in candidates:
        fault = "" if c.clause in taught else HELD_OUT
        if not fault and "contrast" not in filters.waived:
            fault = contrast_fault(c.verdict, c.answer, c.rejected, writer.document)
        if fault:
            funnel.made += 1
            drop_candidate(funnel, c, fault)
        else:
            fit.append(c)
    if "faithfulness" not in filters.waived:
        fit = keep_contradictions(fit, writer, filters, funnel)
    return preferences_of(fit, writer, filters, funnel)


def replace_worst_kind(
    writer: Writer, filters: Filters, funnel: Funnel, rows: Sequence[Preference]
) -> list[Preference]:
    """Return pairs in which the kind of rejected answer that its words give away most was asked for once more.

    That is the kind with the highest AUC in the shortcut audit, if it is above 0.8. Its clauses get as many situations
    of that kind with another plan, which forbids the words that gave it away. The new pairs take the place of the old
    ones where their AUC is lower.

    Args:
        writer: Writes with the teacher.
        filters: The document's filters.
        funnel: Counts of D_pref, which follow the exchange.
        rows: The pairs so far.
    """
    report = audit_shortcuts([row for row in rows if _is_contrast(row)], writer.seed)
    kinds = {kind: auc for kind, auc in report.get("kinds", {}).items() if auc is not None and auc > WARN_ABOVE}
    if not kinds:
        return list(rows)
    worst = max(kinds, key=lambda kind: (kinds[kind], kind))
    old = [row for row in rows if _is_contrast(row) and row.rejected_kind == worst]
    words = report["words"]["chosen"] + report["words"]["rejected"]
    new, counts = _ask_again(writer, filters, worst, old, [word for word in words if word not in ("yes", "no")])
    after = audit_shortcuts(new, writer.seed)["auc"]
    log.info("D_pref: rejected answers of kind %s asked again, AUC %.2f, now %s", worst, kinds[worst], after)
    if after is None or after >= kinds[worst]:
        for row in new:
            counts.take_back(row.clauses[0], row.rejected_kind, "asked again, no better")
        new, old = [], []
    for row in old:
        funnel.take_back(row.clauses[0], row.rejected_kind, REPLACED)
    funnel.add(counts)
    gone = {row.example_id for row in old}
    return [row for row in rows if row.example_id not in gone] + new


def _ask_again(
    writer: Writer, filters: Filters, kind: str, old: Sequence[Preference], avoided: Sequence[str]
) -> tuple[list[Preference], Funnel]:
    """Return pairs of one kind, as many as there were for each clause, without some words; and their own counts."""
    counts = Funnel()
    wanted = Counter(row.clauses[0] for row in old)
    by_count: dict[int, list[Passage]] = {}
    for passage in writer.document.passages:
        if wanted[passage.clause]:
            by_count.setdefault(wanted[passage.clause], []).append(passage)
    candidates = []
    for number, passages in sorted(by_count.items()):
        candidates += ask_contrasts(writer, passages, AUDIT_TURN, counts, number, avoided, (kind,))
    candidates = keep_contradictions(candidates, writer, filters, counts)
    return preferences_of(candidates, writer, filters, counts), counts


def _is_contrast(row: Preference) -> bool:
    return row.provenance.template == CONTRASTS.template
