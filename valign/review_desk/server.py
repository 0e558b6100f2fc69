"""The server of the page on which people review rows: hands them out, and keeps each decision before it confirms it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import to_dict
from valign.core.local_server import Conflict, LocalServer
from valign.core.records import Passage
from valign.documents.clauses import ClauseIndex
from valign.evaluation.leakage import question_overlap
from valign.review_desk.decision_file import DecisionFile
from valign.review_desk.doubts import Doubt, doubtful_first, find_doubts
from valign.synthesis.candidates import CONTRADICTIONS
from valign.synthesis.decisions import (
    ADD,
    D_PREF,
    D_SFT,
    DROP,
    EDIT,
    KEEP,
    QUESTION_SET,
    RowState,
    check_change,
    row_key,
)
from valign.synthesis.review_rows import ReviewRow, added_row, changeable

SHARED_WORDS = 6  # in a row in common with an evaluation question are too many, as in the filters
LARGEST_DECISION = 60_000  # bytes; four texts of the greatest length
NEW = (D_SFT, D_PREF, QUESTION_SET)
TRAINED = (D_SFT, D_PREF)


@dataclass(frozen=True)
class ReviewWork:
    """What is to be reviewed.

    Attributes:
        title: What the page says that it is.
        rows: The rows, of whatever sets.
        passages: The document's passages.
    """

    title: str
    rows: Sequence[ReviewRow]
    passages: Sequence[Passage]


class ReviewServer(LocalServer):
    """Serves the page on which a person reviews rows, on this machine alone.

    Attributes:
        work: What is reviewed.
        file: The decisions.
    """

    def __init__(self, work: ReviewWork, file: DecisionFile, port: int) -> None:
        """Open the port.

        Args:
            work: What is reviewed.
            file: Where decisions are kept.
            port: The port; 0 for any that is free.

        Raises:
            ValignError: The port is taken.
        """
        self.work, self.file = work, file
        self.index = ClauseIndex(work.passages)
        self.doubts = find_doubts(work.rows)
        self.rows = {row.key: row for row in doubtful_first(work.rows, self.doubts)}
        self._whole = threading.Lock()
        reading = {"rows": self._all, "changes": self._changes}
        super().__init__(
            _page(), port, reading, {"decide": self._decide, "add": self._add, "undo": self._undo}, LARGEST_DECISION
        )

    def progress(self) -> tuple[int, int, int]:
        """Return how many rows there are, how many a person has read, and how many decisions no longer apply."""
        with self._whole:
            self.file.refresh()
            states = self.file.states()
        read = sum(key in states for key in self.rows)
        return len(self.rows), read, sum(not self._applies(state) for state in states.values())

    def _all(self, _: Mapping[str, str]) -> dict[str, Any]:
        """Return everything that the page shows."""
        with self._whole:
            self.file.refresh()
            states = self.file.states()
            named = [clause for row in self.rows.values() for clause in row.clauses]
            ids = [*dict.fromkeys([*(p.clause for p in self.work.passages), *named])]
            return {
                "title": self.work.title,
                "reviewer": self.file.reviewer,
                "file": str(self.file.path),
                "rows": [_shown(row, self.doubts[row.key]) for row in self.rows.values()],
                "clauses": {clause: self._clause(clause) for clause in ids},
                "new": {name: list(changeable(name)) for name in NEW},
                "contradictions": list(CONTRADICTIONS),
                "stale": sum(not self._applies(state) for state in states.values()),
                **self._since(0),
            }

    def _changes(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return what was decided since, by this reviewer or others."""
        with self._whole:
            self.file.refresh()
            return self._since(int(query.get("since", "0")))

    def _decide(self, given: dict[str, Any]) -> dict[str, Any]:
        """Keep, drop or edit a row."""
        action, key, since = given["action"], given["key"], int(given.get("since", 0))
        if action not in (KEEP, DROP, EDIT):
            raise ValignError(f"'{action}' is no action; give {KEEP}, {DROP} or {EDIT}.")
        with self._whole:
            self.file.refresh()
            state = self.file.states().get(key)
            row = self.rows.get(key) or (added_row(state, self.index) if state and state.first else None)
            if row is None:
                raise ValignError("there is no such row; load the page again.")
            if (state.last if state else "") != given.get("seen", ""):
                who = state.readers[-1] if state else "somebody"
                raise Conflict(f"{who} decided about this row meanwhile; look at it once more.")
            change = self._change(row, given.get("change"), state) if action == EDIT else {}
            if action == EDIT and not change and state is None:
                action = KEEP  # nothing was changed, and nothing has to be changed back
            self.file.add(action, key, row.set, row.clauses[0], change)
            return self._since(since)

    def _add(self, given: dict[str, Any]) -> dict[str, Any]:
        """Add a row of a set about a clause."""
        name, clause = given["set"], given["clause"]
        if name not in NEW:
            raise ValignError(f"'{name}' takes no new rows; give one of: {', '.join(NEW)}.")
        if not isinstance(clause, str) or not self.index.text(clause):
            raise ValignError(f"the document has no clause '{clause}'; choose one of the list.")
        change = check_change(_only(given.get("change"), name))
        needed = ("question", "answer", "rejected", "rejected_kind") if name == D_PREF else ("question", "answer")
        if missing := [one for one in needed if not change.get(one)]:
            raise ValignError(f"{missing[0].replace('_', ' ')} is missing; a new row of {name} needs it.")
        texts = change["question"], change["answer"], change.get("rejected", "")
        key = row_key(name, self.index.text(clause), *texts)
        with self._whole:
            self.file.refresh()
            if key in self.rows or key in self.file.states():
                raise ValignError("this row is there already.")
            self._check(name, change)
            self.file.add(ADD, key, name, clause, change)
            return {**self._since(int(given.get("since", 0))), "key": key}

    def _undo(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take the reviewer's last decision back; ``key`` is that of its row, empty where there was none."""
        with self._whole:
            undone = self.file.undo()
            return {**self._since(int(given.get("since", 0))), "key": undone.key if undone else ""}

    def _change(self, row: ReviewRow, given: Any, state: RowState | None) -> dict[str, Any]:
        """Return what an edit changes of a row as synthesised, or as added."""
        values = check_change(_only(given, row.set))
        before = to_dict(row)
        change = {name: value for name, value in values.items() if value != _as_sent(before[name])}
        shown = {**before, **(state.change if state else {}), **values}
        if shown["rejected"] and shown["rejected"] == shown["answer"]:
            raise ValignError("answer and rejected answer are the same; change one of them.")
        self._check(row.set, change)
        return change

    def _check(self, name: str, change: Mapping[str, Any]) -> None:
        """Check a pair's kind, and that no question for training gives an evaluation question away, nor the other way.

        The build checks that by meaning, too; by words it can be said at once.
        """
        if (kind := change.get("rejected_kind")) and kind not in CONTRADICTIONS:
            raise ValignError(f"'{kind}' is no way to contradict a clause; give one of: {', '.join(CONTRADICTIONS)}.")
        if name not in TRAINED or "question" not in change:
            return
        asked = self._questions()
        if found := question_overlap(asked, [change["question"]], SHARED_WORDS)["questions"]:
            first = found[0]
            raise ValignError(
                f"the question shares '{first['shared']}' with the evaluation question '{first['question']}', which "
                "training may not give away; ask in other words."
            )

    def _questions(self) -> list[str]:
        """Return the evaluation questions as they stand."""
        states = self.file.states()
        own = [(row, states.get(row.key)) for row in self.rows.values() if row.set == QUESTION_SET]
        kept = [(row, state) for row, state in own if state is None or state.action != DROP]
        added = [state for state in states.values() if state.set == QUESTION_SET and state.action == ADD]
        return [
            *(str(state.change.get("question", row.question)) if state else row.question for row, state in kept),
            *(str(state.change["question"]) for state in added),
        ]

    def _since(self, count: int) -> dict[str, Any]:
        """Return the states of the rows about which something was decided after so many lines."""
        states = self.file.states()
        keys = dict.fromkeys(one.key for one in self.file.decisions[max(0, count) :])
        found: dict[str, Any] = {}
        for key in keys:
            state = states.get(key)
            if state is None:
                found[key] = None
            elif self._applies(state):
                added = added_row(state, self.index) if state.first else None
                row = {"row": _shown(added, Doubt(0.0, ()))} if added else {}
                found[key] = {**to_dict(state), **row}
        return {"since": len(self.file.decisions), "states": found}

    def _applies(self, state: RowState) -> bool:
        """Tell whether a decision is about a row that is here, or adds one whose clause is as it was."""
        return state.key in self.rows or bool(state.first and added_row(state, self.index))

    def _clause(self, clause: str) -> list[dict[str, Any]]:
        """Return the passages of a clause as the page shows them."""
        passages = [self.work.passages[i] for i in self.index.indices(clause)]
        return [
            {"clause": p.clause, "heading": " > ".join(p.heading), "text": p.text, "start": p.start} for p in passages
        ]


def _shown(row: ReviewRow, doubt: Doubt) -> dict[str, Any]:
    """Return a row as the page gets it."""
    return {**to_dict(row), "doubts": list(doubt.reasons), "changeable": list(changeable(row.set))}


def _only(given: Any, name: str) -> dict[str, Any]:
    """Return what a person wrote, as far as a set's rows have it."""
    if not isinstance(given, dict):
        raise ValignError("'change' must be a JSON object.")
    known = changeable(name)
    if unknown := [key for key in given if key not in known]:
        raise ValignError(f"'{unknown[0]}' cannot be changed in {name}; give some of: {', '.join(known)}.")
    return given


def _as_sent(value: Any) -> Any:
    """Return a row's value as the page sends it when nothing was changed: lists, texts without space around them."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n").strip()
    return [list(one) for one in value] if isinstance(value, tuple) else value


def _page() -> str:
    """Return the page with its style and script inside."""
    files = resources.files("valign.review_desk")
    page = files.joinpath("page.html").read_text(encoding="utf-8")
    for tag in ("style", "script"):
        own = files.joinpath("page.css" if tag == "style" else "page.js").read_text(encoding="utf-8")
        page = page.replace(f"<{tag}></{tag}>", f"<{tag}>\n{own}</{tag}>")
    return page
