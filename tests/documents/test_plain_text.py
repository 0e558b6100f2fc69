"""Plain text as programs and people indent and underline it."""

from __future__ import annotations

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
