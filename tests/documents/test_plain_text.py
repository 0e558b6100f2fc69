"""Plain text as programs and people indent and underline it."""

from __future__ import annotations

import pytest

from valign.documents.read import parse_document

INDENTED = """\
Statutes

  4.1. Powers

   Together, the members may:
    1. Appoint the leader.
    2. Issue and withdraw policies.
         1. A founding paper is one that is regarded as critical to what the
            club is for.
         2. A founding paper needs a majority of three to one, and this is
            counted by the secretary.
    3. Make decisions about the boat house, as long as
       nobody objects within a week.

  4.2. Procedure

    1. A resolution is introduced by any member, or by the committee and
       its chair.
    2. Delaying a decision of the leader:
         1. If the leader or their delegate, or the whole of the
            Committee, has decided, then members can override them; see
            4.1(3).
         2. If five members sponsor it, the decision rests.
    3. Votes are taken by the secretary.
    4. Details regarding voting
       Votes are open, unless a member asks for a secret one, as in 4.1(2),
       §4.2.
    9. An error of counting.
"""


def clauses(raw: str, suffix: str = "txt") -> dict[str, str]:
    return {p.clause: " ".join(p.text.split()) for p in parse_document(raw.encode(), "x", suffix=suffix).passages}


def test_a_list_within_a_numbered_paragraph_belongs_to_it() -> None:
    """Told by the indentation; the outer numbers go on behind it, and a wrapped line is no heading."""
    found = clauses(INDENTED)
    assert list(found) == ["x/section-4.1", *(f"x/section-4.2/{number}" for number in range(1, 5))]
    assert found["x/section-4.1"].startswith("Together, the members may: 1. Appoint the leader. 2. Issue and withdraw")
    assert found["x/section-4.1"].endswith("as long as nobody objects within a week.")
    assert found["x/section-4.2/2"].endswith("see 4.1(3). 2. If five members sponsor it, the decision rests.")
    assert found["x/section-4.2/4"].startswith("Details regarding voting Votes are open")
    assert found["x/section-4.2/4"].endswith("as in 4.1(2), §4.2. 9. An error of counting.")


def test_three_levels_and_numbers_that_grow_to_the_left() -> None:
    tens = "".join(f"{number:>4}. Rule {number} holds for all who come.\n" for number in range(1, 12))
    inner = "".join(f"{number:>9}. Case {number} of it is left to the chair.\n" for number in range(1, 12))
    found = clauses(f"1. Scope\n\nThese are the rules.\n\n{tens}{inner}  12. The last.\n\n2. End\n\nNo more.\n")
    assert [key for key in found if "section-1" in key][-1] == "x/section-1/12"
    assert found["x/section-1/11"].endswith("11. Case 11 of it is left to the chair.")
    deep = (
        "1. Scope\n\n 1. One.\n    1. Inner.\n       1. Innermost.\n       2. Next to it.\n    2. Inner again.\n"
        " 2. Two.\n\n2. End\n\nNo.\n"
    )
    assert clauses(deep)["x/section-1/1"] == "One. 1. Inner. 1. Innermost. 2. Next to it. 2. Inner again."


def test_titles_below_numbered_paragraphs_stay_titles() -> None:
    """Centred headings are indented further than the paragraphs, and stand alone."""
    text = "        1. Scope\n\n1. All staff.\n2. All guests.\n\n        2. Gifts\n\n1. None.\n2. Not one.\n"
    assert list(clauses(text)) == ["x/section-1/1", "x/section-1/2", "x/section-2/1", "x/section-2/2"]


def test_headings_are_underlined_with_any_mark() -> None:
    """The first mark is the outermost, as in reStructuredText; a shorter line of marks underlines nothing."""
    text = (
        "Handbook\n********\n\nAll of it.\n\n1. Gifts\n********\n\nNone.\n\n1.1. Cash\n=========\n\nNot even cash.\n\n"
        "Coins\n^^^^^\n\nNot a coin.\n\n2. Travel\n*********\n\nBook early.\n\n* * *\n\n"
        "Take trains.\n\nA line above\n~~~~\n"
    )
    found = parse_document(text.encode(), "x", suffix="txt")
    headings = {p.clause: p.heading[1:] for p in found.passages}
    assert headings == {
        "x/handbook": ("Handbook",),
        "x/section-1": ("1. Gifts",),
        "x/section-1.1": ("1. Gifts", "1.1. Cash"),
        "x/coins": ("1. Gifts", "1.1. Cash", "Coins"),
        "x/section-2/1": ("2. Travel",),
        "x/section-2/2": ("2. Travel",),
        "x/section-2/3": ("2. Travel",),
    }
    assert [p.text for p in found.passages][-1] == "A line above\n~~~~"


def test_numbered_titles_may_end_with_a_full_stop() -> None:
    """Each alone on its line, in capitals, with text below; a list of short rules is no list of titles."""
    text = (
        "CLUB RULES\n\n  0. Definitions.\n\n  \"Boat\" means anything that floats.\n\n  1. Care of Boats.\n\n"
        "  Boats are washed.\n\n  They are dried, too.\n\n"
        "  2. Use of the House from May.\n\n  The house is locked at ten.\n"
    )  # fmt: skip
    assert clauses(text) == {
        "x/section-0": '"Boat" means anything that floats.',
        "x/section-1/1": "Boats are washed.",
        "x/section-1/2": "They are dried, too.",
        "x/section-2": "The house is locked at ten.",
    }
    rules = "CLUB RULES\n\n1. Honesty.\n\n2. Courage.\n\n3. Care.\n\nThese bind all members.\n"
    assert list(clauses(rules).values()) == ["Honesty.", "Courage.", "Care.", "These bind all members."]


