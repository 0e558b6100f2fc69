"""Decisions about rows: what they come to, how they are read, and what nobody may write into a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from valign.core.errors import ValignError
from valign.core.files import to_dict, write_jsonl
from valign.synthesis.decisions import Decision, check_change, check_reviewer, read_review, row_key, settle


def decision(action: str, at: int, by: str = "ann", change: dict[str, Any] | None = None, of: str = "") -> Decision:
    """Return a decision about the one row, at a minute of the day; its id is the minute."""
    return Decision(
        action, "k", by, f"2026-11-29T00:{at:02}:00.000000+00:00", f"d{at}", "D_sft", "d/1", change or {}, of
    )


def test_the_latest_decision_counts_whatever_its_place_in_the_file() -> None:
    late, early = decision("drop", 5, "bob"), decision("keep", 1)
    for order in ([late, early], [early, late]):
        state = settle(order)["k"]
        assert (state.action, state.reviewer, state.readers, state.last) == ("drop", "bob", ("ann", "bob"), "d5")


def test_a_keep_confirms_what_had_been_edited_and_another_edit_starts_from_the_row_as_written() -> None:
    edited = decision("edit", 1, change={"answer": "No."})
    state = settle([edited, decision("keep", 2, "bob")])["k"]
    assert (state.action, state.reviewer, state.change, state.last) == ("edit", "ann", {"answer": "No."}, "d2")
    other = settle([edited, decision("edit", 3, "bob", {"question": "Why?"})])["k"]
    assert (other.reviewer, other.change) == ("bob", {"question": "Why?"})
    back = settle([edited, decision("edit", 3, "bob")])["k"]
    assert (back.action, back.change) == ("keep", {})


def test_what_is_undone_counts_no_more_and_an_undo_of_the_only_decision_leaves_the_row_unread() -> None:
    lines = [decision("drop", 1), decision("edit", 2, "bob", {"answer": "No."}), decision("undo", 3, "bob", of="d2")]
    assert settle(lines)["k"].action == "drop"
    assert settle([*lines, decision("undo", 4, of="d1")]) == {}


def test_an_added_row_keeps_its_first_words_and_who_wrote_it() -> None:
    first = {"question": "May I?", "answer": "No."}
    lines = [decision("add", 1, change=first), decision("edit", 2, "bob", {"answer": "Never."})]
    state = settle(lines)["k"]
    assert (state.action, state.adder, state.reviewer) == ("add", "ann", "bob")
    assert (state.first, state.change) == (first, {"question": "May I?", "answer": "Never."})
    assert settle([*lines, decision("drop", 3)])["k"].action == "drop"


def test_a_key_is_another_one_for_other_words() -> None:
    words = ["D_sft", "Nobody may.", "May I?", "No.", ""]
    others = [[word + "x" * (i == j) for j, word in enumerate(words)] for i in range(5)]
    assert len({row_key(*one) for one in [words, *others, words]}) == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": " \n"}, "answer is empty"),
        ({"rejected": "x" * 4001}, "rejected answer has 4001 characters; 4000"),
        ({"question": "May I <|im_end|> go?"}, r"question holds <\|im_end\|>, a control token"),
        ({"answer": "No\x00."}, "answer holds control characters"),
        ({"answer": 3}, "answer must be text, not int"),
        ({"verdict": "maybe"}, "verdict 'maybe' is none"),
        ({"facts": ["12 days"]}, "facts must be a list of lists"),
        ({"facts": [["12 days", ""]]}, "a fact is empty"),
        ({"answer": "No.", "rejected": " No. "}, "are the same"),
        ({"clause": "d/2"}, "'clause' cannot be changed"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValignError, match=said):
        check_change(change)


def test_texts_are_kept_as_written_without_space_around_them() -> None:
    given = {"answer": " Yes.\r\nOn two days. ", "verdict": None, "facts": [[" 12 days ", "twelve days"]]}
    assert check_change(given) == {
        "answer": "Yes.\nOn two days.",
        "verdict": None,
        "facts": [["12 days", "twelve days"]],
    }
    assert check_reviewer(" Ann Ö. ") == "Ann Ö."
    for name in ("", "  ", "a\nb", "x" * 81):
        with pytest.raises(ValignError, match="is no name"):
            check_reviewer(name)


def test_a_file_is_read_up_to_what_a_power_cut_left(tmp_path: Path) -> None:
    """Half a line at the end was never confirmed; half a line before others, or another one's words, are an error."""
    file = tmp_path / "review.jsonl"
    write_jsonl(file, [decision("keep", 1)])
    whole = file.read_bytes()
    for tail in (b"", b'{"action": "dr', b'{"action": "drop"}', "{ü".encode()[:-1]):
        file.write_bytes(whole + tail)
        assert read_review(file).states["k"].action == "keep"
    file.write_bytes(whole + json.dumps(to_dict(decision("drop", 2))).encode())
    assert read_review(file).states["k"].action == "drop"
    file.write_bytes(b'{"action": "dr\n' + whole)
    with pytest.raises(ValignError, match=r"review\.jsonl, line 1: not a JSON object"):
        read_review(file)
    file.write_bytes(whole.replace(b'"keep"', b'"burn"'))
    with pytest.raises(ValignError, match="line 1: 'burn' is no action; there are: keep, drop"):
        read_review(file)
    file.write_bytes(whole.replace(b'"change": {}', b'"change": {"answer": ""}'))
    with pytest.raises(ValignError, match="line 1: answer is empty"):
        read_review(file)
    with pytest.raises(ValignError, match=r"^synthesis\.review=.*gone\.jsonl does not exist"):
        read_review(tmp_path / "gone.jsonl")
