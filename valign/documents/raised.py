"""Raised and lowered text on a line: the mark of a note goes, an exponent stays, and neither is glued to a number."""

from __future__ import annotations

import re

SUPERSCRIPTS = str.maketrans("0123456789+-\u2212\u2013()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁽⁾ⁿ")
SUBSCRIPTS = str.maketrans("0123456789+-\u2212()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₍₎")
ENDINGS = frozenset("st nd rd th er re ère ere e ème eme de nde os o me lle mo ste ter bis tm sm r".split())
"""What is raised at the end of a word or an ordinal number: 1st, 2e, Mme."""
SIGNS = frozenset("®™℠©°ºª%‰'\"′″")  # noqa: RUF001
EXPONENT_UNITS = frozenset("nm µm μm mm cm dm m km ft yd mi sec min kg mg kW kWh ha ac".split())
NEEDS_NUMBER = frozenset(("in", "s", "h", "a", "ac", "ha", "mi", "min", "sec"))
"""Units that are words or letters of their own as well: only behind a number or a stroke."""
LAST = re.compile(r"(?P<number>\d[\d.,]*)$|(?P<word>[^\W\d_]+)$")
LONGEST_BASE = 40
PRICE = re.compile(r"[$€£¥]\s?\d[\d.,]*$")
EXPONENT = re.compile(r"[-+\u2212\u2013]?\d{1,3}|n")
MARK = re.compile(r"[\[(]?(?:\d{1,4}|[^\W\d_])(?:\s*[-,;\u2013]\s*(?:\d{1,4}|[^\W\d_]))*[\])]?\W?")

NUMERATOR = re.compile(r"[0-9]{1,3}")
DENOMINATOR = re.compile(r"\s*(?P<stroke>[/\u2044\u2215])\s*(?P<number>[0-9]{1,3})(?![0-9])")
LARGEST_DENOMINATOR = 16


def place_raised(before: str, raised: str, is_note: bool = False) -> str | None:
    """Return what a line holds for raised text, or None where it is the mark of a note, which goes.

    An exponent becomes Unicode's raised digits, an ending (1st) joins its word, and what begins a line stands apart.

    Args:
        before: The line up to there; its last words are enough.
        raised: The raised text.
        is_note: Whether the file says that this is the mark of a note.
    """
    text = raised.strip()
    if not text:
        return raised
    if not before.strip():
        return f"{text} "
    if is_note and is_mark(text):
        return None
    last = LAST.search(before[-LONGEST_BASE:])
    if text in SIGNS or (last and text.casefold().rstrip(".") in ENDINGS and len(before) == len(before.rstrip())):
        return raised
    if EXPONENT.fullmatch(text) and _has_exponent(before, text, last):
        return text.translate(SUPERSCRIPTS)
    return None if is_mark(text) else f" {text}"


def place_numerator(before: str, raised: str, behind: str, is_lowered: bool) -> str | None:
    """Return what a line holds for a raised number that begins a fraction (3 1/2), or None where it begins none.

    Args:
        before: The line up to there.
        raised: The raised text.
        behind: What follows on the line: a stroke and a number, in a fraction.
        is_lowered: Whether that number is lowered; behind a plain one, only what looks like part of a measure counts.
    """
    text, below = raised.strip(), DENOMINATOR.match(behind)
    if below is None or not NUMERATOR.fullmatch(text):
        return None
    if not is_lowered and below["stroke"] == "/" and not int(text) < int(below["number"]) <= LARGEST_DENOMINATOR:
        return None
    return f" {text}" if before[-1:].isalnum() else text


def is_mark(text: str) -> bool:
    """Tell whether words can be the mark of a note: a number, a letter or a sign, such as 2, [12], a or †."""
    return not re.search(r"\w", text) or MARK.fullmatch(text.strip()) is not None


def exponent(text: str) -> str:
    """Return what the file says is an exponent: Unicode's raised digits, or the words behind ``^``."""
    return text.translate(SUPERSCRIPTS) if EXPONENT.fullmatch(text) else f"^{text}" if text else ""


def place_lowered(before: str, lowered: str) -> str:
    """Return what a line holds for lowered text: as it is (CO2), but behind a digit with Unicode's lowered digits."""
    return lowered.translate(SUBSCRIPTS) if before[-1:].isdigit() else lowered


def _has_exponent(before: str, text: str, last: re.Match[str] | None) -> bool:
    """Tell whether raised digits are an exponent of what stands before them: 10⁶, m², x², (a + b)², s⁻¹."""
    if before[-1:] in (")", "]"):
        return True
    if last is None:
        return False
    if not text[0].isdigit():
        return True
    if number := last["number"]:
        return number == "10" or (len(text) == 2 and PRICE.search(before[-LONGEST_BASE:]) is not None)
    word = last["word"]
    if word in NEEDS_NUMBER and not re.search(r"(?:\d|/|\bper)\s*$", before[-LONGEST_BASE:].removesuffix(word)):
        return False
    return word in EXPONENT_UNITS or word == "in" or len(word) == 1
