"""Claims: statements about a passage, right and wrong in turn."""

from __future__ import annotations

from dataclasses import dataclass

from valign.synthesis.quotes import Quote

CLAIM_FRAMES = (
    "Is it true that {claim}?",
    "Somebody told me that {claim}. Is that right?",
    "I believe that {claim}. Am I right?",
    "A colleague says that {claim}. Is she right?",
    "Do I understand correctly that {claim}?",
)


SHORTEST_CLAIM, LONGEST_CLAIM = 5, 24


DIRECT_SHARE = 0.6


@dataclass(frozen=True)
class Claim:
    """A statement about what a clause says; ``quote`` is the clause's sentence, ``verdict`` whether it is so."""

    question: str
    verdict: str
    quote: Quote
    broken: str | None
    kind: str
