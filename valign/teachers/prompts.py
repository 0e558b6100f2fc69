"""Prompt templates as text: turn after turn, each under a line ``### system``, ``### user`` or ``### assistant``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from valign.core.records import Message

TURN_MARK = re.compile(r"^### (system|user|assistant)[ \t]*\n", re.MULTILINE)


def parse_turns(text: str) -> tuple[Message, ...]:
    """Return the conversation that a template's text holds; none where it has no such line."""
    parts = TURN_MARK.split(text)[1:]
    return tuple(
        Message(role=role, content=content.strip()) for role, content in zip(parts[::2], parts[1::2], strict=True)
    )


def fill_turns(turns: Sequence[Message], places: re.Pattern[str], words: Mapping[str, str]) -> tuple[Message, ...]:
    """Return the conversation with its placeholders replaced by words; a placeholder inside the words is left as it is.

    Args:
        turns: The conversation.
        places: Matches a placeholder; its first group is the placeholder's name.
        words: The words by the placeholder's name.

    Raises:
        KeyError: There are no words for a placeholder.
    """
    return tuple(
        Message(role=turn["role"], content=places.sub(lambda match: words[match[1]], turn["content"])) for turn in turns
    )
