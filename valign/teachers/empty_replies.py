"""Replies without a text: counted, and the end of a run where hardly any other comes."""

from __future__ import annotations

import re

from valign.core.errors import ValignError

MOST_EMPTY = 24
DECLINED = re.compile(r"refusal|filter|safety|sensitive|prohibited|guardrail|block", re.I)
EMPTY_TRIES = 2  # of a completion that comes back empty
KEPT = "what was completed before is kept, the same command goes on from there."


class EmptyReplies:
    """Counts empty replies, good ones against them: a model that says nothing is not asked thousands of times.

    Attributes:
        count: Empty replies, less two for each completion with a text, and at least 0: half may be empty, not more.
    """

    def __init__(self, group: str) -> None:
        """Start with none.

        Args:
            group: Where the settings stand in the config, for the message.
        """
        self.group = group
        self.count = 0
        self._why = "no text"
        self._had = 0

    def count_reply(self, good: int, empty: int, why: str, thinking_tokens: int) -> None:
        """Count the completions of a reply.

        Args:
            good: Those that have a text.
            empty: Those that have none.
            why: How the last of these ended.
            thinking_tokens: What the call had to think.
        """
        self.count = max(0, self.count - EMPTY_TRIES * good) + empty
        if empty:
            self._why, self._had = why, thinking_tokens

    def check(self, where: str) -> None:
        """Stop where there are too many.

        Args:
            where: The server and the model, for the message.

        Raises:
            ValignError: There are.
        """
        if self.count >= MOST_EMPTY:
            raise self.error(where, f"{self.count} replies, nearly in a row")

    def error(self, where: str, number: str) -> ValignError:
        """Return the error for a model that says nothing: how its last reply ended, and which key helps.

        Args:
            where: The server and the model.
            number: How many replies were empty.
        """
        remedy = "check the model's chat template and the server's log"
        if "thoughts" in self._why:
            remedy = (
                f"raise {self.group}.thinking_tokens (the last call had {self._had}), or turn the model's thinking off "
                "where it is served"
            )
        elif DECLINED.search(self._why):
            remedy = (
                "the model, or a filter before it, declines the prompts: choose another model, or loosen the filter"
            )
        return ValignError(f"{where} answers without a text ({number}, the last with {self._why}); {remedy}; {KEPT}")
