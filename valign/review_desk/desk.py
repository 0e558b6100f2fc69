"""What a review does: hands rows out, and keeps each decision before it says that it was made."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import to_dict
from valign.core.local_server import Conflict
from valign.core.records import Passage
from valign.documents.clauses import ClauseIndex
from valign.review_desk.decision_file import DecisionFile
from valign.review_desk.doubts import Doubt, doubtful_first, find_doubts
from valign.review_desk.edits import NEEDED, check_edit, check_verdict, make_change, only_changeable
from valign.synthesis.candidates import CONTRADICTIONS
from valign.synthesis.decisions import ADD, DROP, EDIT, KEEP, PROBE_SET, QUESTION_SET, RowState, check_change, row_key
from valign.synthesis.review_rows import ReviewRow, added_row, changeable
from valign.synthesis.reviewed_probes import added_probe_fault

NO_PROBES = "No probes were made beside these data; make both with evaluation.policy_probes.questions=made."


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


class ReviewDesk:
    """The rows of a review, and the decisions about them.

    Attributes:
        work: What is reviewed.
        file: The decisions.
        rows: The rows by their keys, the most doubtful first.
    """

    def __init__(self, work: ReviewWork, file: DecisionFile) -> None:
        """Lay the rows out.

        Args:
            work: What is reviewed.
            file: Where decisions are kept.
        """
        self.work, self.file = work, file
        self._index = ClauseIndex(work.passages)
        self._doubts = find_doubts(work.rows)
        self.rows = {row.key: row for row in doubtful_first(work.rows, self._doubts)}
        self._whole = threading.Lock()

    def progress(self) -> tuple[int, int, int]:
        """Return how many rows there are, how many a person has read, and how many decisions no longer apply."""
        with self._whole:
            self.file.refresh()
            states = self.file.states()
        read = sum(key in states for key in self.rows)
        return len(self.rows), read, sum(not self._applies(state) for state in states.values())

    def everything(self, _: Mapping[str, str]) -> dict[str, Any]:
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
                "rows": [_shown(row, self._doubts[row.key]) for row in self.rows.values()],
                "clauses": {clause: self._clause(clause) for clause in ids},
                "new": {name: list(changeable(name)) for name in self._takes_new()},
                "contradictions": list(CONTRADICTIONS),
                "stale": sum(not self._applies(state) for state in states.values()),
                **self._since(0),
            }

    def changes(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return what was decided since, by this reviewer or others."""
        with self._whole:
            self.file.refresh()
            return self._since(_place(query))

    def decide(self, given: dict[str, Any]) -> dict[str, Any]:
        """Keep, drop or edit a row."""
        action, key, since = given["action"], given["key"], _place(given)
        if action not in (KEEP, DROP, EDIT):
            raise ValignError(f"'{action}' is no action; give {KEEP}, {DROP} or {EDIT}.")
        with self._whole:
            self.file.refresh()
            state = self.file.states().get(key)
            row = self.rows.get(key) or (added_row(state, self._index) if state and state.first else None)
            if row is None:
                raise ValignError("there is no such row; load the page again.")
            if (state.last if state else "") != given.get("seen", ""):
                who = state.readers[-1] if state else "somebody"
                raise Conflict(f"{who} decided about this row meanwhile; look at it once more.")
            change = {}
            if action == EDIT:
                change = make_change(row, given.get("change"), state)
                check_edit(row.set, change, self._questions())
            if action == EDIT and not change and state is None:
                action = KEEP  # nothing was changed, and nothing has to be changed back
            self.file.add(action, key, row.set, row.clauses[0], change)
            return self._since(since)

    def add(self, given: dict[str, Any]) -> dict[str, Any]:
        """Add a row of a set about a clause."""
        name, clause = given["set"], given["clause"]
        if name not in self._takes_new():
            hint = f" {NO_PROBES}" if name == PROBE_SET else ""
            raise ValignError(f"'{name}' takes no new rows; give one of: {', '.join(self._takes_new())}.{hint}")
        if not isinstance(clause, str) or not self._index.text(clause):
            raise ValignError(f"the document has no clause '{clause}'; choose one of the list.")
        change = check_change(only_changeable(given.get("change"), name))
        if missing := [one for one in NEEDED[name] if not change.get(one)]:
            raise ValignError(f"{missing[0].replace('_', ' ')} is missing; a new row of {name} needs it.")
        texts = change["question"], change["answer"], change.get("rejected", "")
        key = row_key(name, self._index.text(clause), *texts)
        with self._whole:
            self.file.refresh()
            if key in self.rows or key in self.file.states():
                raise ValignError("this row is there already.")
            check_edit(name, change, self._questions())
            if name == PROBE_SET and (fault := added_probe_fault(change)):
                raise ValignError(fault)
            check_verdict(change.get("verdict"), change["answer"])
            self.file.add(ADD, key, name, clause, change)
            return {**self._since(_place(given)), "key": key}

    def undo(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take the reviewer's last decision back; ``key`` is that of its row, empty where there was none."""
        with self._whole:
            undone = self.file.undo()
            return {**self._since(_place(given)), "key": undone.key if undone else ""}

    def _questions(self) -> list[str]:
        """Return the evaluation questions and probes as they stand."""
        states = self.file.states()
        own = [(row, states.get(row.key)) for row in self.rows.values() if row.set in (QUESTION_SET, PROBE_SET)]
        kept = [(row, state) for row, state in own if state is None or state.action != DROP]
        sets = QUESTION_SET, PROBE_SET
        added = [state for state in states.values() if state.set in sets and state.action == ADD]
        return [
            *(str(state.change.get("question", row.question)) if state else row.question for row, state in kept),
            *(str(state.change["question"]) for state in added),
        ]

    def _takes_new(self) -> list[str]:
        """Return the sets to which rows can be added: probes only where some were made beside the data."""
        has_probes = any(row.set == PROBE_SET for row in self.work.rows)
        return [name for name in NEEDED if name != PROBE_SET or has_probes]

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
                added = added_row(state, self._index) if state.first else None
                row = {"row": _shown(added, Doubt(0.0, ()))} if added else {}
                found[key] = {**to_dict(state), **row}
        return {"since": len(self.file.decisions), "states": found}

    def _applies(self, state: RowState) -> bool:
        """Tell whether a decision is about a row that is here, or adds one whose clause is as it was."""
        return state.key in self.rows or bool(state.first and added_row(state, self._index))

    def _clause(self, clause: str) -> list[dict[str, Any]]:
        """Return the passages of a clause as the page shows them."""
        passages = [self.work.passages[i] for i in self._index.indices(clause)]
        return [
            {"clause": p.clause, "heading": " > ".join(p.heading), "text": p.text, "start": p.start} for p in passages
        ]


def _shown(row: ReviewRow, doubt: Doubt) -> dict[str, Any]:
    """Return a row as the page gets it."""
    return {**to_dict(row), "doubts": list(doubt.reasons), "changeable": list(changeable(row.set))}


def _place(given: Mapping[str, Any]) -> int:
    """Return after how many decisions a page wants those that were made since."""
    try:
        return int(given.get("since", 0))
    except (TypeError, ValueError, OverflowError):
        raise ValignError("since is not a whole number; reload the page.") from None
