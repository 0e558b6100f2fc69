"""Whole data sets of the shipped documents, checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import Bag
from shipped_data import LOOSE, build

from valign.core.files import read_jsonl
from valign.core.records import Fact, Instruction, Preference, Question
from valign.documents.settings import shipped_names
from valign.documents.shipped import shipped_document, shipped_questions
from valign.synthesis.filters import Filters
from valign.synthesis.settings import SynthesisSettings


@pytest.mark.slow
@pytest.mark.parametrize("made", [False, True], ids=["given questions", "made questions"])
@pytest.mark.parametrize("name", shipped_names())
def test_whole_data_sets(name: str, made: bool, settings: SynthesisSettings, tmp_path: Path) -> None:
    """Funnels add up, quotes are verbatim, ids are unique, and no evaluation question lives on in training."""
    document = shipped_document(name)
    counts = build(tmp_path, document, None if made else shipped_questions(name), settings)
    sft = read_jsonl(tmp_path / "sft.jsonl", Instruction)
    preferences = read_jsonl(tmp_path / "preferences.jsonl", Preference)
    questions = read_jsonl(tmp_path / "questions.jsonl", Question)
    funnels = json.loads((tmp_path / "funnel.json").read_text())
    facts = read_jsonl(tmp_path / "facts.jsonl", Fact)
    taught = [fact for fact in facts if fact.fact_id in {row.fact for row in sft}]
    rows: dict[str, Sequence[Any]] = {"sft": sft, "preference": preferences, "questions": questions, "facts": taught}
    assert set(funnels) == {"sft", "preference", "facts"} | ({"questions"} if made else set())
    for key, funnel in funnels.items():
        assert funnel["made"] == funnel["kept"] + sum(funnel["dropped"].values())
        assert funnel["kept"] == len(rows[key]) == sum(funnel["per_clause"].values()) == sum(funnel["kinds"].values())
    assert funnels["sft"]["dropped"]["malformed"] > 0
    both: list[Instruction | Preference] = [*sft, *preferences]
    for row in both:
        origin = row.provenance
        assert document.text[origin.start : origin.end] == origin.quote
        assert set(row.clauses) <= {p.clause for p in document.passages}
    assert {q.family for q in questions if made} & {row.family for row in both} == set()
    assert counts["quotes"] == counts["quotes_verified"] == len(both)
    assert len({row.example_id for row in both}) == len(both)
    assert len({q.question_id for q in questions}) == len(questions) == counts["questions"]
    filters = Filters(document.passages, questions, Bag(), LOOSE)
    assert not [row.question for row in both if filters.check_leak(row.question)[0]]
    assert all(row.chosen != row.rejected for row in preferences)
    for row in preferences:
        if row.kind == "claim":
            assert {row.chosen.split(".")[0], row.rejected.split(".")[0]} == {"Yes", "No"}
    if made:
        assert all((q.facts or q.verdict) and q.reference for q in questions)
        assert not [q for q in questions for fact in q.facts if fact[0] in q.question.lower()]


@pytest.mark.slow
def test_the_same_seed_writes_the_same_files(settings: SynthesisSettings, tmp_path: Path) -> None:
    document = shipped_document("saltmarsh")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        build(tmp_path / name, document, None, settings, seed)
    files = ("sft.jsonl", "preferences.jsonl", "questions.jsonl", "funnel.json")
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [(tmp_path / "b" / f).read_bytes() for f in files]
    assert (tmp_path / "a" / "sft.jsonl").read_bytes() != (tmp_path / "c" / "sft.jsonl").read_bytes()
