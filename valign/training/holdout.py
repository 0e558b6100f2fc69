"""Examples held out of a stage's own data, to choose settings by; the evaluation questions are never used for that."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from valign.core.errors import ValignError
from valign.core.records import Instruction, Preference

_Row = TypeVar("_Row", Instruction, Preference)


def hold_out(rows: Sequence[_Row], share: float, key: str) -> tuple[list[_Row], list[_Row]]:
    """Divide rows into those to train on and those held out, the same share of what each clause has.

    Which rows of a clause are held out depends on a hash of their ids, and neither on their order nor on a seed.
    Every clause keeps a row to train on, and rows that belong to no clause are all trained on.

    Args:
        rows: D_sft or D_pref.
        share: Of the rows to hold out, from 0 to below 1; 0 holds out none.
        key: Where that is set, for the error.

    Returns:
        Rows to train on and rows held out, both in the order they came in.

    Raises:
        ValignError: The share comes to no row at all.
    """
    if not share:
        return list(rows), []
    groups: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row.clauses:
            groups.setdefault(tuple(row.clauses), []).append(row.example_id)
    held: set[str] = set()
    seen = 0
    for _, ids in sorted(groups.items()):
        seen += len(ids)
        wanted = min(round(share * seen) - len(held), len(ids) - 1)
        held |= set(sorted(ids, key=_hash)[: max(0, wanted)])
    if not held:
        raise ValignError(f"{key}={share} holds out none of {len(rows)} examples; raise it, or make more data.")
    return [row for row in rows if row.example_id not in held], [row for row in rows if row.example_id in held]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
