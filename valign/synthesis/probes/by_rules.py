"""Probes of a policy that rules make of a clause's own sentences, for teachers too small to write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from valign.core.records import Passage, Provenance
from valign.core.text import is_table_row
from valign.evaluation.probes.policy import PolicyProbe
from valign.synthesis.claims import LONGEST_CLAIM, SHORTEST_CLAIM
from valign.synthesis.frames import FROM_FRAME
from valign.synthesis.probes.written import PARAPHRASE, probe_id
from valign.synthesis.quotes import Quote, split_sentences
from valign.synthesis.writer import Writer

TEMPLATE = "rules/probes"
CANNOT = {
    "silent": "silent: rules do not know what else somebody would ask",
    "edge_inside": "edge: only where a sentence has a limit in numbers, such as up to nine days",
    "elsewhere": "elsewhere: the place is a fixed sentence, not one that suits the document",
}


@dataclass(frozen=True)
class _Stated:
    """A statement about what a sentence allows or denies, as a question."""

    quote: Quote
    polarity: str
    text: str
    question: str
    is_allowed: bool


def probes_by_rules(writer: Writer, passages: Sequence[Passage], kinds: Sequence[str]) -> list[PolicyProbe]:
    """Make at most one probe of each kind about each passage, of sentences of which the polarity is plain.

    What a sentence allows is asked as it stands; what it forbids, or what somebody would leave out that it requires, is
    asked with its polarity turned round. Limits in numbers give the edges.

    Args:
        writer: Has the language and the random numbers; its teacher is not asked.
        passages: The clauses.
        kinds: Kinds of probe; those that rules cannot make are left out.
    """
    return [probe for passage in passages for probe in _of_passage(writer, passage, kinds)]


def gaps_of_rules(writer: Writer, kinds: Sequence[str]) -> list[str]:
    """Say which of the kinds rules cannot make, or not everywhere, and why."""
    if not writer.language.probes.polarity:
        return [
            f"probes by rules: none for {writer.language.name}, which has no word lists; a large teacher writes them"
        ]
    return [CANNOT[kind] for kind in kinds if kind in CANNOT]


def _of_passage(writer: Writer, passage: Passage, kinds: Sequence[str]) -> Iterator[PolicyProbe]:
    rng = writer.rng("probes by rules", passage.text)
    words = writer.language.probes
    sentences = [quote for quote in split_sentences(passage) if not is_table_row(quote.text)]
    stated = [one for quote in sentences for one in _stated(writer, quote)]
    by_side = {side: [one for one in stated if one.is_allowed == side] for side in (True, False)}
    edges = [edge for quote in sentences for edge in _edges(writer, quote)]
    allowed, denied = (next(iter(by_side[side]), None) for side in (True, False))
    pick: dict[str, tuple[_Stated | None, Callable[[_Stated], str]]] = {
        "allowed": (allowed, lambda one: one.question),
        "denied": (denied, lambda one: one.question),
        "pressure": (denied, lambda one: rng.choice(words.presses).format(question=one.question)),
        PARAPHRASE: (
            rng.choice([s for s in (allowed, denied) if s] or [None]),
            lambda one: _again(writer, one, rng.random()),
        ),
        "elsewhere": (denied or allowed, lambda one: rng.choice(words.elsewhere).format(question=one.question)),
        "edge_inside": (next((e for e in edges if e.is_allowed), None), lambda one: one.question),
        "edge_outside": (next((e for e in edges if not e.is_allowed), None), lambda one: one.question),
    }
    for kind in kinds:
        one, ask = pick.get(kind, (None, lambda one: ""))
        if one is not None:
            yield _probe(writer, passage, kind, one, ask(one))


def _stated(writer: Writer, quote: Quote) -> Iterator[_Stated]:
    """Yield what a sentence allows, or what it denies; nothing where its polarity is not plain."""
    language, words = writer.language, writer.language.probes
    polarity = words.polarity_of(quote.sentence)
    if any(pattern and pattern.search(quote.sentence) for pattern in (words.leans, words.mixed)):
        return
    if not polarity or not SHORTEST_CLAIM <= len(quote.text.split()) <= LONGEST_CLAIM:
        return
    rng = writer.rng("probe edits", quote.text)
    permitted = words.permit(quote.sentence) if polarity == "must not" else ""
    edits = language.make_edits(quote.sentence, writer.names, rng)
    turned = [permitted] if permitted else [e.text for e in edits if e.kind == "polarity"]
    if polarity == "may":
        direct = language.as_question(quote.sentence)
        yield _Stated(quote, polarity, quote.sentence, direct or _asked(writer, quote.sentence, words.asks), True)
    elif turned and not (polarity == "must not" and words.is_negated(turned[0], bool(permitted))):
        nobody = bool(language.nobody) and quote.sentence.lower().startswith(language.nobody)
        direct = language.as_question(quote.sentence if nobody else turned[0]) if polarity == "must not" else None
        yield _Stated(quote, polarity, turned[0], direct or _asked(writer, turned[0], words.asks), False)


def _edges(writer: Writer, quote: Quote) -> Iterator[_Stated]:
    """Yield what is just inside and just outside of a sentence's limits."""
    language, words = writer.language, writer.language.probes
    polarity = words.polarity_of(quote.sentence) or "must"
    for limit in words.find_limits(quote.sentence):
        for text, is_inside in ((limit.inside, True), (limit.outside, False)):
            question = language.as_question(text) or _asked(writer, text, words.asks)
            yield _Stated(quote, polarity, text, question, is_inside)


def _asked(writer: Writer, text: str, frame: str) -> str:
    return frame.format(claim=writer.language.as_subclause(text, writer.names))


def _again(writer: Writer, one: _Stated, drawn: float) -> str:
    frames = writer.language.probes.asks_again
    return _asked(writer, one.text, frames[int(drawn * len(frames))])


def _probe(writer: Writer, passage: Passage, kind: str, one: _Stated, question: str) -> PolicyProbe:
    """Return a probe: its right answer is the sentence, with the verdict in front."""
    name = probe_id(writer.whole.name, passage.clause, kind, question)
    origin = Provenance(one.quote.text, one.quote.start, one.quote.end, TEMPLATE, "", FROM_FRAME)
    found = PolicyProbe(name, passage.clause, kind, question, provenance=origin)
    if kind == "elsewhere":
        return found
    verdict = "yes" if one.is_allowed else "no"
    return replace(
        found,
        verdict=verdict,
        answer=f"{writer.language.verdicts[verdict]}. {one.quote.sentence}",
        polarity=one.polarity,
        of=("allowed" if one.is_allowed else "denied") if kind == PARAPHRASE else "",
    )
