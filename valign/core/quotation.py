"""Words that somebody quotes from a text: whether they stand in it, and where."""

from __future__ import annotations

import re
from itertools import pairwise

from valign.core.text import UNSPACED, WIDE_ENDS

_DOUBLE = '"\u201c\u201d\u201e\u201f\u00ab\u00bb'
_SINGLE = "'\u2018\u2019\u201a\u201b\u02bc`\u00b4"
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_ALIKE = {mark: f"[{re.escape(marks)}]" for marks in (_DOUBLE, _SINGLE, _DASHES) for mark in marks}
_AROUND = f" \t\n\r\v\f\u00a0.;,:\u2026{_DOUBLE}{_SINGLE}{WIDE_ENDS}\uff0c\uff1a\u300c\u300d"
_RUN_ON = re.compile(f"[{UNSPACED}\u3001-\u303f\uff00-\uff0f]")
_SPACED_LETTER = rf"[^\W{UNSPACED}]"


def find_quote(quote: str, text: str) -> tuple[int, int] | None:
    r"""Return where the words of a quote stand in a text; None where they do not, word for word.

    Case, the spaces and line breaks between words, and the sort of quotation marks, apostrophes and dashes do not
    matter; marks around the quote are taken off. Words are whole words. Nothing may be left out inside.

    >>> find_quote('"guests may   not feed"', "Here guests may\nnot feed the geese.")
    (5, 24)
    >>> find_quote("not fee", "Do not feed the geese.") is None
    True

    Args:
        quote: What is said to stand there.
        text: Where it should stand.
    """
    words = quote.strip(_AROUND).split()
    if not words or sum(map(len, words)) > len(text):
        return None
    gaps = [r"\s*" if _runs_on(one[-1], other[0]) else r"\s+" for one, other in pairwise(words)]
    pattern = "".join(_letters(word) + gap for word, gap in zip(words, [*gaps, ""], strict=True))
    before = rf"(?<!{_SPACED_LETTER})" if re.match(_SPACED_LETTER, words[0]) else ""
    behind = rf"(?!{_SPACED_LETTER})" if re.match(_SPACED_LETTER, words[-1][-1]) else ""
    found = re.search(f"{before}{pattern}{behind}", text, re.I)
    return found.span() if found else None


def _letters(word: str) -> str:
    """Return a pattern of a word's letters, between which a line may break in scripts without spaces."""
    parts = [_ALIKE.get(letter, re.escape(letter)) for letter in word]
    gaps = [r"\s*" if _runs_on(one, other) else "" for one, other in pairwise(word)]
    return "".join(part + gap for part, gap in zip(parts, [*gaps, ""], strict=True))


def _runs_on(one: str, other: str) -> bool:
    """Tell whether a space between two letters says nothing."""
    return _RUN_ON.match(one) is not None and _RUN_ON.match(other) is not None
