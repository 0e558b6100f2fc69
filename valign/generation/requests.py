"""Requests to a model, how completions are drawn, and the completions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from valign.core.records import Message

TOP_K = 64
"""Of how many of the most likely tokens a token is drawn."""


@dataclass(frozen=True)
class Sampling:
    """How a completion is drawn.

    Attributes:
        max_new_tokens: Longest completion, in tokens.
        temperature: 0 takes the most likely token each time.
        top_p: Share of probability that is kept, of the 64 most likely tokens.
        n: Completions for each prompt.
        seed: Start of the random numbers; the same seed draws the same completions on the same machine.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    n: int = 1
    seed: int = 0

    def drawn(self) -> dict[str, Any]:
        """Return what a row keeps of how its words were drawn."""
        return {name: getattr(self, name) for name in ("temperature", "top_p", "max_new_tokens", "seed")}


@dataclass(frozen=True)
class Request:
    """One call: a conversation that ends with a user turn, and how to complete it.

    ``openings``, where given, are the words with which each of the ``sampling.n`` completions begins; they are part
    of the completion's text. Different openings make a small model's samples differ without a high temperature.
    They are for models in this process, where they are forced; of a chat API the prompt can only ask for them.
    ``schema``, where given, is the JSON schema of the reply: a server that can holds the reply to it, others see only
    what the prompt says.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    openings: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, which is also what the cache's key is made from; no schema, no such entry."""
        data = {
            "messages": [dict(message) for message in self.messages],
            "sampling": vars(self.sampling),
            "openings": list(self.openings),
        }
        return data if self.schema is None else {**data, "schema": self.schema}


@dataclass(frozen=True)
class Completion:
    """A model's reply: its text, its length in tokens, and whether it ended by itself."""

    text: str
    tokens: int
    finished: bool


def call_seed(seed: int, k: int, tries: int = 0) -> int:
    """Return the seed of a request's k-th completion: 31 bits that differ for neighbouring seeds, numbers and tries."""
    what = f"{seed}/{k}/{tries}" if tries else f"{seed}/{k}"
    return int.from_bytes(hashlib.sha256(what.encode()).digest()[:4], "big") >> 1
