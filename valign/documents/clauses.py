"""The clauses of a document: their passages, their text and how they are named."""

from __future__ import annotations

import re
from collections.abc import Sequence

from valign.core.records import Passage
from valign.documents.labels import read_section_label


class ClauseIndex:
    """A document's passages by clause."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        """Note under each clause id the passages that are inside it."""
        self._passages = passages
        self._inside: dict[str, list[int]] = {}
        self._named: dict[str, list[int]] = {}
        for i, passage in enumerate(passages):
            self._named.setdefault(passage.clause, []).append(i)
            for clause in enclosing(passage.clause):
                self._inside.setdefault(clause, []).append(i)

    @property
    def clauses(self) -> tuple[str, ...]:
        """The ids of all clauses, those that only hold others included."""
        return tuple(self._inside)

    def indices(self, clause: str) -> list[int]:
        """Return what ``clause_passages`` does."""
        found = self._inside.get(clause)
        return found or sorted(i for name in enclosing(clause)[:-1] for i in self._named.get(name, ()))

    def text(self, clause: str) -> str:
        """Return the words of a clause, a passage a line; nothing where the document does not have it."""
        return "\n".join(self._passages[i].text for i in self.indices(clause))


def enclosing(clause: str) -> list[str]:
    """Return the ids of the clauses that a clause is inside of, the outermost first, and its own.

    >>> enclosing("udhr/article-14/2")
    ['udhr', 'udhr/article-14', 'udhr/article-14/2']
    """
    return [clause[:i] for i, letter in enumerate(clause) if letter == "/"] + [clause]


def clause_passages(clause: str, passages: Sequence[Passage]) -> list[int]:
    """Return the indices of the passages that make up a clause.

    These are the passages with this id or one inside it (``a/2`` is inside ``a``); failing that, the passages that
    the clause is inside of. Empty where the document does not have the clause. For many clauses, ``ClauseIndex`` looks
    through the passages once.
    """
    return ClauseIndex(passages).indices(clause)


def topic(passage: Passage) -> str:
    """Return what a passage is about, from its heading: ``Section 3. Fog`` gives ``Fog``, ``Article 5`` nothing."""
    if len(passage.heading) < 2:
        return ""
    heading = passage.heading[-1]
    words = re.sub(r"^(?:[A-Za-z]+ )?(?:§ ?)?(?:\d+|[IVXLC]+)(?:\.\d+)*[.:)]?\s*", "", heading)
    label = read_section_label(heading) if words == heading else None
    return label.rest.strip() if label else words.strip()


def labelled(passage: Passage) -> str:
    """Return the passage's words with its topic in front, as a prompt shows it."""
    return f"{topic(passage)}. {passage.text}" if topic(passage) else passage.text
