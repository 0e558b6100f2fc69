"""Answers in one form, so that "thirty", "30" and "30th" can be compared."""

from __future__ import annotations

import re
import unicodedata

from valign.core.text import UNSPACED

_CARDINAL_WORDS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen"""
_TEN_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINAL_WORDS = """
first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth twentieth"""
_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}
_SMALL = {word: value for value, word in enumerate(_CARDINAL_WORDS.split())}
_TENS = {word: 10 * value for value, word in enumerate(_TEN_WORDS.split(), start=2)}
_ORDINALS = {word: f"{i}{_SUFFIXES.get(i, 'th')}" for i, word in enumerate(_ORDINAL_WORDS.split(), start=1)}
_ORDINALS |= {f"twenty {word}": f"2{token}" for word, token in list(_ORDINALS.items())[:9]}
_ORDINALS |= {"thirtieth": "30th", "thirty first": "31st"}
_BREAK = ","
_ELISION = re.compile(r"\b([ldjmtscn]|qu|jusqu|lorsqu|puisqu|quelqu)'(?=[aeiouyh\u00e0-\u00ff\u0153])")
_PRONOUN_BEFORE = {"no", "any", "every", "some"}


def normalise(text: str) -> list[str]:
    """Return the words of a text in the one spelling in which facts are compared.

    Unicode NFKC and case folding; thousands separators joined; the possessive *'s* and other apostrophes dropped;
    hyphens and punctuation become spaces (a decimal point stays); ``%`` and "per cent" become ``percent``, "p.m."
    becomes ``pm``; number words up to 999,999 become digits ("twenty-one" and "twenty one": ``21``) and ordinals up
    to the thirty-first become ``31st``. Number words are not joined across punctuation. French elisions (*l'homme*) are
    two words; of scripts without spaces every letter is one.

    The word *one* becomes ``1``, except as a pronoun: after *no*, *any*, *every* or *some* ("no one") and before
    *another*. Other pronouns ("the one who") do become ``1``; as facts and answers go through the same mapping, this
    can matter only for a fact that is the bare word *one*.
    """
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", "", text)
    text = re.sub("[\u2018\u2019\u02bc\u2032]", "'", unicodedata.normalize("NFKC", text).casefold())
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<!\bone)'s\b", "", text)
    text = _ELISION.sub(r"\1 ", text).replace("'", "")
    text = re.sub(f"([{UNSPACED}])", r" \1 ", text)
    text = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m ", text)
    text = re.sub(r"%|\bper cent\b", " percent ", text)
    text = re.sub(r"(?<=\d)(?!(?:st|nd|rd|th)\b)(?=[^\W\d_])", " ", text)
    text = re.sub(r"[-\u2010-\u2012]", " ", text)
    text = re.sub(r"(?!(?<=\d)\.(?=\d))[^\w\s]|_", f" {_BREAK} ", text)
    return [word for word in _digits(text.split()) if word != _BREAK]


def _digits(words: list[str]) -> list[str]:
    """Write number words as digits."""
    result, i = [], 0
    while i < len(words):
        value, used = _ordinal(words, i)
        if not used:
            number, used = _cardinal(words, i)
            value = str(number) if used else words[i]
        result.append(value)
        i += max(used, 1)
    return result


def _ordinal(words: list[str], i: int) -> tuple[str, int]:
    """Read an ordinal up to the thirty-first at position i; return its token and the number of words (0: none)."""
    for used in (2, 1):
        token = _ORDINALS.get(" ".join(words[i : i + used]))
        if token and i + used <= len(words):
            return token, used
    return "", 0


def _word(words: list[str], i: int) -> str:
    return words[i] if 0 <= i < len(words) else ""


def _below_hundred(words: list[str], i: int) -> tuple[int, int]:
    """Read a number under one hundred at position i; return its value and the number of words (0: none)."""
    word, after = _word(words, i), _word(words, i + 1)
    if word == "one" and (_word(words, i - 1) in _PRONOUN_BEFORE or after == "another"):
        return 0, 0
    if word in _TENS:
        unit = _SMALL.get(after, 0)
        return (_TENS[word] + unit, 2) if 0 < unit < 10 else (_TENS[word], 1)
    return (_SMALL[word], 1) if word in _SMALL else (0, 0)


def _below_thousand(words: list[str], i: int) -> tuple[int, int]:
    """Read a number under one thousand ("two hundred and five", "a hundred", "3 hundred")."""
    value, used = _below_hundred(words, i)
    scaled = _word(words, i + 1) in ("hundred", "thousand")
    if not used and scaled and (words[i] == "a" or re.fullmatch(r"\d{1,3}", words[i])):
        value, used = (1 if words[i] == "a" else int(words[i])), 1
    elif not used and _word(words, i) in ("hundred", "thousand"):
        value = 1
    if not value or _word(words, i + used) != "hundred":
        return value, used
    return _with_tail(words, i, value * 100, used + 1, "hundred")


def _cardinal(words: list[str], i: int) -> tuple[int, int]:
    """Read a number under one million."""
    value, used = _below_thousand(words, i)
    if not value or _word(words, i + used) != "thousand":
        return value, used
    return _with_tail(words, i, value * 1000, used + 1, "thousand")


def _with_tail(words: list[str], i: int, value: int, used: int, scale: str) -> tuple[int, int]:
    """Add what follows "hundred" or "thousand", unless it is a number of that scale ("one hundred and two hundred")."""
    start = i + used + (_word(words, i + used) == "and")
    if _word(words, start) in ("a", "hundred", "thousand"):
        return value, used
    tail, more = _below_hundred(words, start) if scale == "hundred" else _below_thousand(words, start)
    if not more or _word(words, start + more) == scale:
        return value, used
    return value + tail, start + more - i
