"""Clauses that are held out of the training data, to see whether what was learned carries over to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from valign.core.errors import ValignError
from valign.core.records import Document


def without_clauses(document: Document, clauses: Sequence[str]) -> Document:
    """Return a document without the passages of some clauses; its text and offsets stay as they are.

    Raises:
        ValignError: It has no such clause, or nothing else.
    """
    left_out: set[int] = set()
    for clause in clauses:
        inside = [i for i, p in enumerate(document.passages) if _within(p.clause, clause)]
        if not inside:
            raise ValignError(
                f"synthesis.hold_out_clauses: {document.name} has no clause '{clause}'; python -m valign.clauses "
                "prints the clauses."
            )
        left_out.update(inside)
    if len(left_out) == len(document.passages):
        raise ValignError("synthesis.hold_out_clauses names every clause; leave some to be trained on.")
    return replace(document, passages=tuple(p for i, p in enumerate(document.passages) if i not in left_out))


def exposure(document: Document, held_out: Sequence[str], clauses: Iterable[str]) -> dict[str, str]:
    """Say of each clause whether examples are written about it: ``seen`` or ``unseen``.

    A clause of which only a part was held out is neither and is left out. Without held-out clauses the result is empty.

    Args:
        document: The document.
        held_out: Ids of the clauses that were held out.
        clauses: The clauses that are asked about.
    """
    if not held_out:
        return {}
    taught = {p.clause for p in without_clauses(document, held_out).passages}
    found = {}
    for clause in clauses:
        parts = {p.clause in taught for p in document.passages if _related(p.clause, clause)}
        if len(parts) == 1:
            found[clause] = "seen" if parts.pop() else "unseen"
    return found


def within_any(clause: str, outer: Sequence[str]) -> bool:
    """Tell whether a clause is one of some others, or a part of one."""
    return any(_within(clause, other) for other in outer)


def _related(one: str, other: str) -> bool:
    return _within(one, other) or _within(other, one)


def _within(inner: str, outer: str) -> bool:
    return f"{inner}/".startswith(f"{outer}/")
