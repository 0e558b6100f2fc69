"""How clauses are named for a reader."""

from __future__ import annotations

from collections.abc import Iterable

from valign.core.records import Passage
from valign.documents.clauses import ClauseIndex, topic


class Clauses:
    """The document's clauses: their order, their short names and their text.

    A question may name a clause above the passages (``udhr/article-14`` for ``udhr/article-14/1`` and ``/2``); it
    stands for all passages below it.
    """

    def __init__(self, passages: Iterable[Passage], others: Iterable[str]) -> None:
        """Collect the passages, and further clause ids that questions name."""
        self.passages = list(passages)
        self._clauses = ClauseIndex(self.passages)
        self._index = {passage.clause: i for i, passage in enumerate(self.passages)}
        ids = {*self._index, *others}
        heads = {clause.split("/")[0] for clause in ids}
        self._prefix = heads.pop() + "/" if len(heads) == 1 and all("/" in clause for clause in ids) else ""

    def below(self, clause: str) -> list[Passage]:
        """Return the passages that a clause id stands for, in reading order."""
        return [self.passages[i] for i in self._clauses.indices(clause)]

    def are_all(self, clauses: Iterable[str]) -> bool:
        """Tell whether some clause ids are those of all passages."""
        return set(clauses) == self._index.keys()

    def ordered(self, clauses: Iterable[str]) -> list[str]:
        """Return clause ids in the document's order; those it does not have come last."""
        end = len(self.passages)
        rank = {c: min((self._index[p.clause] for p in self.below(c)), default=end) for c in dict.fromkeys(clauses)}
        return sorted(rank, key=lambda clause: (rank[clause], clause))

    def names(self, clause: str) -> list[str]:
        """Return a clause id, and those of the passages that it stands for."""
        return list(dict.fromkeys([clause, *(passage.clause for passage in self.below(clause))]))

    def short(self, clause: str) -> str:
        """Return a clause id without the document's name, where all clauses share it."""
        return clause.removeprefix(self._prefix)

    def called(self, clause: str) -> str:
        """Return a clause's short id and, in brackets, what its heading says beyond that."""
        passages = self.below(clause)
        title = topic(passages[0]) if passages else ""
        return f"{self.short(clause)} ({title})" if title else self.short(clause)

    def heading(self, clause: str) -> str:
        """Return the headings that lead to a clause."""
        passages = self.below(clause)
        return " \u203a ".join(passages[0].heading) if passages else ""

    def text(self, clause: str) -> str:
        """Return the clause's words, or a note that the document has no such clause."""
        passages = self.below(clause)
        return "\n\n".join(p.text for p in passages) if passages else "The document has no clause of this name."
