"""What people decide about rows of a data set: an append-only file of decisions, and what they come to.

A decision names its row by a key made of the clause's words and the row's own, as synthesised. It holds nothing of the
row but what a person changed, and applies wherever the same row is written about the same words again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valign.core.control_tokens import find_control_tokens
from valign.core.errors import ValignError
from valign.core.files import read_line
from valign.core.store import digest
from valign.core.whole_text import describe_absence

KEEP, DROP, EDIT, ADD, UNDO = "keep", "drop", "edit", "add", "undo"
ACTIONS = (KEEP, DROP, EDIT, ADD, UNDO)
D_SFT, D_PREF, QUESTION_SET, PROBE_SET = "D_sft", "D_pref", "questions", "probes"
CHANGEABLE = ("question", "answer", "rejected", "rejected_kind", "verdict", "facts")
LONGEST_TEXT = 4000  # characters of a question or an answer
LONGEST_REVIEWER = 80
_EMPTY = b" \t\r\0"  # zeros are what a power cut leaves of a block that was not written


@dataclass(frozen=True)
class Decision:
    """One line of the file: what somebody decided about a row.

    Attributes:
        action: ``keep``, ``drop``, ``edit``, ``add``, or ``undo``, which takes an earlier decision back.
        key: The row's key; see ``row_key``.
        reviewer: Who decided.
        at: When, in UTC (ISO 8601, to the microsecond).
        id: The decision's own name.
        set: ``D_sft``, ``D_pref``, ``questions`` or another set of rows, for whoever reads the file.
        clause: Id of the row's clause; of a row that is added it says which clause that is about.
        change: The new values of what differs from the row as synthesised, some of ``CHANGEABLE``; all of them for a
            row that is added.
        of: The decision that an ``undo`` takes back.
    """

    action: str
    key: str
    reviewer: str
    at: str
    id: str
    set: str = ""
    clause: str = ""
    change: dict[str, Any] = field(default_factory=dict)
    of: str = ""


@dataclass(frozen=True)
class RowState:
    """What all decisions about a row come to.

    Attributes:
        key: The row's key.
        set: Its set.
        clause: Its clause.
        action: ``keep``, ``drop`` or ``edit``; ``add`` for a row that is added and stays.
        reviewer: Who decided last.
        at: When.
        last: The id of that decision.
        change: What is changed of the row as synthesised; of a row that is added, all its texts.
        first: What a row that is added was at first, by which its key is made; empty for any other.
        readers: All who decided on it, in order.
    """

    key: str
    set: str
    clause: str
    action: str
    reviewer: str
    at: str
    last: str
    change: dict[str, Any]
    first: dict[str, Any]
    adder: str
    readers: tuple[str, ...]


@dataclass(frozen=True)
class ReviewFile:
    """A file of decisions, and what they come to for each row."""

    path: str
    states: Mapping[str, RowState]


def row_key(set: str, clause_text: str, question: str, answer: str, rejected: str = "") -> str:
    """Return the key by which decisions name a row: another one as soon as its clause or its own words change."""
    return digest([set, clause_text, question, answer, rejected])


def settle(decisions: Sequence[Decision]) -> dict[str, RowState]:
    """Return what the decisions come to, by the row's key.

    The latest counts; of two at the same time the one further down. A ``keep`` confirms the row as it was shown, with
    what had been edited by then. What is undone counts no more.
    """
    undone = {one.of for one in decisions if one.action == UNDO}
    by_key: dict[str, list[Decision]] = {}
    for one in decisions:
        if one.action != UNDO and one.id not in undone:
            by_key.setdefault(one.key, []).append(one)
    return {key: _settled(sorted(found, key=lambda one: one.at)) for key, found in by_key.items()}


def _settled(ordered: Sequence[Decision]) -> RowState:
    last = ordered[-1]
    first = next((one for one in ordered if one.action == ADD), None)
    edited = next((one for one in reversed(ordered) if one.action == EDIT), None)
    change = {**(first.change if first else {}), **(edited.change if edited else {})}
    action = DROP if last.action == DROP else ADD if first else EDIT if change else KEEP
    by = last if action in (DROP, KEEP) else edited or first or last
    readers = tuple(dict.fromkeys(one.reviewer for one in ordered))
    named = last.key, last.set, last.clause, action, by.reviewer, by.at, last.id, change
    return RowState(*named, first.change if first else {}, first.reviewer if first else "", readers)


def check_change(change: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a person changed, without white space around texts.

    Raises:
        ValignError: A key is unknown, a value has the wrong type, a text is empty, too long, or holds control
            characters or control tokens.
    """
    found: dict[str, Any] = {}
    for name, value in change.items():
        if name not in CHANGEABLE:
            raise ValignError(f"'{name}' cannot be changed; give some of: {', '.join(CHANGEABLE)}.")
        if name == "verdict":
            if value not in ("yes", "no", None):
                raise ValignError(f"verdict {value!r} is none; give yes, no, or null for a question without one.")
            found[name] = value
        elif name == "facts":
            found[name] = _checked_facts(value)
        else:
            found[name] = _checked_text(name, value)
    if "answer" in found and found["answer"] == found.get("rejected"):
        raise ValignError("answer and rejected answer are the same; change one of them.")
    return found


