"""Trace and card of data that people reviewed: who read and changed what, and what it said before."""

from __future__ import annotations

from pathlib import Path

import yaml
from stored import FUNNEL, harbour, origin, write_data, write_run

from valign.core.files import read_json, read_jsonl, to_dict, write_json, write_jsonl
from valign.core.records import Answer, Instruction
from valign.documents.clauses import ClauseIndex
from valign.evaluation.probes.policy import PolicyProbe
from valign.provenance.dataset_card import make_card
from valign.provenance.entries import trace_entry
from valign.provenance.ledger import read_ledger
from valign.synthesis.dataset import Reviewed, read_data
from valign.synthesis.review_rows import instruction_row, probe_row
from valign.synthesis.review_summary import summarise_review

AT = "2026-11-29T03:12:45.000000+00:00"


def reviewed_data(store: Path) -> Path:
    """Write data of whose rows one was kept, one edited, one dropped and one added."""
    folder = write_data(store)
    index = ClauseIndex(harbour().passages)
    kept, edited = read_jsonl(folder / "sft.jsonl", Instruction)
    before = instruction_row(edited, index)
    edited = Instruction(**{**edited.__dict__, "answer": "No: yellow.", "provenance": origin("yellow", "frame/claim")})
    place = origin("Every guard wears a yellow helmet on the pier.", "review/added", "added by bob")
    new = Instruction("sft-9999", kept.clauses, "added", "Red ones?", "No.", place)
    gone = instruction_row(Instruction("sft-3333", kept.clauses, "claim", "Why?", "So.", kept.provenance), index)
    write_jsonl(folder / "sft.jsonl", [kept, edited, new])
    clause = kept.clauses[0]
    reviewed = [
        Reviewed("D_sft", "k1", kept.example_id, "keep", "ann", AT, clause, ("ann",)),
        Reviewed("D_sft", "k2", edited.example_id, "edit", "bob", AT, clause, ("ann", "bob"), "",
                 {"answer": "No: yellow."}, to_dict(before)),
        Reviewed("D_sft", "k3", "", "drop", "ann", AT, clause, ("ann",), "", {}, to_dict(gone)),
        Reviewed("D_sft", "k4", "sft-9999", "add", "bob", AT, clause, ("bob",), "", {"question": "Red ones?"}),
    ]  # fmt: skip
    write_jsonl(folder / "reviewed.jsonl", reviewed)
    review = summarise_review({"D_sft": 3, "D_pref": 1, "questions": 1}, reviewed, 0, "review.jsonl")
    write_json(folder / "funnel.json", {**FUNNEL, "review": review})
    return folder


def test_an_example_says_who_read_and_changed_it(tmp_path: Path) -> None:
    folder = reviewed_data(tmp_path / "artifacts")
    ledger = read_ledger(tmp_path / "artifacts", tmp_path / "runs")
    assert "review     kept by ann, 2026-11-29T03:12 UTC; read by ann\n" in trace_entry(ledger, "sft-1111a")
    edited = trace_entry(ledger, "sft-1111b")
    assert "answer     No: yellow.\nreview     edited by bob, 2026-11-29T03:12 UTC; read by ann, bob\n" in edited
    assert "           answer, before: No. They are yellow.\n" in edited
    added = trace_entry(ledger, "sft-9999")
    assert "prompt     none; a person wrote the row\nteacher    added by bob" in added
    assert "review     added by bob" in added
    assert "review     nobody is noted to have read it\n" in trace_entry(ledger, "pref-2222")
    other = write_data(tmp_path / "artifacts", "00000000000000bb")
    rows = read_jsonl(other / "sft.jsonl", Instruction)
    write_jsonl(other / "sft.jsonl", [Instruction(**{**rows[0].__dict__, "example_id": "sft-3333"})])
    ledger = read_ledger(tmp_path / "artifacts", tmp_path / "runs")
    words = " ".join(trace_entry(ledger, "sft-3333").split())
    assert words.endswith(f"review not in {folder}: dropped by ann, 2026-11-29T03:12 UTC")


def test_probes_and_questions_say_who_read_and_changed_them(tmp_path: Path) -> None:
    """What arms answered stands below, and a probe that a person added is found by its id, too."""
    folder = reviewed_data(tmp_path / "artifacts")
    goose = harbour().passages[1].clause
    made = PolicyProbe(
        "harbour-probe-1", goose, "denied", "Must geese be fed?", "no", "No.", "must not", checked="by hand"
    )
    write_jsonl(folder / "policy_probes.jsonl", [made])
    key = probe_row(made, ClauseIndex(harbour().passages)).key
    before = to_dict(probe_row(made, ClauseIndex(harbour().passages)))
    own = {"question": "May a child feed them?", "answer": "No.", "verdict": "no"}
    decided = [
        Reviewed(
            "probes", key, "harbour-probe-1", "edit", "ann", AT, goose, ("ann",), "", {"question": "May I?"}, before
        ),
        Reviewed("probes", "k9", "probe-9", "add", "bob", AT, goose, ("bob",), "", own),
        Reviewed("questions", "k8", "own-1", "keep", "ann", AT, goose, ("ann",)),
    ]
    write_jsonl(folder / "reviewed.jsonl", [*read_jsonl(folder / "reviewed.jsonl", Reviewed), *decided])
    run = write_run(tmp_path / "runs" / "one", tmp_path / "artifacts")
    answer = Answer("harbour-probe-1", goose, "May I?", "No.", "Yes, do.", "sft")
    write_jsonl(run / "arms" / "sft" / "policy_answers.jsonl", [answer])
    ledger = read_ledger(tmp_path / "artifacts", tmp_path / "runs")
    edited = trace_entry(ledger, "harbour-probe")
    assert edited.startswith("harbour-probe-1: denied, probe of the rules\n") and "question   May I?\n" in edited
    assert "question, before: Must geese be fed?" in edited and "review     edited by ann" in edited
    assert "[SFT]      Yes, do." in edited and "verdict    no" in edited and "checked    by hand" in edited
    added = trace_entry(ledger, "probe-9")
    assert "written by added by bob\n" in added and "review     added by bob" in added
    assert "answers    not asked in a finished run" in added
    assert "review     kept by ann, 2026-11-29T03:12 UTC; read by ann" in trace_entry(ledger, "own-1")


def test_the_card_says_what_people_read(tmp_path: Path) -> None:
    said = (
        "3 of 4 rows for training (75.0%) and 0 of 1 questions; 1 kept, 1 edited, 1 dropped, 1 added; "
        "by ann (3), bob (1)"
    )
    data = read_data(reviewed_data(tmp_path / "artifacts"))
    card = make_card(data, "unknown")
    front = yaml.safe_load(card.split("---")[1])
    assert front["valign"]["read_by_a_person"] == said
    assert f"| read by a person | {said} |" in card
    assert f"read by a person: {said}" in card
    unread = make_card(read_data(write_data(tmp_path / "other")), "unknown")
    assert "none of the rows, as far as is noted (0 of 3 for training)" in unread
    assert read_json(data.folder / "funnel.json")["review"]["reviewers"] == {
        "ann": {"read": 3, "kept": 1, "dropped": 1},
        "bob": {"read": 1, "edited": 1, "added": 1},
    }
