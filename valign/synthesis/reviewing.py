"""Decisions on their way into a data set: which rows they meet, and what comes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from valign.core.files import to_dict
from valign.documents.clauses import ClauseIndex
from valign.synthesis.dataset import Reviewed
from valign.synthesis.decisions import D_PREF, D_SFT, DROP, PROBE_SET, QUESTION_SET, RowState
from valign.synthesis.review_rows import ReviewRow, added_row

DROPPED = "dropped in review"
FUNNELS = {D_SFT: "sft", D_PREF: "preference", QUESTION_SET: "questions"}
"""The funnel in which each set is counted."""


@dataclass
class Review:
    """Decisions on their way into a data set.

    Attributes:
        states: What the decisions come to, by the row's key.
        file: Where they were read, for whoever goes on with them.
        index: The document's clauses.
        reviewed: What came of them so far.
        rows: Number of rows of each set as synthesised.
        met: Keys of the rows that were met.
    """

    states: Mapping[str, RowState]
    file: str
    index: ClauseIndex
    reviewed: list[Reviewed] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    met: set[str] = field(default_factory=set)

    def state(self, row: ReviewRow) -> RowState | None:
        """Return what was decided about a row as synthesised, and count it; its clause may have another id by now."""
        self.rows[row.set] += 1
        found = self.states.get(row.key)
        if found is None:
            return None
        self.met.add(row.key)
        return replace(found, clause=row.clauses[0])

    def note(self, state: RowState, name: str, original: ReviewRow | None, refused: str = "") -> None:
        """Note what came of a decision: the row's id where it is in the data, the row as it was where it changed."""
        before = to_dict(original) if original else {}
        named = state.set, state.key, name, state.action, state.reviewer, state.at, state.clause, state.readers
        self.reviewed.append(Reviewed(*named, refused, dict(state.change), before))

    def added(self, set: str) -> list[tuple[RowState, ReviewRow]]:
        """Return the rows of a set that people added and that are not dropped, with changes made since."""
        found = []
        for key, state in self.states.items():
            row = added_row(state, self.index) if state.first and state.set == set and key not in self.met else None
            if row is not None:
                self.met.add(key)
                if state.action != DROP:
                    found.append((replace(state, clause=row.clauses[0]), changed(row, state)))
        return found


def changed(row: ReviewRow, state: RowState) -> ReviewRow:
    """Return a row with what a person changed of it."""
    values = {name: value for name, value in state.change.items() if name != "facts"}
    if "facts" in state.change:
        values["facts"] = tuple(tuple(one) for one in state.change["facts"])
    return replace(row, **values)


def stale_states(review: Review) -> list[RowState]:
    """Return the decisions that no row is left for; those about probes only where probes are asked."""
    sets = {*FUNNELS, *([PROBE_SET] if review.rows[PROBE_SET] else [])}
    return [state for key, state in review.states.items() if key not in review.met and state.set in sets]
