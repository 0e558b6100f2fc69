"""Prompt templates: text files, named and versioned by the hash of their words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.records import Message
from valign.core.store import digest
from valign.documents.readers.text import read_characters
from valign.teachers.prompts import TURN_MARK, fill_turns, parse_turns

TEMPLATE_PLACEHOLDER = re.compile(r"\{(passage|question|second|reply|answer|plan|form)\}")


@dataclass(frozen=True)
class Template:
    """A conversation with placeholders for a passage, a second one, a question, a reply, an answer, a plan, a form.

    Attributes:
        id: The file's name.
        hash: Changes with every word of the file.
        turns: The conversation; ``{passage}``, ``{second}``, ``{question}``, ``{reply}``, ``{answer}``, ``{plan}`` and
            ``{form}`` stand where the words go.
    """

    id: str
    hash: str
    turns: tuple[Message, ...]

    def fill(self, **words: str) -> tuple[Message, ...]:
        """Return the conversation with the words put in; braces inside the words mean nothing."""
        return fill_turns(self.turns, TEMPLATE_PLACEHOLDER, words)


def load_template(name: str, folder: str | None = None, language: str = "en") -> Template:
    """Read a template from the package, or from a folder with the same file name where there is one.

    The file holds one turn after another, each under a line ``### system``, ``### user`` or ``### assistant``.

    Args:
        name: The file's name without its suffix.
        folder: Templates that stand in for the package's; those that it does not have stay.
        language: Code of the language whose templates are meant.

    Raises:
        ValignError: There is no such template or folder, or it does not end with a user turn, or lacks a placeholder.
    """
    own = resources.files("valign.synthesis.languages").joinpath(language, "prompts", f"{name}.txt")
    if not own.is_file():
        raise ValignError(f"There is no prompt template '{name}'; see valign/synthesis/languages/en/prompts.")
    text = own.read_text(encoding="utf-8")
    where = f"Prompt template '{name}'"
    if folder is not None:
        needed = set(TEMPLATE_PLACEHOLDER.findall(text))
        text, where = _override(Path(folder).expanduser(), name) or (text, where)
        for place in sorted(needed - set(TEMPLATE_PLACEHOLDER.findall(text))):
            raise ValignError(f"{where} lacks {{{place}}}; put it where the words go.")
    turns = parse_turns(text)
    if turns and not TURN_MARK.match(text.lstrip()):
        raise ValignError(f"{where} has words above its first turn; put them under a line '### system'.")
    if not turns or turns[-1]["role"] != "user":
        raise ValignError(f"{where} must end with a '### user' turn.")
    return Template(name, digest(text), turns)


def template_names(language: str = "en") -> list[str]:
    """Return the names of the package's templates in a language."""
    files = resources.files("valign.synthesis.languages").joinpath(language, "prompts").iterdir()
    return sorted(file.name.removesuffix(".txt") for file in files if file.name.endswith(".txt"))


def _override(folder: Path, name: str) -> tuple[str, str] | None:
    """Return the words of a template in the user's folder and how to name it; None where the folder has none."""
    if not folder.is_dir():
        raise ValignError(f"synthesis.templates={folder} is not a folder; give one with files such as {name}.txt.")
    names = template_names()
    for file in sorted(folder.glob("*.txt")):
        if file.stem not in names:
            raise ValignError(f"{file} stands in for no prompt template; call it one of: {', '.join(names)}.")
    file = folder / f"{name}.txt"
    if not file.is_file():
        return None
    return read_characters(file.read_bytes(), str(file)), str(file)
