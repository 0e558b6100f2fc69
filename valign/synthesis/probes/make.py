"""Makes the probes of a policy: writes them, looks at each again, drops what is in doubt, and counts by kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from valign.core.records import Passage
from valign.core.text import refuses, words
from valign.evaluation.probes.kinds import POLICY_KINDS
from valign.evaluation.probes.policy import PolicyProbe, probe_fault
from valign.synthesis.filters import well_formed
from valign.synthesis.probes.by_rules import gaps_of_rules, probes_by_rules
from valign.synthesis.probes.second_look import COSINE_ONLY, look_again, measure_nearness
from valign.synthesis.probes.written import write_probes
from valign.synthesis.value_check import check_values
from valign.synthesis.writer import Writer
from valign.teachers.batch_round import stop_if_pending

UNFIT, FORM, TWICE = "not written, or unfit", "malformed", "asked twice"
BY_RULES = "rules"
NAMED_AT_MOST = 8  # clauses without a probe, in one line


@dataclass
class ProbeCounts:
    """How many probes of each kind were wanted and are kept, and why others were dropped.

    Attributes:
        by: Who wrote them.
        checked_by: Who looked at them again.
        wanted: By kind: one for each clause.
        kept: By kind.
        dropped: By kind and reason.
        without_value: Ids of clauses that carry no value and get none.
        gaps: What the rules cannot make, in words.
    """

    by: str
    checked_by: str
    wanted: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    without_value: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "by": self.by,
            "checked_by": self.checked_by,
            "wanted": dict(self.wanted),
            "kept": dict(self.kept),
            "dropped": {kind: dict(reasons) for kind, reasons in self.dropped.items()},
            "without_value": list(self.without_value),
            "gaps": list(self.gaps),
        }


def make_probes(
    writer: Writer, kinds: Sequence[str], max_clauses: int | None, by_teacher: bool, name: str
) -> tuple[list[PolicyProbe], ProbeCounts]:
    """Make probes of a document, at most one of each kind about each clause that carries a value.

    Args:
        writer: Writes with the teacher, which is not asked where rules make the probes.
        kinds: Kinds of probe.
        max_clauses: Clauses that are asked about, spread over the document; None for all.
        by_teacher: Whether the teacher is capable enough to write them.
        name: What tells a batch teacher's files from those of other stages.

    Returns:
        The probes that stay, and the counts.

    Raises:
        Pending: A batch has completions still to bring.
    """
    asked = [kind for kind in POLICY_KINDS if kind in kinds]
    if not by_teacher:
        return _make_by_rules(writer, asked, max_clauses)
    counts = ProbeCounts(writer.teacher.id, writer.teacher.id)
    check_values(writer)
    stop_if_pending(writer.rests_on, name)
    without = writer.without_value or frozenset()
    counts.without_value = tuple(sorted(without))
    passages = spread([p for p in writer.whole.passages if p.clause not in without], max_clauses)
    counts.wanted.update({kind: len(passages) for kind in asked})
    written = write_probes(writer, passages, asked)
    stop_if_pending(writer.rests_on, name)
    for kind in asked:
        lacking = len(passages) - sum(probe.kind == kind for probe in written)
        if lacking > 0:
            counts.dropped[kind][UNFIT] += lacking
    looked_at = look_again(writer, _well_formed(written, counts))
    stop_if_pending(writer.rests_on, name)
    return _keep(looked_at, counts), counts


def _make_by_rules(writer: Writer, kinds: Sequence[str], most: int | None) -> tuple[list[PolicyProbe], ProbeCounts]:
    """Make probes by rules, check their nearness, and say which kinds there are not."""
    counts = ProbeCounts(BY_RULES, COSINE_ONLY, gaps=tuple(gaps_of_rules(writer, kinds)))
    passages = spread(writer.whole.passages, most)
    made = probes_by_rules(writer, passages, kinds)
    counts.wanted.update({kind: sum(probe.kind == kind for probe in made) for kind in kinds})
    counts.gaps += (_clause_gap(passages, {probe.clause for probe in made}),)
    return _keep(measure_nearness(writer, _well_formed(made, counts)), counts), counts


def _clause_gap(passages: Sequence[Passage], covered: Collection[str]) -> str:
    """Say how many clauses rules make a probe of, and name those without one."""
    without = [passage.clause for passage in passages if passage.clause not in covered]
    have = f"{len(passages) - len(without)} of {len(passages)}"
    said = f"clauses: {have} have a sentence that rules can turn into a question"
    if not without:
        return said
    more = f" and {len(without) - NAMED_AT_MOST} more" if len(without) > NAMED_AT_MOST else ""
    return f"{said}; none: {', '.join(without[:NAMED_AT_MOST])}{more}; write your own on the page of valign.review"


def spread(passages: Sequence[Passage], most: int | None) -> list[Passage]:
    """Return so many passages, evenly spread over a document; all where there are no more."""
    if most is None or len(passages) <= most:
        return list(passages)
    return [passages[(2 * i + 1) * len(passages) // (2 * most)] for i in range(most)]


def _well_formed(probes: Sequence[PolicyProbe], counts: ProbeCounts) -> list[PolicyProbe]:
    """Drop what is no question, refuses, contradicts itself, or is asked twice."""
    kept: list[PolicyProbe] = []
    seen: set[tuple[str, ...]] = set()
    for probe in probes:
        own = words(probe.question)
        if not well_formed(probe.question) or refuses(probe.question) or probe_fault(probe):
            counts.dropped[probe.kind][FORM] += 1
        elif own in seen:
            counts.dropped[probe.kind][TWICE] += 1
        else:
            kept.append(probe)
        seen.add(own)
    return kept


def _keep(looked_at: Sequence[tuple[PolicyProbe, str]], counts: ProbeCounts) -> list[PolicyProbe]:
    """Return the probes on which the second look agrees; count both."""
    for probe, reason in looked_at:
        if reason:
            counts.dropped[probe.kind][reason] += 1
        else:
            counts.kept[probe.kind] += 1
    return [probe for probe, reason in looked_at if not reason]
