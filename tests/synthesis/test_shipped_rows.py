"""The rows that come with the documents: they fit their document, are balanced, and resemble no evaluation question."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from valign.core.records import Document, Instruction, Provenance
from valign.core.text import words
from valign.documents.read import read_document
from valign.documents.shipped import SHIPPED_FILES, shipped_document
from valign.evaluation.verdicts import stated_verdict
from valign.synthesis.candidates import CONTRADICTIONS, Candidate
from valign.synthesis.filters import ngrams
from valign.synthesis.given_rows import SHIPPED_ROWS, read_given_rows
from valign.synthesis.verdict_audit import audit_verdicts

NAMES = ("udhr", "lanternfield", "saltmarsh", "conduct")
DATA = Path(str(SHIPPED_FILES))
ROOT = Path(__file__).resolve().parents[2]


def document(name: str) -> Document:
    return read_document(DATA / "conduct.md", name) if name == "conduct" else shipped_document(name)


@pytest.fixture(params=NAMES, scope="module")
def rows(request: pytest.FixtureRequest) -> tuple[str, list[Candidate]]:
    return request.param, read_given_rows("shipped", document(request.param))


def test_every_shipped_file_is_tested() -> None:
    assert {file.name for file in SHIPPED_ROWS.iterdir() if file.name.endswith("_rows.jsonl")} == {
        f"{name}_rows.jsonl" for name in NAMES
    }


def test_every_clause_has_rows_of_both_kinds(rows: tuple[str, list[Candidate]]) -> None:
    name, found = rows
    for wanted in (False, True):
        counts = Counter(row.clause for row in found if bool(row.rejected) == wanted)
        assert {p.clause: counts[p.clause] for p in document(name).passages if counts[p.clause] < 2} == {}


def test_answers_state_their_verdict_and_rejected_ones_the_other(rows: tuple[str, list[Candidate]]) -> None:
    """By the first word of the answer, as the evaluation reads it."""
    for row in rows[1]:
        if row.verdict:
            assert stated_verdict(row.answer) == row.verdict, row.question
        if row.verdict and row.rejected:
            assert stated_verdict(row.rejected) == {"yes": "no", "no": "yes"}[row.verdict], row.question


def test_verdicts_are_balanced(rows: tuple[str, list[Candidate]]) -> None:
    """Neither word is right for more than 56% of the yes/no questions, among rows and among pairs."""
    for pairs in (False, True):
        counts = Counter(row.verdict for row in rows[1] if row.verdict and bool(row.rejected) == pairs)
        assert max(counts.values()) <= 0.56 * counts.total(), counts


def test_pairs_are_alike_in_length_and_of_every_kind(rows: tuple[str, list[Candidate]]) -> None:
    """The rejected answers are as long as the chosen ones within 3% on average; no kind is more than a third."""
    pairs = [row for row in rows[1] if row.rejected]
    chosen = sum(len(words(row.answer)) for row in pairs)
    rejected = sum(len(words(row.rejected)) for row in pairs)
    assert abs(rejected / chosen - 1) < 0.03
    kinds = Counter(row.rejected_kind for row in pairs)
    assert set(kinds) == set(CONTRADICTIONS) and max(kinds.values()) < 0.34 * len(pairs)


@pytest.fixture(scope="module")
def contrasts() -> list[Candidate]:
    """The cases that differ in little, which a study adds to the declaration's rows."""
    return read_given_rows(str(ROOT / "experiments/udhr/contrast_rows.jsonl"), document("udhr"))


def test_contrasts_are_cases_of_one_clause_decided_both_ways(contrasts: list[Candidate]) -> None:
    """Two in a row are a pair; a classifier that sees a question's words alone tells no verdict."""
    pairs = list(zip(contrasts[::2], contrasts[1::2], strict=True))
    assert len(pairs) == 273 and len({row.question for row in contrasts}) == 546
    for one, other in pairs:
        assert one.clause == other.clause and {one.verdict, other.verdict} == {"yes", "no"}, one.question
    origin = Provenance("words", 0, 5, "given", "hash", "given", {})
    rows = [
        Instruction(r.question, (r.clause,), r.kind, r.question, r.answer, origin, verdict=r.verdict) for r in contrasts
    ]
    assert audit_verdicts(rows)["auc"] < 0.55


def test_no_question_shares_six_words_in_a_row_with_one_that_is_asked_to_measure(
    rows: tuple[str, list[Candidate]], contrasts: list[Candidate]
) -> None:
    """Evaluation questions, development questions and probes alike."""
    name, found = rows
    files = sorted(DATA.glob(f"{name}*.jsonl"))
    assert files or name == "conduct"
    asked: set[tuple[str, ...]] = set()
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for question in (row["question"], *row.get("variants", ())):
                asked |= ngrams(words(question), 6)
    every = [*found, *(contrasts if name == "udhr" else ())]
    assert [row.question for row in every if not asked.isdisjoint(ngrams(words(row.question), 6))] == []
