"""Texts of unknown origin: made safe for a terminal and for Markdown, their words, and whether they refuse."""

from __future__ import annotations

import re
import shlex
import unicodedata

REFUSAL = re.compile(
    r"^\W*(?:i'm|i am) (?:sorry|afraid)\b"
    r"|\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"|\b(?:i (?:can't|cannot|can not|won't|will not)|(?:i am|i'm) (?:unable|not able) to) "
    r"(?:help|assist|answer|provide|comply|discuss|fulfil|give (?:you )?(?:legal|medical|any) advice)",
    re.I,
)
REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def printable(text: str) -> str:
    """Return a text without control characters, marks that reorder it, and halves of characters; line breaks stay."""
    spaced = re.sub(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", text).replace("\t", "    ")
    return "".join(c for c in spaced if c == "\n" or _shown(c))


def one_line(text: str) -> str:
    """Return a printable text on one line."""
    return " ".join(printable(text).split())


def markdown(text: str) -> str:
    """Return a text on one line in which Markdown's marks and HTML's brackets mean themselves."""
    return re.sub(r"([\\`*_\[\]<>|#!~])", r"\\\1", one_line(text))


def _shown(character: str) -> bool:
    return character not in REORDERING and unicodedata.category(character) not in ("Cc", "Cs")


def typed(key: str, value: str) -> str:
    r"""Return a setting as it is typed in a shell, whatever characters its text has.

    >>> print(typed("document.path", "a, b's.txt"))
    'document.path="a, b'"'"'s.txt"'
    """
    backslashes = re.sub(r"(\\+)(?=\"|$)", r"\1\1", value)
    is_plain = re.fullmatch(r"[\w./:@%+-]*[./][\w./:@%+-]*", value, re.ASCII)
    quoted = value if is_plain else '"' + backslashes.replace('"', '\\"') + '"'
    return shlex.quote(f"{key}={quoted}")


def words(text: str) -> tuple[str, ...]:
    """Return the lower-case words of a text."""
    return tuple(re.findall(r"\w+", text.lower()))


def refuses(text: str) -> bool:
    """Tell whether a text refuses to answer, in one of the usual English phrases.

    >>> refuses("I'm sorry, but I can't help with that."), refuses("A guest cannot help at the counter.")
    (True, False)
    """
    return REFUSAL.search(text.replace("\u2019", "'")) is not None
