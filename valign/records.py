"""The shapes of the data and their JSONL form: one frozen dataclass for each kind of row."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast

from valign.errors import ValignError


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class Passage:
    """One clause of a document.

    Attributes:
        clause: Stable id, for example ``udhr/article-14/2``.
        heading: Headings from the document's title down to the clause.
        text: The clause, word for word: ``document.text[start:end]``.
        start: Offset of the first character in the document's text.
        end: Offset behind the last character.
        page: Page number counted from 1, where the format has pages.
    """

    clause: str
    heading: tuple[str, ...]
    text: str
    start: int
    end: int
    page: int | None = None


@dataclass(frozen=True)
class Document:
    """A document that states values, and its passages in reading order."""

    name: str
    title: str
    text: str
    sha256: str
    passages: tuple[Passage, ...]


@dataclass(frozen=True)
class Provenance:
    """Where an example came from.

    Attributes:
        quote: Words of the document on which the answer rests.
        start: Offset of the quote's first character in the document's text.
        end: Offset behind its last character.
        template: Id of the prompt template.
        template_hash: SHA-256 (first 16 hex digits) of the template's text.
        teacher: Id of the model that wrote it.
        sampling: Sampling settings of the call.
    """

    quote: str
    start: int
    end: int
    template: str
    template_hash: str
    teacher: str
    sampling: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fact:
    """One thing that a clause states and an answer may get wrong.

    Attributes:
        fact_id: Follows from the clause, the kind and the words.
        clause: Id of the clause.
        kind: ``number``, ``name``, ``detail``, ``condition``, ``exception``, ``consequence`` or ``norm``.
        text: The words: ``document.text[start:end]``.
        start: Offset of the first character in the document's text.
        end: Offset behind the last character.
        who: Whom a norm concerns, or what brings a consequence about.
        force: ``right``, ``duty`` or ``ban`` for a norm, else nothing.
    """

    fact_id: str
    clause: str
    kind: str
    text: str
    start: int
    end: int
    who: str = ""
    force: str = ""


@dataclass(frozen=True)
class Instruction:
    """A row of D_sft: a question and an answer that is faithful to its clauses.

    ``fact`` is the id of the fact that the row teaches, if it was written for one; ``family`` names the row's scenario
    family: clause, kind of question, and the question's first words.
    """

    example_id: str
    clauses: tuple[str, ...]
    kind: str
    question: str
    answer: str
    provenance: Provenance
    filters: dict[str, float] = field(default_factory=dict)
    fact: str = ""
    family: str = ""


@dataclass(frozen=True)
class Preference:
    """A row of D_pref: a situation, a faithful answer and one that is not.

    ``rejected_kind`` says how the rejected answer came about, ``family`` names the row's scenario family.
    """

    example_id: str
    clauses: tuple[str, ...]
    kind: str
    question: str
    chosen: str
    rejected: str
    rejected_kind: str
    provenance: Provenance
    filters: dict[str, float] = field(default_factory=dict)
    family: str = ""


@dataclass(frozen=True)
class Original:
    """What another version of a clause says, which the document contradicts.

    Attributes:
        facts: What an answer by that version says, each fact a tuple of accepted wordings.
        verdict: Its ``yes`` or ``no``, or None where it has none.
    """

    facts: tuple[tuple[str, ...], ...] = ()
    verdict: str | None = None


@dataclass(frozen=True)
class Question:
    """An evaluation question that no training example came from.

    Attributes:
        question_id: Unique within its file.
        clause: Id of the clause that decides it.
        question: What the person asks.
        reference: A correct answer.
        facts: What an answer must say; each fact is a tuple of accepted wordings.
        verdict: ``yes``, ``no``, or None where the question has no verdict.
        kind: Kind of question, for example ``situation``.
        family: Scenario family of a question that was made; no training example is of the same.
        original: What the version that pre-training knows would have an answer say, where the document differs.
    """

    question_id: str
    clause: str
    question: str
    reference: str
    facts: tuple[tuple[str, ...], ...] = ()
    verdict: str | None = None
    kind: str = "situation"
    family: str = ""
    original: Original | None = None


@dataclass(frozen=True)
class Answer:
    """What one arm answered to one question, with the clauses it was shown (RAG)."""

    question_id: str
    clause: str
    question: str
    reference: str
    answer: str
    arm: str
    facts: tuple[tuple[str, ...], ...] = ()
    verdict: str | None = None
    kind: str = "situation"
    retrieved: tuple[str, ...] = ()
    tokens: int = 0
    finished: bool = True
    original: Original | None = None


Row = TypeVar("Row")


def to_dict(row: Any) -> dict[str, Any]:
    """Return the row as plain dictionaries and tuples, ready for JSON."""
    return dataclasses.asdict(row)


def from_dict(kind: type[Row], data: Mapping[str, Any], where: str = "") -> Row:
    """Build a row from its JSON form.

    Args:
        kind: The record's class.
        data: The decoded JSON object; keys that the record does not have are an error.
        where: File and line, for the message.

    Raises:
        ValignError: A key is missing or unknown, or a value has the wrong type.
    """
    fields = {f.name: f for f in dataclasses.fields(cast(Any, kind))}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ValignError(f"{where}: unknown key '{unknown[0]}'; a {kind.__name__} has: {', '.join(fields)}.")
    required = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [n for n in required if n not in data]
    if missing:
        raise ValignError(f"{where}: key '{missing[0]}' is missing; add it ({kind.__name__} needs {required}).")
    values = {name: _typed(name, fields[name].type, value, where) for name, value in data.items()}
    return kind(**values)


def _typed(name: str, annotation: Any, value: Any, where: str) -> Any:
    """Check one JSON value against the field's annotation and return it in the record's type."""
    expected = str(annotation)
    if expected in ("Provenance", "Original | None"):
        if value is None and expected != "Provenance":
            return None
        if not isinstance(value, Mapping):
            raise ValignError(f"{where}: '{name}' must be a JSON object, not {type(value).__name__}.")
        place = f"{where}, {name}"
        return from_dict(Provenance, value, place) if expected == "Provenance" else from_dict(Original, value, place)
    if expected == "int" and (isinstance(value, bool) or not isinstance(value, int)):
        raise ValignError(f"{where}: '{name}' must be a whole number, not {type(value).__name__}.")
    if expected == "str" and not isinstance(value, str):
        raise ValignError(f"{where}: '{name}' must be text, not {type(value).__name__}; put it in quotes.")
    if expected == "tuple[str, ...]":
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            raise ValignError(f"{where}: '{name}' must be a list of texts.")
        return tuple(value)
    if expected == "tuple[tuple[str, ...], ...]":
        if not isinstance(value, list | tuple) or not all(isinstance(v, list | tuple) and v for v in value):
            raise ValignError(f"{where}: '{name}' must be a list of lists of accepted wordings.")
        return tuple(tuple(str(w) for w in v) for v in value)
    if name == "verdict" and value not in ("yes", "no", None):
        raise ValignError(f'{where}: \'verdict\' must be "yes", "no" or null, not {value!r}.')
    return value


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write rows to a file in one step (a reader never sees half of it); return their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    count = 0
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            data = row if isinstance(row, dict) else to_dict(row)
            file.write(json.dumps(data, ensure_ascii=False) + "\n")
            count += 1
    os.replace(part, path)
    return count


def read_jsonl(path: Path, kind: type[Row]) -> list[Row]:
    """Read a JSONL file of one kind of record.

    Raises:
        ValignError: The file is missing, not UTF-8, or a line is not such a record; the line is named.
    """
    if path.is_dir():
        raise ValignError(f"{path} is a folder, not a JSONL file; give the path of the file itself.")
    if not path.is_file():
        raise ValignError(f"{path} does not exist; check the path.")
    rows: list[Row] = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # other ends of lines may stand in a text
    except UnicodeDecodeError as error:
        raise ValignError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValignError(f"{where}: not JSON ({error.msg} at column {error.colno}); mend the line.") from None
        if not isinstance(data, dict):
            raise ValignError(f"{where}: a JSON object is expected, not {type(data).__name__}.")
        rows.append(from_dict(kind, data, where))
    return rows
