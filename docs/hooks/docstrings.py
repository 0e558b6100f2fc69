"""Griffe extension: docstrings, which are plain text, as Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1\S.*|\n\1 +\S.*)*", re.MULTILINE)
ADJACENT = re.compile(r"\](?= ?\[)")
CODE = re.compile(r"(``.*?``|`[^`]*`)", re.DOTALL)


class Docstrings(griffe.Extension):
    """Show examples as code, and brackets side by side as they stand, which Markdown would read as a link."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Return a docstring as Markdown."""
    parts, place = [], 0
    for example in EXAMPLE.finditer(text):
        indent = example[1]
        parts += [prose(text[place : example.start()]), f"{indent}```pycon\n{example[0]}\n{indent}```"]
        place = example.end()
    return "".join([*parts, prose(text[place:])])


def prose(text: str) -> str:
    """Escape what Markdown would take for a link, outside of code."""
    pieces = CODE.split(text)
    return "".join(piece if i % 2 else ADJACENT.sub(r"\\]", piece) for i, piece in enumerate(pieces))
