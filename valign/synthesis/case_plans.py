"""Plans of a structured call: who asks, where, what kind of question, and which verdict is wanted.

The plan is drawn here and not left to the teacher, so that questions differ and half of the yes/no questions of every
clause are to be answered with no.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from valign.core.records import Passage
from valign.synthesis.candidates import CONTRADICTIONS
from valign.synthesis.languages.en.words import ENGLISH
from valign.synthesis.question_kinds import questions_by_kind
from valign.synthesis.settings import PAIRED_KINDS, KindWeights
from valign.synthesis.writer import Writer

PLAN_LINE = re.compile(r"^(\d+)\. kind: (\w+);.* verdict: (yes|no|none)\b", re.M)
DECIDED_KINDS = ("everyday", "edge")
OPEN_EVERY = 6  # one in so many cases asks an open question
OPPOSITE = {"yes": "no", "no": "yes"}


@dataclass(frozen=True, kw_only=True)
class ItemPlan:
    """One line of a plan.

    Attributes:
        number: From 1, within the clause and the round.
        kind: Kind of question.
        asker: Who asks.
        place: Where it happens.
        verdict: ``yes`` or ``no``; None for an open question.
        wording: How a yes/no question may be put; nothing for an open one.
        length: How long the answer is to be; nothing leaves it to the teacher.
        contradiction: How the unfaithful answer is to contradict the clause; nothing where none is wanted.
        avoided: Words that neither answer is to have.
        said: How an answer begins, by its verdict.
    """

    number: int
    kind: str
    asker: str
    place: str
    verdict: str | None = None
    wording: str = ""
    length: str = ""
    contradiction: str = ""
    avoided: tuple[str, ...] = ()
    said: Mapping[str, str] = field(default_factory=lambda: ENGLISH.verdicts)

    def line(self) -> str:
        """Return the line as the teacher reads it."""
        parts = [f"{self.number}. kind: {self.kind}", f"who asks: {self.asker}", f"where: {self.place}"]
        parts += [f'put, for example, as "{self.wording}"'] if self.wording else []
        parts += [f"length of the answer: {self.length}"] if self.length else []
        parts += [f"contradiction: {self.contradiction}"] if self.contradiction else []
        parts += [f"in neither answer the words {', '.join(self.avoided)}"] if self.avoided else []
        return "; ".join([*parts, f"verdict: {self.verdict or 'none'}"])


def plan_cases(writer: Writer, passage: Passage, turn: int = 0, count: int | None = None) -> list[ItemPlan]:
    """Plan the questions of D_sft about a passage, by the weights of the kinds.

    Of the cases, one in six is an open question; the others have the verdicts yes and no in turn, kind by kind. Where
    their number is odd, the verdict that is left over differs by clause, and changes with each round. A passage that
    carries no value is asked only for what it states.

    Args:
        writer: Has the settings and the random numbers.
        passage: The passage.
        turn: Number of the round; each has another plan.
        count: Questions of all kinds; by default what the settings say.
    """
    settings = writer.settings.instructions
    counts = structured_counts(settings.kinds, settings.questions_per_passage if count is None else count)
    if passage.clause in (writer.without_value or ()):
        counts = {"factual": sum(counts.values())} if counts else {}
    rng = writer.rng("cases", passage.text, str(turn))
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    decided = [i for i, kind in enumerate(kinds) if kind in DECIDED_KINDS]
    verdicts: dict[int, str | None] = dict.fromkeys(range(len(kinds)))
    verdicts |= dict(zip(decided, _verdicts(writer, passage, turn, len(decided)), strict=True))
    order = list(range(len(kinds)))
    rng.shuffle(order)
    plans = _items(writer, rng, [kinds[i] for i in order], [verdicts[i] for i in order])
    if not settings.lengths:
        return plans
    lengths = _deal(rng, [_plain(writer, text) for text in settings.lengths], len(plans))
    return [replace(plan, length=length) for plan, length in zip(plans, lengths, strict=True)]


def plan_contrasts(
    writer: Writer, passage: Passage, turn: int, count: int, avoided: Sequence[str] = (), kinds: Sequence[str] = ()
) -> list[ItemPlan]:
    """Plan situations of D_pref: verdicts and ways to contradict the clause in turn, so that neither tells the other.

    Args:
        writer: Has the settings and the random numbers.
        passage: The passage; one that carries no value gets no situation.
        turn: Number of the round; each has another plan.
        count: Situations.
        avoided: Words that neither answer is to have.
        kinds: Ways to contradict; by default all, in turn.
    """
    if passage.clause in (writer.without_value or ()):
        return []
    rng = writer.rng("contrasts", passage.text, str(turn), *avoided)
    kinds = kinds or CONTRADICTIONS
    first = writer.rng("first contradiction", passage.text).randrange(len(kinds)) + turn * count
    verdicts = _verdicts(writer, passage, turn, count)
    plans = []
    for i, plan in enumerate(_items(writer, rng, ["situation"] * count, verdicts)):
        kind = kinds[(first + i) % len(kinds)]
        if plan.verdict is None and kind == "verdict":  # an open question has none that could be turned round
            kind = "consequence"
        plans.append(replace(plan, contradiction=kind, avoided=tuple(avoided)))
    return plans


def structured_counts(kinds: KindWeights, total: int) -> dict[str, int]:
    """Return how many questions of each kind a structured call is asked for; conflict and comparison have their own.

    The kind ``question`` is for prompts with worked examples; here its weight is divided among factual, everyday and
    edge.

    >>> structured_counts(KindWeights(question=1.0), 7)
    {'factual': 3, 'everyday': 2, 'edge': 2}
    """
    third = kinds.question / 3
    kinds = replace(
        kinds,
        question=0.0,
        factual=kinds.factual + third,
        everyday=kinds.everyday + third,
        edge=kinds.edge + third,
    )
    return {kind: count for kind, count in questions_by_kind(kinds, total).items() if kind not in PAIRED_KINDS}


def _verdicts(writer: Writer, passage: Passage, turn: int, count: int) -> list[str | None]:
    """Return yes and no in turn; every sixth question is an open one."""
    first = writer.rng("first verdict", passage.text).randrange(2) + turn
    found: list[str | None] = []
    decided = 0
    for i in range(count):
        is_open = (i + 1) % OPEN_EVERY == 0
        found.append(None if is_open else ("yes", "no")[(first + decided) % 2])
        decided += not is_open
    return found


def _items(writer: Writer, rng: random.Random, kinds: Sequence[str], verdicts: Sequence[str | None]) -> list[ItemPlan]:
    """Return the lines of a plan; who asks, where, and how a question is put differ as far as there are enough."""
    words = writer.language if writer.language.code else ENGLISH
    personas = tuple(_plain(writer, text) for text in writer.settings.instructions.personas) or words.askers
    askers, places, wordings = (_deal(rng, given, len(kinds)) for given in (personas, words.places, words.wordings))
    return [
        ItemPlan(
            number=i + 1,
            kind=kind,
            asker=askers[i],
            place=places[i],
            verdict=verdict,
            wording=wordings[i] if verdict else "",
            said=writer.language.verdicts,
        )
        for i, (kind, verdict) in enumerate(zip(kinds, verdicts, strict=True))
    ]


def _deal(rng: random.Random, words: Sequence[str], count: int) -> list[str]:
    """Return so many of the words, none a second time before all have been taken."""
    found: list[str] = []
    while len(found) < count:
        found += rng.sample(words, len(words))
    return found[:count]


def _plain(writer: Writer, sentence: str) -> str:
    """Return a sentence of the settings as part of a line."""
    plain, persona = " ".join(sentence.split()), writer.language.persona or ENGLISH.persona
    return (persona.sub("", plain) if persona else plain).rstrip(".")