def check_reviewer(name: str) -> str:
    """Return a reviewer's name, on one line.

    Raises:
        ValignError: There is none, or it is too long or no plain text.
    """
    if not name.strip() or len(name) > LONGEST_REVIEWER or any(unicodedata.category(c)[0] == "C" for c in name):
        raise ValignError(f"reviewer={name!r} is no name; give one of at most {LONGEST_REVIEWER} characters.")
    return name.strip()


def _checked_text(name: str, value: Any) -> str:
    label = name.replace("rejected", "rejected answer").replace("answer_kind", "answer's kind")
    if not isinstance(value, str):
        raise ValignError(f"{label} must be text, not {type(value).__name__}.")
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text and name != "rejected_kind":
        raise ValignError(f"{label} is empty; write one.")
    if len(text) > LONGEST_TEXT:
        raise ValignError(f"{label} has {len(text)} characters; {LONGEST_TEXT} are the most.")
    if any(c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise ValignError(f"{label} holds control characters; remove them.")
    if tokens := find_control_tokens(text):
        raise ValignError(f"{label} holds {tokens[0]}, a control token of chat templates; write it in other words.")
    return text


def _checked_facts(value: Any) -> list[list[str]]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, list | tuple) and one for one in value):
        raise ValignError("facts must be a list of lists of accepted wordings.")
    return [[_checked_text("a fact", wording) for wording in one] for one in value]


def read_review(path: Path) -> ReviewFile:
    """Read a file of decisions and settle them.

    Raises:
        ValignError: It cannot be read, or a line of it is no decision.
    """
    if not path.is_file():
        raise ValignError(
            f"synthesis.review={path} {describe_absence(path)}; give a file that python -m valign.review wrote."
        )
    return ReviewFile(str(path.absolute()), settle(parse_decisions(path.read_bytes(), path)[0]))


def parse_decisions(raw: bytes, path: Path, before: int = 0) -> tuple[list[Decision], int]:
    """Return the decisions in a file's bytes, and how many of the bytes they take.

    What stands behind the last line end and is no decision was never confirmed to anybody: a power cut left it.

    Args:
        raw: The bytes, from the beginning of a line on.
        path: The file, for messages.
        before: Lines before these, for messages.

    Raises:
        ValignError: A line is no decision.
    """
    whole = raw.rfind(b"\n") + 1
    try:
        lines = raw[:whole].decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValignError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    found = [
        _decision(line, f"{path}, line {number}") for number, line in enumerate(lines, start=before + 1) if line.strip()
    ]
    if tail := raw[whole:].strip(_EMPTY):
        try:
            found.append(_decision(tail.decode(), f"{path}, last line"))
            whole = len(raw)
        except (ValignError, UnicodeDecodeError):
            if not tail.startswith(b"{"):
                raise ValignError(f"{path}: the last line is no decision; give a file of decisions alone.") from None
    return found, whole


def _decision(line: str, where: str) -> Decision:
    found = read_line(line, Decision, where)
    if found.action not in ACTIONS:
        raise ValignError(f"{where}: '{found.action}' is no action; there are: {', '.join(ACTIONS)}.")
    if not isinstance(found.change, dict):
        raise ValignError(f"{where}: 'change' must be a JSON object.")
    try:
        check_change(found.change)
    except ValignError as error:
        raise ValignError(f"{where}: {error}") from None
    return found
