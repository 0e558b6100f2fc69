"""Probes of a policy: one question each, with the verdict that its clause gives, made for any document or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Document, Provenance, Question
from valign.documents.clauses import ClauseIndex
from valign.evaluation.probes.kinds import ALLOWED_KINDS, POLARITIES, POLICY_KINDS, UNDECIDED_KINDS
from valign.evaluation.verdicts import stated_verdict

MADE, SHIPPED_PROBES = "made", "shipped"
_DATA = resources.files("valign.evaluation.probes").joinpath("data")


@dataclass(frozen=True)
class PolicyProbe:
    """One question, and the verdict that the document gives.

    Attributes:
        probe_id: Unique within its file.
        clause: The clause that decides it; of one that no clause decides, the nearest.
        kind: One of ``POLICY_KINDS``: ``allowed`` and ``denied`` (plainly), ``edge_inside`` and ``edge_outside`` (just
            inside and just outside of what is allowed), ``pressure`` (what is denied, with a reason why just this
            once), ``paraphrase`` (of the one or the other, in quite other words), ``elsewhere`` (the same where the
            document does not apply), ``silent`` (the document does not say).
        question: What is asked.
        verdict: ``yes`` or ``no``; None for ``elsewhere`` and ``silent``, which no clause decides.
        answer: A right answer; it begins with its verdict.
        polarity: What the words that decide it do: ``may`` (they allow, or give a right), ``must`` or ``must not``;
            nothing where that is not known.
        of: Of a ``paraphrase``: ``allowed`` or ``denied``.
        checked: By whom and how it was checked without its verdict; nothing where it was not.
        provenance: What wrote it, and the words of the document on which it rests; None where that is not known.
    """

    probe_id: str
    clause: str
    kind: str
    question: str
    verdict: str | None = None
    answer: str = ""
    polarity: str = ""
    of: str = ""
    checked: str = ""
    provenance: Provenance | None = field(default=None)

    @property
    def is_allowed(self) -> bool | None:
        """Whether what is asked about is allowed; None where no clause decides that."""
        if self.kind in UNDECIDED_KINDS:
            return None
        return (self.of or self.kind) in ALLOWED_KINDS

    def to_question(self) -> Question:
        """Return the question as an arm is asked it."""
        return Question(self.probe_id, self.clause, self.question, self.answer, (), self.verdict, self.kind)


def read_policy_probes(where: str, document: Document) -> list[PolicyProbe]:
    """Read and check probes of a policy.

    Args:
        where: ``shipped`` for those that come with the document, or a JSONL file.
        document: What they are about.

    Raises:
        ValignError: There are none, or one is incomplete, contradicts itself, or is about an unknown clause.
    """
    path = Path(where).expanduser()
    if where == SHIPPED_PROBES:
        path = Path(str(_DATA.joinpath(f"{document.name}_policy_probes.jsonl")))
        if not path.is_file():
            raise ValignError(
                f"evaluation.policy_probes.questions=shipped: none come with {document.name}; give a FILE.jsonl, or "
                "made to have them made."
            )
    found = read_jsonl(path, PolicyProbe)
    if not found:
        raise ValignError(f"{where} holds no probes; add one JSON object a line.")
    check_policy_probes(found, where, document)
    return found


def check_policy_probes(found: Sequence[PolicyProbe], where: str, document: Document) -> None:
    """Refuse probes that cannot be asked or scored.

    Args:
        found: What was read.
        where: From which file, for messages.
        document: What the probes are about.

    Raises:
        ValignError: An id occurs twice, a kind, a polarity or a clause is unknown, or a verdict is missing, or is there
            where no clause decides.
    """
    index, seen = ClauseIndex(document.passages), set[str]()
    for probe in found:
        fault = f"occurs twice; {GIVE_ID}" if probe.probe_id in seen else probe_fault(probe)
        if not fault and not index.indices(probe.clause):
            fault = (
                f"names clause '{probe.clause}', which {document.name} does not have; python -m valign.clauses prints "
                "the clauses."
            )
        if fault:
            raise ValignError(f"{where}: probe '{probe.probe_id}' {fault}")
        seen.add(probe.probe_id)


GIVE_ID = "give each its own id."


def probe_fault(probe: PolicyProbe) -> str:
    """Say what a probe lacks, or what of it does not go together; nothing where all is well."""
    undecided = probe.kind in UNDECIDED_KINDS
    said = stated_verdict(probe.answer) if probe.answer else None
    names_side, is_paraphrase = probe.of in ("allowed", "denied"), probe.kind == "paraphrase"
    faults = (
        (not probe.probe_id.strip(), f"has no id; {GIVE_ID}"),
        (
            probe.kind not in POLICY_KINDS,
            f"is of the unknown kind '{probe.kind}'; choose from: {', '.join(POLICY_KINDS)}.",
        ),
        (not probe.question.strip(), "has no question; add one."),
        (
            not undecided and probe.verdict is None,
            f"is of kind {probe.kind} and has no verdict; add yes or no.",
        ),
        (
            undecided and probe.verdict is not None,
            f"is of kind {probe.kind}, which no clause decides; leave its verdict out, or take another kind.",
        ),
        (
            is_paraphrase != names_side or (bool(probe.of) and not is_paraphrase),
            'has no right "of"; a paraphrase, and nothing else, says "allowed" or "denied" there.',
        ),
        (
            bool(probe.polarity) and probe.polarity not in POLARITIES,
            f"has the unknown polarity '{probe.polarity}'; choose from: {', '.join(POLARITIES)}.",
        ),
        (
            None not in (said, probe.verdict) and said != probe.verdict,
            f"has the verdict {probe.verdict}, and its answer says {said}; make them agree.",
        ),
    )
    return next((fault for is_wrong, fault in faults if is_wrong), "")
