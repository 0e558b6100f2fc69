"""Tokens and money: what calls take, and limits that are not crossed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from valign.core.errors import LimitReached
from valign.core.records import Message

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_TURN = 4
LARGEST_COUNT = 10**9


@dataclass(frozen=True)
class Usage:
    """What one call took: tokens of prompt and completions, and seconds from sending to the whole reply."""

    prompt_tokens: int
    completion_tokens: int
    seconds: float


def plausible_count(value: Any) -> int | None:
    """Return a count as a server gives it; None where it is no whole number from 0 to a thousand million.

    >>> plausible_count(12), plausible_count(12.0), plausible_count(-5), plausible_count(1e23), plausible_count("12")
    (12, 12, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LARGEST_COUNT:
        return None
    return int(value) if value == int(value) else None


def estimate_tokens(text: str) -> int:
    """Estimate a text's tokens as one for four characters, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def estimate_prompt_tokens(messages: Iterable[Message]) -> int:
    """Estimate a conversation's tokens: its texts, and four for the frame of each turn."""
    return sum(estimate_tokens(message["content"]) + TOKENS_PER_TURN for message in messages)


def cost(prompt: float, completion: float, price_in: float | None, price_out: float | None) -> float | None:
    """Return what tokens cost at prices per million, or None where a price is not known."""
    if price_in is None or price_out is None:
        return None
    return (prompt * price_in + completion * price_out) / 1e6


class Meter:
    """What the calls of a run have taken, and how much they may.

    A call reserves the most that it can take before it is made, so that a limit is crossed by no more than the error of
    its prompt's estimate, however many calls are under way.

    Attributes:
        prompt: Prompt tokens of finished calls.
        completion: Completion tokens of finished calls.
    """

    def __init__(
        self,
        price_in: float | None = None,
        price_out: float | None = None,
        max_cost: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Choose prices and limits.

        Args:
            price_in: Price of a million prompt tokens, in any currency.
            price_out: Price of a million completion tokens.
            max_cost: The largest cost, in the currency of the prices; None is no limit.
            max_tokens: The largest number of tokens; None is no limit.
        """
        self.price_in = price_in
        self.price_out = price_out
        self.max_cost = max_cost
        self.max_tokens = max_tokens
        self.prompt = self.completion = 0
        self._reserved = [0, 0]

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self.max_cost is not None or self.max_tokens is not None

    def add(self, usage: Usage) -> None:
        """Count a finished call."""
        self.prompt += usage.prompt_tokens
        self.completion += usage.completion_tokens

    def reserve(self, prompt: int, completion: int) -> bool:
        """Set tokens aside for a call; False, and nothing is set aside, where a limit forbids it."""
        if self._exceeded(prompt, completion):
            return False
        self._reserved[0] += prompt
        self._reserved[1] += completion
        return True

    def release(self, prompt: int, completion: int) -> None:
        """Take a reservation back."""
        self._reserved[0] -= prompt
        self._reserved[1] -= completion

    def limit_error(self, prompt: int, completion: int) -> LimitReached:
        """Return the error for a call that does not fit, with nothing else under way."""
        key = self._exceeded(prompt, completion) or "max_tokens"
        spent = f"{self.prompt + self.completion} tokens"
        money = cost(self.prompt, self.completion, self.price_in, self.price_out)
        spent += "" if money is None else f", cost {money:.4f}"
        return LimitReached(
            f"teacher.{key}={getattr(self, key)} is reached ({spent}; the next call may take {prompt + completion} "
            f"tokens more); what was completed is kept: raise teacher.{key} and give the same command again, which "
            "repeats no call."
        )

    def _exceeded(self, prompt: int, completion: int) -> str | None:
        """Name the limit that a call would cross."""
        prompt += self.prompt + self._reserved[0]
        completion += self.completion + self._reserved[1]
        if self.max_tokens is not None and prompt + completion > self.max_tokens:
            return "max_tokens"
        money = cost(prompt, completion, self.price_in, self.price_out)
        if self.max_cost is not None and money is not None and money > self.max_cost:
            return "max_cost"
        return None
