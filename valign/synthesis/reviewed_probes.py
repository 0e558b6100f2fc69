"""People's decisions applied to probes of the policy: dropped ones are not asked, edited and added ones are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from valign.core.errors import ValignError
from valign.core.records import Provenance
from valign.documents.clauses import ClauseIndex
from valign.evaluation.probes.kinds import UNDECIDED_KINDS
from valign.evaluation.probes.policy import PolicyProbe, probe_fault
from valign.synthesis.dataset import Reviewed
from valign.synthesis.decisions import ADD, DROP, EDIT, PROBE_SET
from valign.synthesis.frames import ADDED_BY_PERSON
from valign.synthesis.review_rows import ReviewRow, added_probe_kind, probe_row
from valign.synthesis.reviewing import Review

OTHER_SIDE = {
    "allowed": "denied",
    "denied": "allowed",
    "edge_inside": "edge_outside",
    "edge_outside": "edge_inside",
    "paraphrase": "paraphrase",
}
"""What a probe of a kind is when its verdict turns out to be the other one."""


def review_probes(review: Review, probes: Sequence[PolicyProbe]) -> list[PolicyProbe]:
    """Return the probes after their review.

    Args:
        review: The decisions; what comes of them is noted there.
        probes: The probes as they were made.

    Raises:
        ValignError: One cannot be asked as it was edited.
    """
    found = []
    for probe in probes:
        row = probe_row(probe, review.index)
        state = review.state(row)
        if state is None:
            found.append(probe)
        elif state.action == DROP:
            review.note(state, "", row)
        else:
            is_edited = state.action == EDIT
            if is_edited and (fault := probe_edit_fault(row, state.change)):
                raise ValignError(f"{review.file}, probe '{probe.probe_id}' as {state.reviewer} edited it: {fault}")
            review.note(state, probe.probe_id, row if is_edited else None)
            found.append(changed_probe(probe, state.change, state.reviewer) if is_edited else probe)
    for state, row in review.added(PROBE_SET) if probes else ():
        if fault := added_probe_fault(state.change):
            raise ValignError(f"{review.file}, probe '{row.name}' as {state.reviewer} edited it: {fault}")
        review.note(state, row.name, None)
        found.append(added_probe(row.name, state.clause, state.change, row.teacher))
    return found


def mend_probes(
    probes: Sequence[PolicyProbe], reviewed: Sequence[Reviewed], index: ClauseIndex, with_added: bool = True
) -> tuple[list[PolicyProbe], dict[str, int]]:
    """Return probes with what was decided about them when the data were built.

    Args:
        probes: The probes as they were made, or as a user has them.
        reviewed: What came of all decisions.
        index: The document's clauses.
        with_added: Whether those that people added are asked, too.

    Returns:
        The probes that stay, and how many were ``read``, ``edited``, ``dropped`` and ``added``; nothing where none was.
    """
    known = {one.key: one for one in reviewed if one.set == PROBE_SET}
    found: list[PolicyProbe] = []
    counts: Counter[str] = Counter()
    for probe in probes:
        one = known.get(probe_row(probe, index).key)
        counts.update({"read": 1} if one else {})
        if one and one.action == DROP:
            counts["dropped"] += 1
        elif one and one.action == EDIT:
            counts["edited"] += 1
            found.append(changed_probe(probe, one.change, one.reviewer))
        else:
            found.append(probe)
    names = {probe.probe_id for probe in probes}
    for one in known.values() if with_added else ():
        if one.action == ADD and one.name and one.name not in names:
            counts["added"] += 1
            found.append(added_probe(one.name, one.clause, one.change, f"added by {one.readers[0]}"))
    return found, dict(counts)


def added_probe(name: str, clause: str, change: Mapping[str, Any], teacher: str) -> PolicyProbe:
    """Return a probe that a person added: its verdict makes it one of what is allowed, or denied.

    Args:
        name: Its id.
        clause: The clause that it is about.
        change: Its question, answer and verdict.
        teacher: Who wrote it, in words.
    """
    texts = change["question"], change.get("verdict"), change["answer"]
    origin = Provenance("", 0, 0, ADDED_BY_PERSON, "", teacher)
    return PolicyProbe(name, clause, added_probe_kind(change), *texts, checked=teacher, provenance=origin)


def added_probe_fault(change: Mapping[str, Any]) -> str:
    """Say why a probe that a person added cannot be asked; nothing where it can."""
    if change.get("verdict") is None:
        return "a new probe needs the verdict yes (the clause allows it) or no (it denies it)."
    fault = probe_fault(added_probe("new", "", change, ""))
    return f"this probe {fault}" if fault else ""


def changed_probe(probe: PolicyProbe, change: Mapping[str, Any], reviewer: str) -> PolicyProbe:
    """Return a probe with what a person changed; the other verdict makes it one of what is denied, or allowed."""
    verdict = change.get("verdict", probe.verdict)
    turned = verdict not in (probe.verdict, None)
    origin = probe.provenance
    return replace(
        probe,
        question=change.get("question", probe.question),
        answer=change.get("answer", probe.answer),
        verdict=verdict,
        kind=OTHER_SIDE.get(probe.kind, probe.kind) if turned else probe.kind,
        of=OTHER_SIDE.get(probe.of, "") if turned else probe.of,
        provenance=origin and replace(origin, teacher=f"{origin.teacher}; edited by {reviewer}"),
    )


def probe_edit_fault(row: ReviewRow, change: Mapping[str, Any]) -> str:
    """Say why a probe cannot be asked as a person changed it; nothing where it can.

    Args:
        row: The probe as it is reviewed.
        change: What is new of it.
    """
    verdict = change.get("verdict", row.verdict)
    if verdict is not None and row.kind in UNDECIDED_KINDS:
        return f"no clause decides a probe of kind {row.kind}, so that it has no verdict; drop it if one does."
    if verdict != row.verdict and verdict is not None and row.kind not in OTHER_SIDE:
        return f"a probe of kind {row.kind} is about what is denied; drop it if the clause allows it."
    side = ("allowed" if row.verdict == "yes" else "denied") if row.kind == "paraphrase" else ""
    named = row.name, row.clauses[0], row.kind, row.question, row.verdict, row.answer
    fault = probe_fault(changed_probe(PolicyProbe(*named, of=side), change, ""))
    return f"this probe {fault}" if fault else ""
