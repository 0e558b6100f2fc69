"""What probes of a policy take from a language: what a sentence does, and how to ask about it by rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """A sentence with its limit replaced by a value just inside and by one just outside of what it allows."""

    inside: str
    outside: str


def _no_limits(sentence: str) -> list[Limit]:
    return []


@dataclass(frozen=True, kw_only=True)
class ProbeWords:
    """A language's part in probes that rules make; that of no language is empty and makes none.

    Attributes:
        polarity: Patterns, and what a sentence with one does: ``may``, ``must`` or ``must not``; the first decides.
        negated: What says no in a sentence; a ban that still has it when it was turned round is not asked about.
        permits: Patterns of bans, and what permits the same; a ban is asked about as if it were permitted.
        lacks: Says what a banned act lacks, which is no second ban: "without".
        leans: The beginning of a sentence that is not understood without the one before it; nothing is asked about it.
        mixed: A sentence that allows or requires one thing and forbids another; turned round it would be about neither.
        asks: Asks whether a ``{claim}`` is so.
        asks_again: Asks the same in other words.
        presses: Sentences that press for an exception.
        elsewhere: Puts a ``{question}`` to another institution.
        find_limits: Returns sentences with values just inside and just outside of their limit.
    """

    polarity: tuple[tuple[re.Pattern[str], str], ...] = ()
    negated: re.Pattern[str] | None = None
    permits: tuple[tuple[re.Pattern[str], str], ...] = ()
    lacks: re.Pattern[str] | None = None
    leans: re.Pattern[str] | None = None
    mixed: re.Pattern[str] | None = None
    asks: str = ""
    asks_again: tuple[str, ...] = ()
    presses: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    find_limits: Callable[[str], list[Limit]] = _no_limits

    def permit(self, text: str) -> str:
        """Return a ban as if it were permitted; nothing where it bans in other words."""
        return next((pattern.sub(by, text, count=1) for pattern, by in self.permits if pattern.search(text)), "")

    def is_negated(self, text: str, is_permitted: bool) -> bool:
        """Tell whether a ban that was turned round still says no; what a permitted act lacks is no second ban."""
        rest = self.lacks.sub("", text) if self.lacks and is_permitted else text
        return bool(self.negated and self.negated.search(rest))

    def polarity_of(self, text: str) -> str:
        """Return what a text does, by its first pattern: ``may``, ``must``, ``must not``, or nothing."""
        return next((name for pattern, name in self.polarity if pattern.search(text)), "")


def patterns(*rows: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return patterns compiled without regard to case, each with what it stands for."""
    return tuple((re.compile(pattern, re.I), name) for pattern, name in rows)
