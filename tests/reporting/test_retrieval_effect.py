"""Why RAG wins or loses: recall by clause, and both arms' means where the clause was shown and where it was not."""

from __future__ import annotations

from typing import Any

import pytest

from valign.core.records import Answer, Passage
from valign.evaluation.arm_names import arm_label
from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.retrieval_effect import clause_hits, retrieval_effects

PASSAGES = [Passage(clause, (), "Text.", 0, 5) for clause in ("d/1", "d/2/a", "d/2/b", "d/3", "d/4")]
CLAUSES = ["d/1", "d/2", "d/3", "d/4/x"]


def arm(name: str, values: list[float | None], shown: list[tuple[str, ...]] | None = None) -> ArmResult:
    """Return an arm that answered one question on each clause."""
    answers = [
        Answer(f"q{i}", clause, "Why?", "So.", "So.", name, retrieved=shown[i] if shown else ())
        for i, clause in enumerate(CLAUSES)
    ]
    rows: list[dict[str, Any]] = [{"question_id": f"q{i}", "fact_recall": v} for i, v in enumerate(values)]
    known = [v for v in values if v is not None]
    scores = {"arm": name, "metrics": {"fact_recall": {"mean": sum(known) / len(known)}}}
    return ArmResult(name, scores, answers, rows)


def comparison(*arms: ArmResult) -> Comparison:
    """Return a comparison of arms on the five passages."""
    return Comparison("Rules", "rules", "ab", PASSAGES, list(arms))


def test_a_part_of_the_clause_or_what_the_clause_is_part_of_counts_as_found() -> None:
    """d/2 is found by d/2/b; d/4/x, which is no passage of its own, by d/4; d/3 is not found by d/1."""
    rag = arm("rag", [1.0] * 4, [("d/1",), ("d/3", "d/2/b"), ("d/1",), ("d/4",)])
    assert list(clause_hits(rag, PASSAGES).values()) == [True, True, False, True]


def test_recall_and_both_parts_by_hand() -> None:
    """Shown for q0, q1, q2 of four: recall 3/4. There RAG has 1, 1, 1 and base 0, 0.5, 0: a difference of 5/6.

    On q3 both have 0.5. The differences of all four, 1, 0.5, 1 and 0, have the mean 5/8; the bootstrap's lower end of
    four values of which one is 0 is still above 0 with four clauses: 0 needs q3 four times (1/256 < 2.5%).
    """
    rag = arm("rag", [1.0, 1.0, 1.0, 0.5], [("d/1",), ("d/2/a",), ("d/3",), ("d/1",)])
    (row,) = retrieval_effects(comparison(arm("base", [0.0, 0.5, 0.0, 0.5]), rag))
    assert (row.arm, row.other, row.metric, row.recall.mean) == ("rag", "base", "fact_recall", 0.75)
    assert (row.found.n, row.found.mean) == (3, 1.0)
    assert row.found.other == pytest.approx(1 / 6)
    assert row.found.difference.mean == pytest.approx(5 / 6)
    assert (row.missed.n, row.missed.mean, row.missed.other) == (1, 0.5, 0.5)
    assert row.sentence == (
        "RAG was shown the deciding clause for 75% of the questions: where it was, Fact recall is 1.00 (against 0.17 "
        "for base); where it was not, Fact recall is 0.50 (against 0.50 for base); it beats base, most of all because "
        "it was shown the clause."
    )
    assert row.to_json()["found"]["difference"]["n"] == 3


@pytest.mark.parametrize(
    ("values", "shown", "words"),
    [
        ([0.0, 0.0, 0.0, 0.9], "right", "it loses to base although it was shown the clause"),
        ([0.0, 0.0, 0.0, 0.9], "wrong", "it loses to base because passages of other clauses mislead it"),
        ([1.0, 1.0, 0.8, 1.0], "right", "over all questions it is not told apart from base"),
    ],
)
def test_the_reason_follows_from_the_larger_part(values: list[float | None], shown: str, words: str) -> None:
    """Base has 0.9 throughout; all clauses were shown, or none."""
    passages: list[tuple[str, ...]] = [("d/1",), ("d/2/a",), ("d/3",), ("d/4",)] if shown == "right" else [("d/9",)] * 4
    (row,) = retrieval_effects(comparison(arm("base", [0.9] * 4), arm("rag", values, passages)))
    assert words in row.sentence
    assert row.recall.mean == float(shown == "right")


def test_an_arm_is_compared_with_its_own_model_and_stands_alone_without_it() -> None:
    tuned = arm("sft_dpo", [0.0] * 4)
    shown = arm("sft_dpo_rag_oracle", [1.0] * 4, [("d/1",)] * 4)
    assert retrieval_effects(comparison(arm("base", [0.5] * 4), tuned, shown))[0].other == "sft_dpo"
    (alone,) = retrieval_effects(comparison(shown))
    assert alone.other == "" and "against" not in alone.sentence
    assert retrieval_effects(comparison(tuned)) == []


def test_labels_of_composed_arms() -> None:
    assert arm_label("sft_dpo_rag_oracle") == "SFT+DPO+RAG (oracle)"
    assert arm_label("sft_in_context") == "SFT+in context"
    assert arm_label("sft_dpo_rag") == "SFT+DPO+RAG"
    assert arm_label("my_rag") == "my_rag"