def test_a_short_numbered_line_goes_with_what_is_said_below_it() -> None:
    text = "CLUB RULES\n\n1. No engines.\n\nOars and sails only.\n\n2. No dogs.\n\nCats are welcome.\n"
    assert clauses(text)["x/paragraph-1"] == "No engines. Oars and sails only."
    assert clauses(text)["x/paragraph-2"] == "No dogs. Cats are welcome."


def test_a_wrapped_line_is_no_title_however_it_begins() -> None:
    """Measured with its indent against the paragraph's widest line: a number, a label and a run-in title."""
    wide = "A line of another paragraph that is wider than those of the wrapped one below it, by far.\n\n"
    text = (
        f"Club rules\n\n{wide}   1. Passing on. You may pass on the key of the boat house to any of the\n"
        "      Members who have paid, as long as the committee has been told so in\n      writing.\n\n"
        "   2. Engines are\n      banned.\n\n"
        "    b) A boat must carry a light as the committee says under section\n"
        "    7.  This rule takes nothing from what is said of lights in section 4 on\n    \"Lights at night\".\n"
    )  # fmt: skip
    found = parse_document(text.encode(), "x", suffix="txt")
    assert [p.heading[1:] for p in found.passages] == [()] * len(found.passages)
    assert " ".join(found.passages[-1].text.split()).endswith('under section 7. This rule takes nothing from what '
        'is said of lights in section 4 on "Lights at night".')  # fmt: skip


def test_numbers_in_a_sentence_begin_no_paragraph() -> None:
    text = (
        "PREAMBLE\n\n  Two things keep you safe:\n(1) a boat that floats, and (2) a friend who knows\n"
        "where you are.\n\n  Everything else follows.\n"
    )
    assert clauses(text) == {
        "x/paragraph-1": "Two things keep you safe: (1) a boat that floats, and (2) a friend who knows where you are. "
        "Everything else follows."
    }


def test_numbers_go_on_below_marked_headings() -> None:
    """``2.1`` below an underlined ``2.`` is a title, ``7.1`` is none, and a sentence has its number for one."""
    text = (
        "1. Boats\n--------\n\nAll of them.\n\n2. Keys\n-------\n\n2.1. Loans\n\nFor a day.\n\n2.2. Losses\n\n"
        "Are told at once.\n\n2.3. Nobody keeps a key.\n\n7.1 Other\n\nThe end.\n"
    )  # fmt: skip
    assert [c.removeprefix("x/") for c in clauses(text)] == [
        *("section-1", "section-2.1", "section-2.2", "section-2.3/0", "section-2.3/7.1"),
    ]


def test_underlines_and_fences_of_code_are_told_apart() -> None:
    text = "Lights\n~~~~~~\n\nOn.\n\nOars\n~~~~\n\nUse:\n```\n# no heading\n```\n\nAnd\n~~~\n# nor this\n~~~\n"
    found = parse_document(text.encode(), "x", suffix="txt")
    assert [p.clause for p in found.passages] == ["x/lights", "x/oars/1", "x/oars/2"]
    assert found.passages[1].text.endswith("# no heading\n```")


@pytest.mark.parametrize("marks", ["____________________", ".....................", "~~~~~~~~~~~~~~~~~~~~~"])
def test_blanks_of_a_form_and_marks_below_a_sentence_underline_nothing(marks: str) -> None:
    found = parse_document(f"Rules\n\nGuests must sign here:\n{marks}\n\nNo dogs are let in.\n{marks}\n".encode(), "x")
    told = " ".join(p.text for p in found.passages)
    assert "Guests must sign here:" in told and "No dogs are let in." in told and found.title == "Rules"


@pytest.mark.parametrize("indent", ["\t", " "])
def test_the_outer_list_goes_on_behind_an_inner_one(indent: str) -> None:
    """Also where the inner one is indented by a tab or a single space, and the next number would go on with it."""
    first, second = (f"{indent}1. {one}\n{indent}2. {two}\n" for one, two in (("sign", "pay"), ("rest", "smile")))
    text = f"1. Guests must\n{first}2. Staff must\n{second}3. Dogs are out.\n"
    assert list(clauses(text).values())[-1] == "Dogs are out."


def test_ragged_and_right_aligned_numbers_are_one_list() -> None:
    ragged = "Rules\n\n1. Guests pay.\n 2. Staff rest.\n3. Dogs are out.\n4. Cats too.\n"
    assert list(clauses(ragged).values()) == ["Guests pay.", "Staff rest.", "Dogs are out.", "Cats too."]


@pytest.mark.parametrize("suffix", ["md", "txt"])
def test_numbers_may_be_left_out(suffix: str) -> None:
    title = "# Rules\n\n## A\n\n" if suffix == "md" else "Rules\n\n"
    found = clauses(f"{title}3. Guests pay.\n4. Staff rest.\n7. Dogs stay out.\n", suffix)
    assert [(key.rpartition("-")[2].rpartition("/")[2], text) for key, text in found.items()] == [
        *(("3", "Guests pay."), ("4", "Staff rest."), ("7", "Dogs stay out.")),
    ]


@pytest.mark.parametrize("first", ["% 10 of fees are due", '{"a": 1}'])
def test_front_matter_of_markdown_is_text_elsewhere(first: str) -> None:
    assert first in parse_document(f"{first}\n\nNo dogs.\n".encode(), "x", suffix="txt").text
