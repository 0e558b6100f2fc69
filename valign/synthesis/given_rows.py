"""Given rows: questions with answers from a file, by hand, from another generator or from a recording."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Document
from valign.generation.thoughts import without_thoughts
from valign.synthesis.candidates import CONTRADICTIONS, Candidate
from valign.synthesis.frames import FROM_FILE, SILENT

log = logging.getLogger(__name__)

SHIPPED_ROWS = resources.files("valign.synthesis").joinpath("data")


@dataclass(frozen=True)
class GivenRow:
    """A line of a file of given rows.

    Attributes:
        clause: Id of the clause that decides the question.
        question: What the user says.
        answer: The faithful answer; nothing where ``kind`` is ``silent``, whose answer says that the document is.
        verdict: ``yes``, ``no``, or None where the question has no verdict.
        kind: Kind of question.
        rejected: An answer that contradicts the clause; a row with one is for D_pref, one without for D_sft.
        rejected_kind: How it contradicts; see ``CONTRADICTIONS``.
        teacher: Who wrote the row, where that is known.
    """

    clause: str
    question: str
    answer: str = ""
    verdict: str | None = None
    kind: str = "given"
    rejected: str = ""
    rejected_kind: str = ""
    teacher: str = ""


def read_given_rows(where: str, document: Document) -> list[Candidate]:
    """Read given rows and check that they are about a document.

    Args:
        where: A ``.jsonl`` file, each line a ``GivenRow``, or ``shipped`` for the rows that come with the document.
        document: The document.

    Raises:
        ValignError: The file cannot be read, has no row, or a row of it is incomplete or about an unknown clause.
    """
    path = _shipped_file(document.name) if where == "shipped" else Path(where).expanduser()
    rows = read_jsonl(path, GivenRow)
    if not rows:
        raise ValignError(f"synthesis.rows={where} holds no rows; add one JSON object a line.")
    clauses = [passage.clause for passage in document.passages]
    known = set(clauses)
    for number, row in enumerate(rows, start=1):
        wrong = _fault(row)
        if row.clause not in known:
            near = get_close_matches(row.clause, clauses, 1, 0.0)[0]
            wrong = f"names clause '{row.clause}', which {document.name} does not have; the nearest is '{near}'."
        if wrong:
            raise ValignError(f"{path}: row {number} ({row.question[:60]!r}) {wrong}")
    _warn_of_thoughts(path, rows)
    return [_candidate(row, path.name) for row in rows]


def _fault(row: GivenRow) -> str | None:
    """Say what a row lacks, or what of it does not go together."""
    if not row.question.strip():
        return "has no question; add one."
    for text in (row.answer, row.rejected):
        if (visible := without_thoughts(text)).has_thoughts and (visible.is_open or not visible.text):
            return "has an answer that is a thought and nothing else, or breaks off in one; mend or delete the row."
    if not row.answer.strip() and row.kind != SILENT:
        return 'has no answer; add one, or "kind": "silent" where the document does not say.'
    if row.rejected.strip() and row.rejected_kind not in CONTRADICTIONS:
        known = ", ".join(CONTRADICTIONS)
        given = f"has an unknown rejected_kind '{row.rejected_kind}'" if row.rejected_kind else "needs rejected_kind"
        return f"{given}; say how its rejected answer contradicts the clause: {known}."
    if row.rejected and without_thoughts(row.rejected.strip()).text == without_thoughts(row.answer.strip()).text:
        return "has the same answer as chosen and as rejected."
    return None


def _warn_of_thoughts(path: Path, rows: Sequence[GivenRow]) -> None:
    """Say how many answers hold thoughts of the model that wrote them, which are taken off."""
    thought = sum(without_thoughts(text).has_thoughts for row in rows for text in (row.answer, row.rejected))
    if thought:
        log.warning("%s: %d answers hold thoughts of the model that wrote them; they are taken off", path, thought)


def _candidate(row: GivenRow, file: str) -> Candidate:
    return Candidate(
        clause=row.clause,
        kind=row.kind,
        question=row.question.strip(),
        answer=without_thoughts(row.answer.strip()).text,
        verdict=row.verdict,
        rejected=without_thoughts(row.rejected.strip()).text,
        rejected_kind=row.rejected_kind,
        teacher=f"{FROM_FILE}: {row.teacher}" if row.teacher else FROM_FILE,
        template=f"{FROM_FILE}/{file}",
    )


def _shipped_file(name: str) -> Path:
    file = SHIPPED_ROWS.joinpath(f"{name}_rows.jsonl")
    if not file.is_file():
        raise ValignError(
            f"synthesis.rows=shipped: no rows come with the document {name}; give synthesis.rows=FILE.jsonl, or null."
        )
    return Path(str(file))
