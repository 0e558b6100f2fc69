"""Facts of a clause: their kinds, ids, and the sentences that hold them."""

from __future__ import annotations

from valign.core.records import Fact, Passage
from valign.core.store import digest
from valign.synthesis.quotes import Quote, split_sentences

FACT_KINDS = ("number", "name", "detail", "condition", "exception", "consequence", "norm")


def make_fact(passage: Passage, kind: str, start: int, end: int, who: str = "", force: str = "") -> Fact:
    """Return the fact whose words stand at these offsets of the document, within a passage."""
    text = passage.text[start - passage.start : end - passage.start]
    name = f"fact-{digest([passage.clause, kind, text, start - passage.start])[:12]}"
    return Fact(name, passage.clause, kind, text, start, end, who, force)


def sentence_of(fact: Fact, passage: Passage) -> Quote:
    """Return the sentences that hold a fact."""
    pieces = [p for p in split_sentences(passage) if p.start < fact.end and fact.start < p.end]
    start, end = pieces[0].start, pieces[-1].end
    return Quote(passage.text[start - passage.start : end - passage.start], start, end)
