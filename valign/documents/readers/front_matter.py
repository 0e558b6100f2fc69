"""The front matter of a Markdown file: what stands before its text for the program that publishes it."""

from __future__ import annotations

import json
import re
import tomllib
from typing import NamedTuple

import yaml

OPENING = re.compile(r"(?P<mark>---|\+\+\+)[ \t]*\n")
CLOSING = {
    "---": re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.MULTILINE),
    "+++": re.compile(r"^\+\+\+[ \t]*(?:\n|\Z)", re.MULTILINE),
}
TITLE_BLOCK = re.compile(r"%[ \t]+(?P<title>[^\n]+\n(?:[ \t]+[^\n]+\n)*)(?:%[^\n]*\n(?:[ \t]+[^\n]+\n)*){0,2}(?=\s*\n)")
"""Pandoc's title, authors and date."""
LONGEST_FRONT_MATTER = 64 * 1024


class FrontMatter(NamedTuple):
    """Front matter as it stands in the file, the title that it gives, and the text behind it."""

    text: str
    title: str | None
    rest: str


def split_front_matter(text: str, is_markdown: bool = True) -> FrontMatter:
    """Split off front matter in YAML (between ``---``) or TOML (between ``+++``); of Markdown also JSON, and Pandoc's.

    Pandoc's stands behind ``%``.

    A text between two rules that is no mapping, such as a sentence, is no front matter.

    Args:
        text: A Markdown or plain text file, with LF line ends.
        is_markdown: Which of the two it is.
    """
    none = FrontMatter("", None, text)
    block = TITLE_BLOCK.match(text, 0, LONGEST_FRONT_MATTER) if is_markdown else None
    if block:
        return FrontMatter(block[0], " ".join(block["title"].split()), text[block.end() :])
    if is_markdown and text.startswith("{"):
        return _split_json(text) or none
    opening = OPENING.match(text)
    if opening is None:
        return none
    closing = CLOSING[opening["mark"]].search(text, opening.end(), opening.end() + LONGEST_FRONT_MATTER)
    if closing is None:
        return none
    inner = text[opening.end() : closing.start()]
    try:
        title = _yaml_title(inner) if opening["mark"] == "---" else tomllib.loads(inner).get("title")
    except (ValueError, yaml.YAMLError, RecursionError):
        return none
    own = " ".join(title.split()) if isinstance(title, str) else None
    return FrontMatter(text[: closing.end()], own or None, text[closing.end() :])


def _split_json(text: str) -> FrontMatter | None:
    """Split off a JSON object that stands on lines of its own before other text."""
    try:
        found, end = json.JSONDecoder().raw_decode(text[:LONGEST_FRONT_MATTER])
    except (ValueError, RecursionError):
        return None
    rest = text[end:]
    if not found or not rest.strip() or not rest.lstrip(" \t").startswith("\n"):
        return None
    title = found.get("title")
    return FrontMatter(text[:end], title if isinstance(title, str) and title.strip() else None, rest)


def _yaml_title(inner: str) -> str | None:
    """Return the title in a YAML mapping, or raise ValueError; nodes are not built, so that aliases cost nothing."""
    node = yaml.compose(inner, yaml.SafeLoader)
    if node is None:
        return None
    if not isinstance(node, yaml.MappingNode):
        raise ValueError("no mapping")
    for key, value in node.value:
        if key.value == "title" and isinstance(value, yaml.ScalarNode):
            return str(value.value)
    return None
