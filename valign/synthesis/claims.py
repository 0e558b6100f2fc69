"""Claims: yes/no questions on statements about a passage, right and wrong in turn."""

from __future__ import annotations

import random
from dataclasses import dataclass

from valign.core.records import Passage
from valign.core.text import is_table_row
from valign.synthesis.quotes import Quote, split_sentences
from valign.synthesis.writer import Writer

SHORTEST_CLAIM, LONGEST_CLAIM = 5, 24
DIRECT_SHARE = 0.6


@dataclass(frozen=True)
class Claim:
    """A yes/no question on a statement about what a clause says.

    Attributes:
        question: Asks whether the statement is so.
        verdict: ``yes`` or ``no``.
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
        if is_table_row(piece.text) or not SHORTEST_CLAIM <= len(piece.text.split()) <= LONGEST_CLAIM:
            continue
        right.append((piece.sentence, piece, None, "true"))
        for edit in writer.language.make_edits(piece.sentence, writer.names, rng):
            wrong.append((edit.text, piece, edit.text, edit.kind))
    rng.shuffle(right)
    rng.shuffle(wrong)
    chosen: dict[str, Claim] = {}
    pools = [pool for pool in (right, wrong) if pool]
    for i in range(4 * count if len(pools) == 2 else 0):
        pool = pools[i % 2]
        claim = _ask(*pool[(i // 2) % len(pool)], writer, rng)
        chosen.setdefault(claim.question, claim)
        if len(chosen) == count:
            break
    return list(chosen.values())


def _ask(text: str, quote: Quote, broken: str | None, kind: str, writer: Writer, rng: random.Random) -> Claim:
    """Ask whether a statement is so, directly or as hearsay."""
    language = writer.language
    nobody = text.lower().startswith(language.nobody) if language.nobody else False
    direct = None if broken and nobody else language.as_question(text)
    if direct and rng.random() < DIRECT_SHARE:
        return Claim(direct, "no" if broken or nobody else "yes", quote, broken, kind)
    question = rng.choice(language.claim_frames).format(claim=language.as_subclause(text, writer.names))
    return Claim(question, "no" if broken else "yes", quote, broken, kind)
