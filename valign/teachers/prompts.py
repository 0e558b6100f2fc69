"""Prompt templates as text: turn after turn, each under a line ``### system``, ``### user`` or ``### assistant``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from valign.core.records import Message

TURN_MARK = re.compile(r"^### (system|user|assistant)\n", re.MULTILINE)


def parse_turns(text: str) -> tuple[Message, ...]:
    """Return the conversation that a template's text holds; none where it has no such line."""
    parts = TURN_MARK.split(text)[1:]
    return tuple(
        Message(role=role, content=content.strip()) for role, content in zip(parts[::2], parts[1::2], strict=True)
    )


def fill(turns: Sequence[Message], places: re.Pattern[str], words: Mapping[str, str]) -> tuple[Message, ...]:
    """Return the conversation with words put in at their places; braces inside the words mean nothing.

    Args:
        turns: The conversation.
        places: Matches a place; its first group is the name of what goes there.
        words: What goes there, by name.

    Raises:
        KeyError: A place has no words.
    """
    return tuple(
        Message(role=turn["role"], content=places.sub(lambda match: words[match[1]], turn["content"])) for turn in turns
    )
