"""A number as a list shows it, decimal, Roman or in letters, and the one after it."""

from __future__ import annotations

ROMAN_DIGITS = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip
LAST_LETTERS = 780
"""Word counts in letters up to 30 of the same; larger numbers are decimal here."""


def number_text(number: int, kind: str) -> str:
    """Return a number in one of Word's formats; those without a form of their own here are decimal."""
    if kind in ("lowerLetter", "upperLetter") and 0 < number <= LAST_LETTERS:
        letter = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
        return letter if kind == "lowerLetter" else letter.upper()
    if kind in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        roman = ""
        for size, sign in ROMAN_DIGITS:
            roman += sign * (number // size)
            number %= size
        return roman if kind == "lowerRoman" else roman.upper()
    return f"{number:02d}" if kind == "decimalZero" else str(number)


def successor(number: str | None) -> str | None:
    """Return the number after ``2.3``, which is ``2.4``; None for letters and Roman numerals."""
    head, dot, tail = (number or "").rpartition(".")
    return f"{head}{dot}{int(tail) + 1}" if tail.isdigit() else None
