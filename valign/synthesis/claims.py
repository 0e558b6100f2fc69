"""Claims: yes/no questions on statements about a passage, right and wrong in turn."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from valign.core.records import Passage
from valign.synthesis.edits import as_question, make_edits
from valign.synthesis.quotes import Quote, split_sentences
from valign.synthesis.writer import Writer

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
    """A yes/no question on a statement about what a clause says.

    Attributes:
        question: Asks whether the statement is so.
        verdict: ``Yes`` or ``No``.
        quote: The clause's sentence that decides it.
        broken: The sentence as the statement has it, with one thing changed; None where the statement is right.
        kind: ``true``, or the kind of change.
    """

    question: str
    verdict: str
    quote: Quote
    broken: str | None
    kind: str


def write_claims(writer: Writer, passage: Passage, count: int) -> list[Claim]:
    """Return statements about a passage, right and wrong in turn.

    A wrong one has a single fact or the polarity of a sentence changed, so its verdict is known without a judge.

    Args:
        writer: Has the document's names and the random numbers.
        passage: The passage.
        count: Number of statements wanted; there are fewer where the passage has too few sentences to change.
    """
    rng = writer.rng("claims", passage.text)
    right: list[tuple[str, Quote, str | None, str]] = []
    wrong: list[tuple[str, Quote, str | None, str]] = []
    for piece in split_sentences(passage):
        if not SHORTEST_CLAIM <= len(piece.text.split()) <= LONGEST_CLAIM:
            continue
        right.append((piece.sentence, piece, None, "true"))
        for edit in make_edits(piece.sentence, writer.names, rng):
            wrong.append((edit.text, piece, edit.text, edit.kind))
    rng.shuffle(right)
    rng.shuffle(wrong)
    chosen: dict[str, Claim] = {}
    pools = [pool for pool in (right, wrong) if pool]
    for i in range(4 * count if len(pools) == 2 else 0):
        pool = pools[i % 2]
        claim = _ask(*pool[(i // 2) % len(pool)], writer.names, rng)
        chosen.setdefault(claim.question, claim)
        if len(chosen) == count:
            break
    return list(chosen.values())


def _ask(text: str, quote: Quote, broken: str | None, kind: str, names: Sequence[str], rng: random.Random) -> Claim:
    """Ask whether a statement is so, directly or as hearsay."""
    nobody = text.lower().startswith(("no one ", "nobody "))
    direct = None if broken and nobody else as_question(text)
    if direct and rng.random() < DIRECT_SHARE:
        return Claim(direct, "No" if broken or nobody else "Yes", quote, broken, kind)
    question = rng.choice(CLAIM_FRAMES).format(claim=as_subclause(text, names))
    return Claim(question, "No" if broken else "Yes", quote, broken, kind)


def as_subclause(sentence: str, names: Sequence[str]) -> str:
    """Return a sentence as it stands behind "that": no full stop, no capital unless it is a name's.

    >>> as_subclause("Guests may swim.", [])
    'guests may swim'
    """
    words = sentence.rstrip(".;, ")
    first = words.split()[0]
    return words if first in names or first in ("I",) else words[:1].lower() + words[1:]
