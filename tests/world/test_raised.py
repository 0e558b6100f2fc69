"""Raised text: the mark of a note never becomes part of a number, and an exponent stays one."""

from __future__ import annotations

import pytest

from valign.documents.numerals import number_text
from valign.documents.raised import exponent, is_mark, place_lowered, place_raised


@pytest.mark.parametrize(
    ("before", "raised", "expected"),
    [
        ("Gifts above 30", "2", None),
        ("the limit of 1,500", "12", None),
        ("refused", "1", None),
        ("refused.", "1, 2", None),
        ("refused", "[3]", None),
        ("above 30", "a", None),
        ("above 30", "*", None),
        ("above 30", "†", None),
        ("laid down in", "2", None),
        ("an area of 30 m", "2", "²"),
        ("30 m", "3", "³"),
        ("3 x 10", "6", "⁶"),
        ("10", "-6", "⁻⁶"),
        ("5 in", "2", "²"),
        ("kg/m", "3", "³"),
        ("s", "-1", "⁻¹"),
        ("x", "2", "²"),
        ("(a + b)", "2", "²"),
        ("x", "n", "ⁿ"),
        ("$49", "99", "⁹⁹"),
        ("the 1", "st", "st"),
        ("le 2", "e", "e"),
        ("Gauge", "®", "®"),
        ("30", " see the annex ", " see the annex"),
        ("", "1", "1 "),
        ("30", " ", " "),
    ],
)
def test_raised_text(before: str, raised: str, expected: str | None) -> None:
    assert place_raised(before, raised) == expected


def test_what_the_file_calls_a_note_goes_even_behind_a_unit() -> None:
    """But words in such a link are no mark."""
    assert place_raised("30 m", "2", is_note=True) is None
    assert place_raised("30", "see note 2", is_note=True) == " see note 2"
    assert is_mark("12") and is_mark("↩") and is_mark("[1]") and not is_mark("note on gifts")


def test_lowered_text_is_glued_to_letters_only() -> None:
    assert (place_lowered("CO", "2"), place_lowered("30", "2")) == ("2", "₂")
    assert (exponent("2"), exponent("a + b"), exponent("")) == ("²", "^a + b", "")


def test_letters_end_at_thirty() -> None:
    """A list that starts at 260,000,000 must not have 10,000,000 letters a label."""
    assert number_text(780, "lowerLetter") == "z" * 30
    assert number_text(260_000_000, "lowerLetter") == "260000000"
