"""Does an answer say the opposite of the right one? By rules, as no entailment model comes with the package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from valign.evaluation.normalise import normalise
from valign.evaluation.verdicts import stated_verdict

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def contradicts(
    answer: str, question: str, reference: str, verdict: str | None, facts: Sequence[Sequence[str]]
) -> float | None:
    """Return 1.0 where an answer is opposed to the right one, 0.0 where no rule finds that, None where none applies.

    It is opposed where it states the other verdict, or where, of a fact with a number and its unit ("nine days"), it
    gives another number of that unit ("20 days") in place of the right one. Numbers that the question or the
    reference has with that unit are no contradiction. What is opposed in other words is missed.

    Args:
        answer: What a model wrote.
        question: What it was asked.
        reference: A right answer.
        verdict: The right verdict, or None.
        facts: What a right answer states; each fact is a sequence of accepted wordings.
    """
    figures = [found for fact in facts if (found := set().union(*(quantities(wording) for wording in fact)))]
    if verdict is None and not figures:
        return None
    stated = stated_verdict(answer)
    if verdict is not None and stated is not None and stated != verdict:
        return 1.0
    said = quantities(answer)
    fitting = quantities(question) | quantities(reference) | set().union(*figures)
    for right in figures:
        others = {unit for _, unit in said - fitting}
        if not said & right and others & {unit for _, unit in right}:
            return 1.0
    return 0.0


def quantities(text: str) -> set[tuple[str, str]]:
    """Return the numbers of a text, each with the word behind it in the singular.

    >>> sorted(quantities("Twelve days, or 1,000 euros, not 3."))
    [('1000', 'euro'), ('12', 'day')]
    """
    words = normalise(text)
    pairs = pairwise(words)
    return {(number, _singular(unit)) for number, unit in pairs if _NUMBER.fullmatch(number) and unit.isalpha()}


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
