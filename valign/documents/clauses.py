"""The clauses of a document: their passages, their text and how they are named."""

from __future__ import annotations

import re
from collections.abc import Sequence

from valign.core.records import Passage
from valign.documents.labels import read_section_label


def clause_passages(clause: str, passages: Sequence[Passage]) -> list[int]:
    """Return the indices of the passages that make up a clause.

    These are the passages with this id or one inside it (``a/2`` is inside ``a``); failing that, the passages that
    the clause is inside of. Empty where the document does not have the clause.
    """
    inside = [i for i, p in enumerate(passages) if f"{p.clause}/".startswith(f"{clause}/")]
    return inside or [i for i, p in enumerate(passages) if clause.startswith(f"{p.clause}/")]


def clause_text(clause: str, passages: Sequence[Passage]) -> str:
    """Return the words of a clause, a passage a line; nothing where the document does not have it."""
    return "\n".join(passages[i].text for i in clause_passages(clause, passages))


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
