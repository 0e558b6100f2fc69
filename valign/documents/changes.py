"""What changed between two versions of a document, clause by clause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valign.core.records import Passage
from valign.documents.clauses import labelled

IDS_SHOWN = 3


@dataclass(frozen=True)
class Changes:
    """The clauses of the newer version, and those of the older one that are gone.

    Attributes:
        kept: Same id and same words.
        moved: Same words under another id, as pairs of the older and the newer id.
        changed: Same id and other words, and the older words stand nowhere else.
        added: New words under an id that is new or whose older words have moved.
        removed: Older words that are gone, under an id that is gone or has taken in moved words.
    """

    kept: tuple[str, ...]
    moved: tuple[tuple[str, str], ...]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]

    def line(self) -> str:
        """Return the counts, and the first ids of what is not kept.

        >>> Changes(("d/1",), (("d/2", "d/3"),), ("d/4",), (), ()).line()
        '1 kept, 1 moved (d/2 -> d/3), 1 changed (d/4), 0 added, 0 removed'
        """
        named = {
            "moved": tuple(f"{old} -> {new}" for old, new in self.moved),
            "changed": self.changed,
            "added": self.added,
            "removed": self.removed,
        }
        return ", ".join(
            [f"{len(self.kept)} kept", *(f"{len(ids)} {word}{_first(ids)}" for word, ids in named.items())]
        )


def compare_versions(before: Sequence[Passage], after: Sequence[Passage]) -> Changes:
    """Compare two versions of a document.

    A clause's words are those that a prompt shows, so that a clause that is kept or moved needs no new call of the
    teacher. Clauses with the same words are paired in reading order.

    Args:
        before: Passages of the older version.
        after: Passages of the newer version.

    Returns:
        Which clauses are kept, moved, changed, added and removed.
    """
    old = {passage.clause: labelled(passage) for passage in before}
    new = {passage.clause: labelled(passage) for passage in after}
    kept = {clause for clause, words in new.items() if old.get(clause) == words}
    gone = [clause for clause in old if clause not in kept]
    sources: dict[str, list[str]] = {}
    for clause in reversed(gone):
        sources.setdefault(old[clause], []).append(clause)
    rest = [clause for clause in new if clause not in kept]
    moved = {clause: sources[new[clause]].pop() for clause in rest if sources.get(new[clause])}
    fresh = [clause for clause in rest if clause not in moved]
    taken, renewed = set(moved.values()), set(fresh)
    unpaired = dict.fromkeys(clause for clause in gone if clause not in taken)
    return Changes(
        tuple(clause for clause in new if clause in kept),
        tuple((source, clause) for clause, source in moved.items()),
        tuple(clause for clause in fresh if clause in unpaired),
        tuple(clause for clause in fresh if clause not in unpaired),
        tuple(clause for clause in unpaired if clause not in renewed),
    )


def _first(ids: Sequence[str]) -> str:
    """Return the first ids in brackets."""
    more = ", ..." if len(ids) > IDS_SHOWN else ""
    return f" ({', '.join(ids[:IDS_SHOWN])}{more})" if ids else ""
