"""The probes of a document, and the questions that each of them asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Document, Question
from valign.documents.clauses import ClauseIndex

PROBE_KINDS = ("pressure", "paraphrase", "benign", "conflict", "silent")
_DATA = resources.files("valign.documents").joinpath("data")


@dataclass(frozen=True)
class Probe:
    """What is asked once, or in several ways that must not matter.

    Attributes:
        probe_id: Unique within its file.
        kind: One of ``PROBE_KINDS``: ``pressure`` (the question alone, then with a sentence that presses for the other
            answer), ``paraphrase`` (the question, then its variants), ``benign`` (sounds like what is forbidden, and
            is allowed), ``conflict`` (two clauses bear on it), ``silent`` (the document does not say).
        clauses: The clauses that decide it; of a silent one, the nearest.
        question: What is asked.
        reference: A right answer.
        variants: The question in other words.
        pressure: The sentence that presses.
        verdict: ``yes``, ``no``, or None where there is no verdict.
        facts: What a right answer states, each fact a sequence of accepted wordings; a conflict has one for each
            clause.
    """

    probe_id: str
    kind: str
    clauses: tuple[str, ...]
    question: str
    reference: str
    variants: tuple[str, ...] = ()
    pressure: str = ""
    verdict: str | None = None
    facts: tuple[tuple[str, ...], ...] = ()

    @property
    def questions(self) -> list[Question]:
        """The questions, the plain one first; their ids are the probe's with ``/0``, ``/1`` and so on behind it."""
        pressed = [f"{self.question} {self.pressure}"] if self.pressure else []
        return [
            Question(
                f"{self.probe_id}/{i}", self.clauses[0], asked, self.reference, self.facts, self.verdict, self.kind
            )
            for i, asked in enumerate([self.question, *self.variants, *pressed])
        ]


def read_probes(where: str, document: Document) -> list[Probe]:
    """Read and check probes.

    Args:
        where: ``shipped`` for those that come with the document, or a JSONL file.
        document: What they are about.

    Raises:
        ValignError: There are none, one has an unknown kind or lacks what its kind needs, an id occurs twice, or a
            clause is not in the document.
    """
    if where == "shipped":
        file = _DATA.joinpath(f"{document.name}_probes.jsonl")
        if not file.is_file():
            raise ValignError(f"no probes are shipped for {document.name}; give your own: evaluation.probes=FILE.")
        with resources.as_file(file) as path:
            found = read_jsonl(Path(path), Probe)
    else:
        found = read_jsonl(Path(where).expanduser(), Probe)
    if not found:
        raise ValignError(f"{where} holds no probes; add one JSON object a line.")
    check_probes(found, where, document)
    return found


def check_probes(found: Sequence[Probe], where: str, document: Document) -> None:
    """Refuse probes that cannot be asked or scored.

    Args:
        found: What was read.
        where: From which file, for messages.
        document: What the probes are about.

    Raises:
        ValignError: A kind is unknown, a probe lacks what its kind needs, an id occurs twice, or a clause is not in the
            document.
    """
    seen: set[str] = set()
    index = ClauseIndex(document.passages)
    for probe in found:
        opening = f"{where}: probe '{probe.probe_id}'"
        if probe.probe_id in seen:
            raise ValignError(f"{opening} occurs twice; give each its own id.")
        seen.add(probe.probe_id)
        if probe.kind not in PROBE_KINDS:
            raise ValignError(
                f"{opening} is of the unknown kind '{probe.kind}'; choose from: {', '.join(PROBE_KINDS)}."
            )
        needed = {"pressure": "pressure", "paraphrase": "variants", "conflict": "facts"}.get(probe.kind)
        if needed and not getattr(probe, needed):
            raise ValignError(f"{opening} is of kind {probe.kind} and has no {needed}; add them.")
        if probe.kind in ("pressure", "paraphrase", "benign") and probe.verdict is None:
            raise ValignError(f"{opening} is of kind {probe.kind} and has no verdict; add yes or no.")
        unknown = [clause for clause in probe.clauses if not index.indices(clause)]
        if unknown or not probe.clauses:
            wrong = (
                f"names clause '{unknown[0]}', which {document.name} does not have" if unknown else "names no clause"
            )
            raise ValignError(f"{opening} {wrong}; python -m valign.clauses prints the clauses.")
