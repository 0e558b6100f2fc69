"""Prompt templates: text files, named and versioned by the hash of their words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources

from valign.errors import ValignError
from valign.records import Message, Passage
from valign.store import digest

PLACEHOLDER = re.compile(r"\{(passage|question|answer)\}")


@dataclass(frozen=True)
class Template:
    """A conversation with places for a passage, a question and an answer.

    Attributes:
        id: The file's name.
        hash: Changes with every word of the file.
        turns: The conversation; ``{passage}``, ``{question}`` and ``{answer}`` stand where the words go.
    """

    id: str
    hash: str
    turns: tuple[Message, ...]

    def fill(self, **words: str) -> tuple[Message, ...]:
        """Return the conversation with the words put in; braces inside the words mean nothing."""
        filled: list[Message] = []
        for turn in self.turns:
            content = PLACEHOLDER.sub(lambda match: words[match.group(1)], turn["content"])
            filled.append({"role": turn["role"], "content": content})
        return tuple(filled)


def load_template(name: str) -> Template:
    """Read a template from the package.

    The file holds one turn after another, each under a line ``### system``, ``### user`` or ``### assistant``.

    Raises:
        ValignError: There is no such template, or it does not end with a user turn.
    """
    file = resources.files("valign.synthesis").joinpath("prompts", f"{name}.txt")
    if not file.is_file():
        raise ValignError(f"There is no prompt template '{name}'; see valign/synthesis/prompts.")
    text = file.read_text(encoding="utf-8")
    parts = re.split(r"^### (system|user|assistant)\n", text, flags=re.M)[1:]
    turns: list[Message] = [
        {"role": role, "content": content.strip()} for role, content in zip(parts[::2], parts[1::2], strict=True)
    ]
    if not turns or turns[-1]["role"] != "user":
        raise ValignError(f"Prompt template '{name}' must end with a '### user' turn.")
    return Template(name, digest(text), tuple(turns))


def topic(passage: Passage) -> str:
    """Return what a passage is about, from its heading: ``Section 3. Fog`` gives ``Fog``, ``Article 5`` nothing."""
    if len(passage.heading) < 2:
        return ""
    words = re.sub(r"^(?:[A-Za-z]+ )?(?:§ ?)?(?:\d+|[IVXLC]+)(?:\.\d+)*[.:)]?\s*", "", passage.heading[-1])
    return words.strip()


def labelled(passage: Passage) -> str:
    """Return the passage's words with its topic in front, as a prompt shows it."""
    return f"{topic(passage)}. {passage.text}" if topic(passage) else passage.text
