"""What the synthesis has to know about a language."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from valign.core.records import Fact, Passage
from valign.synthesis.languages.probe_words import ProbeWords


@dataclass(frozen=True)
class Edit:
    """A sentence with one thing changed: what stood there, what stands there now, and the kind of change."""

    text: str
    before: str
    after: str
    kind: str

    @classmethod
    def at(cls, text: str, span: tuple[int, int], after: str, kind: str) -> Edit:
        """Return the text with other words at a place, in upper case where what stood there was."""
        before = text[span[0] : span[1]]
        after = after[:1].upper() + after[1:] if before[:1].isupper() else after
        return cls(text[: span[0]] + after + text[span[1] :], before, after, kind)


def other_number(digits: str, rng: random.Random) -> str:
    """Return another number of the same size, in digits."""
    value = int(digits)
    return str(rng.choice([n for n in (value + 1, value * 2, max(1, value // 2), value + 5) if n != value]))


def turn_sentences(text: str, turn: Callable[[str], list[Edit]]) -> str | None:
    """Return a text whose every sentence says the opposite, as far as it can be turned; None where none can.

    Args:
        text: Sentences.
        turn: Returns the first way to turn a sentence, or nothing.
    """
    parts = re.split(r"(?<=[.;!?])(\s+)", text)
    turned = "".join(next((edit.text for edit in turn(part)), part) for part in parts)
    return turned if turned != text else None


def _no_edits(text: str, names: Sequence[str], rng: random.Random) -> list[Edit]:
    return []


def _unchanged(sentence: str, names: Sequence[str]) -> str:
    return sentence


def _numerals(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:[.,:]\d+)*", text))


def _all_grounded(answer: str, passage: str, question: str = "") -> list[str]:
    return []


@dataclass(frozen=True, kw_only=True)
class LanguagePack:
    """Words, sentences and rules of one language; those of no language are empty and do nothing.

    Attributes:
        code: ISO 639-1 code, the name of its folder; nothing where there is no folder.
        name: What it is called in messages.
        prompts: Code of the folder whose prompt templates are used.
        stop_words: Words that no phrase begins or ends with.
        yes_no: How a yes/no question begins; None where that is not known.
        phrase_frames: Questions on ``{words}`` that only one clause has.
        recite_frames: Requests for a clause: ``{title}`` and ``{topic}``.
        open_tails: Questions that follow a yes/no question so that a quote can answer it.
        silent_frames: Answers to what a document leaves open: ``{title}``, ``{quote}``.
        claim_frames: Yes/no questions on a statement, ``{claim}``.
        held_out_phrase: The evaluation's question on ``{words}``.
        held_out_claim: The evaluation's question on a ``{claim}``.
        verdicts: How an answer begins, by ``yes`` and ``no``.
        nobody: Beginnings, in lower case, of a sentence whose direct question is answered with no.
        question_openings: First words of the teacher's questions, in turn.
        situation_openings: First words of its situations, in turn.
        askers: Who asks, in plans of structured calls.
        places: Where it happens.
        wordings: How a yes/no question may be put.
        persona: What stands before the person in a sentence of the settings on who asks.
        make_edits: Returns sentences with one fact or the polarity changed, from a text, a document's names and
            random numbers.
        contradict: Returns a text with every statement turned round; None where none can be.
        as_question: Turns a statement into a yes/no question; None where that is not plain.
        as_subclause: Returns a sentence as it stands within a claim.
        names_in: Returns a text's names.
        numbers_in: Returns a text's numbers in digits.
        number_forms: Returns the spellings in which a number may be said.
        find_ungrounded: Returns an answer's numbers and names that passage and question lack.
        find_facts: Returns a clause's facts.
        phrasings: Returns questions on a fact, and its sentence with a gap.
        probes: What probes of a policy take from the language.
    """

    code: str = ""
    name: str = ""
    prompts: str = "en"
    stop_words: Callable[[], frozenset[str]] = frozenset
    yes_no: re.Pattern[str] | None = None
    phrase_frames: tuple[str, ...] = ()
    recite_frames: tuple[str, ...] = ()
    open_tails: tuple[str, ...] = ()
    silent_frames: tuple[str, ...] = ()
    claim_frames: tuple[str, ...] = ()
    held_out_phrase: str = ""
    held_out_claim: str = ""
    verdicts: Mapping[str, str] = field(default_factory=lambda: {"yes": "Yes", "no": "No"})
    nobody: tuple[str, ...] = ()
    question_openings: tuple[str, ...] = ()
    situation_openings: tuple[str, ...] = ()
    askers: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    wordings: tuple[str, ...] = ()
    persona: re.Pattern[str] | None = None
    make_edits: Callable[[str, Sequence[str], random.Random], list[Edit]] = _no_edits
    contradict: Callable[[str], str | None] = lambda text: None
    as_question: Callable[[str], str | None] = lambda sentence: None
    as_subclause: Callable[[str, Sequence[str]], str] = _unchanged
    names_in: Callable[[str], list[str]] = lambda text: []
    numbers_in: Callable[[str], set[str]] = _numerals
    number_forms: Callable[[str], tuple[str, ...]] = lambda number: (number,)
    find_ungrounded: Callable[..., list[str]] = _all_grounded
    find_facts: Callable[[Passage], list[Fact]] = lambda passage: []
    phrasings: Callable[[Fact, Passage], tuple[list[str], list[str]]] = lambda fact, passage: ([], [])
    probes: ProbeWords = field(default_factory=ProbeWords)

    def asks_verdict(self, question: str) -> bool:
        """Tell whether a question asks for yes or no, as far as the language has that pattern."""
        return self.yes_no is not None and self.yes_no.match(question) is not None
