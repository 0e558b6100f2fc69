"""Probes that a person adds on the page of the review, and rows with two verdicts, which are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from review_work import GEESE, make_rows, review_server, send

from valign.review_desk.server import ReviewServer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "review.jsonl"


@pytest.fixture
def desk(file: Path) -> Iterator[ReviewServer]:
    """Three rows of D_sft, two pairs, a question and a probe, reviewed by ann."""
    with review_server(file) as server:
        yield server


def test_a_probe_is_added_about_a_clause(desk: ReviewServer, file: Path) -> None:
    """Its verdict says of which kind it is; it keeps training questions away; without probes there is no such set."""
    assert list(send(desk.address, "rows")[1]["new"]) == ["D_sft", "D_pref", "questions", "probes"]
    change = {"question": "May a child throw bread to geese at the pier?", "answer": "No, nobody.", "verdict": "no"}
    body = {"set": "probes", "clause": GEESE, "change": change}
    status, added = send(desk.address, "add", body)
    assert status == 200
    row = added["states"][added["key"]]["row"]
    assert (row["set"], row["kind"], row["verdict"], row["clauses"]) == ("probes", "denied", "no", [GEESE])
    assert row["name"].startswith("probe-") and row["teacher"] == "added by ann"
    shared = {**change, "question": "Tell me: may a child throw bread to geese?", "verdict": None}
    status, said = send(desk.address, "add", {"set": "D_sft", "clause": GEESE, "change": shared})
    assert status == 400 and "which training may not give away" in said
    with review_server(file.parent / "other.jsonl", rows=[r for r in make_rows() if r.set != "probes"]) as other:
        assert "probes" not in send(other.address, "rows")[1]["new"]
        status, said = send(other.address, "add", body)
        assert status == 400 and said.endswith("make both with evaluation.policy_probes.questions=made.")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("probes", {"question": "May she?", "answer": "No."}, "verdict is missing; a new row of probes needs it."),
        ("probes", {"question": "May she?", "answer": "No.", "verdict": "yes"}, "verdict yes, and its answer says no"),
        ("D_sft", {"question": "May she?", "answer": "No.", "verdict": "yes"}, "is yes, and the answer says no; make"),
    ],
)
def test_a_new_row_with_two_verdicts_or_none_is_refused(
    desk: ReviewServer, name: str, change: dict[str, str], said: str
) -> None:
    status, text = send(desk.address, "add", {"set": name, "clause": GEESE, "change": change})
    assert status == 400 and said in text


def test_an_edit_that_leaves_two_verdicts_is_refused(desk: ReviewServer) -> None:
    key = next(key for key, row in desk.desk.rows.items() if row.set == "D_sft")  # its verdict is no
    status, said = send(desk.address, "decide", {"action": "edit", "key": key, "change": {"answer": "Yes, you may."}})
    assert (status, said) == (400, "the verdict is no, and the answer says yes; make them agree.")
    change = {"answer": "Whoever has a helmet may."}  # begins with neither
    assert send(desk.address, "decide", {"action": "edit", "key": key, "change": change})[0] == 200
