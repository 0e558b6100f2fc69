"""The verdict audit on hand-made questions whose answer is known."""

from __future__ import annotations

import random

import pytest

from valign.core.records import Instruction, Preference, Provenance
from valign.synthesis.verdict_audit import audit_verdicts, verdict_lines

ORIGIN = Provenance("words", 0, 5, "frame/claim", "hash", "valign", {})
WORDS = "lamp oil pier gate goose fog helmet purser oar rope tide bell".split()


def row(i: int, question: str, verdict: str | None, clauses: int = 10) -> Instruction:
    """Return question i on one of the clauses, in turn."""
    return Instruction(f"r{i}", (f"d/{i % clauses}",), "scenario", question, "An answer.", ORIGIN, verdict=verdict)


def drawn(source: random.Random) -> str:
    return " ".join(source.choice(WORDS) for _ in range(6))


def turns(i: int) -> str:
    """Return a verdict: each clause has as many of either."""
    return "yes" if i // 10 % 2 else "no"


def test_verdicts_of_questions_in_the_same_words_are_told_by_chance() -> None:
    """Six words drawn alike for both verdicts: 200 questions, 0.5 give or take 0.15."""
    source = random.Random(1)
    report = audit_verdicts([row(i, f"{drawn(source)} {i}?", turns(i)) for i in range(200)])
    assert 0.35 < report["auc"] < 0.65
    assert (report["questions"], report["cause"]) == (200, "")


def test_a_word_that_tells_the_verdict_is_found_and_named() -> None:
    """Whoever "refuses" is wrong in every case, so every held-out verdict is told."""
    source = random.Random(2)
    rows = [row(i, f"{'refuses' if turns(i) == 'no' else 'asks'} {drawn(source)} {i}?", turns(i)) for i in range(60)]
    report = audit_verdicts(rows)
    assert report["auc"] == 1.0
    assert (report["words"]["yes"][0], report["words"]["no"][0]) == ("asks", "refuses")
    assert "for no: refuses" in report["cause"]
    lines = verdict_lines(report)
    assert "verdict audit: AUC 1.00" in lines[0]
    assert lines[1].startswith("    WARNING: ") and "decided the other way" in lines[1]


def test_scripts_without_spaces_are_told_by_their_letters() -> None:
    """Who refuses (\u62d2) is wrong in every case; no question has a space."""
    asked = {"no": "\u62d2\u6c42", "yes": "\u8bf7\u6c42"}
    rows = [row(i, f"{asked[turns(i)]}{chr(0x4E00 + i)}?", turns(i)) for i in range(60)]
    assert audit_verdicts(rows)["words"]["no"][0] == "\u62d2"


def test_a_question_counts_once_and_only_with_a_verdict() -> None:
    """D_sft learns the chosen answers of pairs as well: the same 30 questions, and ten that nothing decides."""
    source = random.Random(3)
    rows = [row(i, f"{drawn(source)} {i}?", turns(i)) for i in range(30)]
    answers = ("Yes.", "No.", "verdict", ORIGIN)
    pairs = [Preference(f"p{r.example_id}", r.clauses, r.kind, r.question, *answers, verdict=r.verdict) for r in rows]
    open_ones = [row(i, f"open {i}?", None) for i in range(30, 40)]
    assert audit_verdicts([*rows, *pairs, *open_ones]) == audit_verdicts(rows)
    assert audit_verdicts(rows)["questions"] == 30


@pytest.mark.parametrize("verdicts", [["yes", "no"] * 9, ["yes"] * 30 + ["no"] * 4, [None] * 30])
def test_too_few_questions_have_no_figure_but_a_reason(verdicts: list[str | None]) -> None:
    report = audit_verdicts([row(i, f"question {i}?", verdict) for i, verdict in enumerate(verdicts)])
    yes, no = verdicts.count("yes"), verdicts.count("no")
    assert report["auc"] is None and report["questions"] == yes + no
    found = f"{yes} questions that yes decides and {no} that no decides"
    assert report["reason"] == f"{found} are too few, 20 are needed and 5 of either"
    assert len(verdict_lines(report)) == bool(yes + no)


def test_clauses_stay_together_unless_they_are_few() -> None:
    """A clause's words tell its own questions' verdicts, and nothing of another clause's; two clauses are too few."""
    rows = [row(i, f"word{i % 10}{turns(i)} q{i}?", turns(i)) for i in range(100)]
    report = audit_verdicts(rows)
    assert (report["auc"], report["folds_by"]) == (pytest.approx(0.5, abs=0.1), "clause")
    few = audit_verdicts([row(i, f"word{i % 2} q{i}?", "yes" if i % 2 else "no", clauses=2) for i in range(50)])
    assert (few["auc"], few["folds_by"]) == (1.0, "question")


def test_clauses_that_are_decided_one_way_each_do_not_hide_a_word() -> None:
    """Folds of five such clauses have one verdict alone, which measures nothing; those of questions do."""
    rows = [row(i, f"{'refuse' if i % 5 else 'ask'} q{i}?", "no" if i % 5 else "yes", clauses=5) for i in range(50)]
    report = audit_verdicts(rows)
    assert (report["auc"], report["folds_by"]) == (1.0, "question")


def test_length_is_named_where_it_tells() -> None:
    """Who is in the right says it in three words, who is in the wrong in nine of the same."""
    lengths = {"yes": 3, "no": 9}
    rows = [row(i, " ".join(["goose"] * lengths[turns(i)]) + "?" * i, turns(i)) for i in range(60)]
    report = audit_verdicts(rows)
    assert (report["auc"], report["length_auc"], report["longer"]) == (1.0, 1.0, "no")
    assert "those that no decides are longer" in report["cause"]
