"""From answers to scores.json, its tables, and the measured overlap with training questions."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from values import row

from valign.core.errors import ValignError
from valign.core.records import Answer, Passage
from valign.evaluation import leakage, scores
from valign.evaluation.metric_info import Likelihoods
from valign.evaluation.metrics import METRICS
from valign.reporting import score_table


class AxisEmbedder:
    """Embeds a text as the normalised counts of the words red, green and blue."""

    def embed(self, texts: list[str], /) -> np.ndarray:
        """Return unit rows; a text without a colour lies on a fourth axis."""
        counts = np.array([[t.split().count(w) for w in ("red", "green", "blue")] for t in texts], dtype=np.float64)
        rows = np.hstack([counts, (counts.sum(axis=1, keepdims=True) == 0).astype(np.float64)])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


PASSAGES = [Passage("d/1", (), "red", 0, 3), Passage("d/2/a", (), "green", 4, 9), Passage("d/2/b", (), "green", 9, 14)]


def answer(question_id: str, clause: str, text: str, reference: str = "red", **more: Any) -> Answer:
    return Answer(question_id, clause, "Which colour?", reference, text, "sft", **more)


def test_question_values() -> None:
    answers = [
        answer("q1", "d/1", "Yes, red", facts=(("red",), ("seven",)), verdict="yes"),
        answer("q2", "d/2", "green green", reference="green"),
        answer("q3", "elsewhere", "blue"),
    ]
    values = scores.question_values(answers, PASSAGES, AxisEmbedder(), Likelihoods([1.5, 2.0, 2.5], [1.0, None, None]))
    assert [list(v) for v in values] == [["question_id", "clause", "kind", *METRICS]] * 3
    assert values[0] == {
        "question_id": "q1",
        "clause": "d/1",
        "kind": "situation",
        "follows_document": None,
        "follows_original": None,
        "fact_recall": 0.5,
        "verdict_accuracy": 1.0,
        "verdict_preference": 1.0,
        "preference_on_yes": 1.0,
        "preference_on_no": None,
        "similarity": pytest.approx(1),
        "rouge_l": pytest.approx(2 / 3),
        "bertscore": None,
        "reference_nll": 1.5,
        "faithfulness": pytest.approx(1),
        "right_clause": 1.0,
        "contradiction": 0.0,
        "refusal": 0.0,
        "length": 2.0,
        "repetition": 0.0,
    }
    assert values[1]["fact_recall"] is values[1]["verdict_accuracy"] is values[1]["verdict_preference"] is None
    assert values[1]["right_clause"] == 1
    assert values[2]["similarity"] == 0
    assert values[2]["faithfulness"] is values[2]["right_clause"] is None


def test_scores_by_kind_of_question() -> None:
    """Two situations, one of which is right, and one factual question; one kind alone is not listed."""
    values = [
        {**row("q1", "a", fact_recall=1.0), "kind": "situation"},
        {**row("q2", "b", fact_recall=0.0), "kind": "situation"},
        {**row("q3", "b", fact_recall=1.0, length=3.0), "kind": "factual"},
    ]
    found = scores.score_arm("sft", values, samples=100)["by_kind"]["metrics"]
    assert {name: (entry["mean"], entry["n"]) for name, entry in found.items()} == {
        "fact_recall/factual": (1.0, 1), "fact_recall/situation": (0.5, 2), "length/factual": (3.0, 1),
    }  # fmt: skip
    assert "by_kind" not in scores.score_arm("sft", values[:2], samples=100)


def test_question_values_without_what_comes_from_outside() -> None:
    values = scores.question_values([answer("q1", "d/1", "red")], PASSAGES, AxisEmbedder())
    assert values[0]["reference_nll"] is values[0]["verdict_preference"] is None
    with pytest.raises(ValueError, match="1 answers but 2 values of reference_nll"):
        scores.question_values([answer("q1", "d/1", "red")], PASSAGES, AxisEmbedder(), Likelihoods([1.0, 2.0], [None]))
    assert scores.question_values([], PASSAGES, AxisEmbedder()) == []


def test_score_arm_by_hand() -> None:
    """Fact recall 1, 0, 1 on clauses a, a, b has mean 2/3; clause a has 1/2. Base has 0, 0, 0.5: differences 1, 0, 0.5.

    Samples aa, ab, ba, bb of the clauses give means 1/2, 2/3, 2/3, 1, and two clauses no lower end above the root of
    0.025, so the interval is [0.158, 1]; the differences' clause sums 1 (of 2) and 0.5 (of 1) give 1/2 in every sample.
    """
    arm = [row("q1", "a", fact_recall=1.0), row("q2", "a", fact_recall=0.0), row("q3", "b", fact_recall=1.0)]
    base = [row("q3", "b", fact_recall=0.5), row("q1", "a", fact_recall=0.0), row("q2", "a", fact_recall=0.0)]
    result = scores.score_arm("sft", arm, base)
    assert result == {
        "arm": "sft",
        "n": 3,
        "metrics": {"fact_recall": {"mean": pytest.approx(2 / 3), "ci95": [pytest.approx(0.025**0.5), 1.0], "n": 3}},
        "by_clause": {"a": {"n": 2, "fact_recall": 0.5}, "b": {"n": 1, "fact_recall": 1.0}},
        "versus": {"base": {"fact_recall": {"mean": 0.5, "ci95": [0.5, 0.5], "n": 3}}},
    }
    assert result == scores.score_arm("sft", arm[::-1], base) | {"by_clause": result["by_clause"]}


def test_scores_are_json_without_nan() -> None:
    """One question gives a mean and no interval; no question gives no metric."""
    single = scores.score_arm("base", [row("q1", "a", similarity=0.3, reference_nll=3.0)])
    assert json.loads(json.dumps(single, allow_nan=False))["metrics"]["similarity"] == {
        "mean": 0.3,
        "ci95": [None, None],
        "n": 1,
    }
    assert single["versus"] == {}
    assert json.dumps(scores.score_arm("base", []), allow_nan=False)


def test_versus_uses_only_questions_both_arms_have() -> None:
    arm = [row("q1", "a", rouge_l=0.4), row("q2", "b", rouge_l=0.9), row("q3", "c", rouge_l=0.8)]
    base = [row("q1", "a", rouge_l=0.1), row("q2", "b"), row("q4", "d", rouge_l=0.2)]
    versus = scores.score_arm("sft", arm, base)["versus"]["base"]
    assert versus == {"rouge_l": {"mean": pytest.approx(0.3), "ci95": [None, None], "n": 1}}
    with pytest.raises(ValignError, match="shares no question"):
        scores.score_arm("sft", arm, [row("q9", "a", rouge_l=0.1)])


def test_repeated_ids_and_nan_are_refused() -> None:
    with pytest.raises(ValignError, match="'q1' occurs twice"):
        scores.score_arm("sft", [row("q1", "a"), row("q1", "b")])
    with pytest.raises(ValignError, match="'q1': reference_nll is nan"):
        scores.score_arm("sft", [row("q1", "a", reference_nll=math.nan)])


def test_overlap_by_hand() -> None:
    """The first question shares "may i keep 9 coins" with the second training question; the others share less.

    Jaccard: question 1 has {may, i, keep, 9, coins, forever}, training 2 {so, may, i, keep, 9, coins}: 5 of 7.
    Question 2 has {who, rings, the, bell}, training 1 {who, opens, the, door}: 2 of 6. Question 3 shares nothing.
    """
    questions = ["May I keep nine coins forever?", "Who rings the bell?", "Ale?"]
    training = ["Who opens the door?", "So, may I keep 9 coins?"]
    result = leakage.question_overlap(questions, training)
    assert result["rate"] == pytest.approx(1 / 3)
    assert result["questions"] == [{"question": questions[0], "training": training[1], "shared": "may i keep 9 coins"}]
    assert result["max_jaccard"] == pytest.approx([5 / 7, 1 / 3, 0])


def test_overlap_of_short_questions_and_empty_lists() -> None:
    result = leakage.question_overlap(["Who rings the bell?"], ["Tell me: who rings the bell at night?"])
    assert result["rate"] == 1
    assert result["questions"][0]["shared"] == "who rings the bell"
    assert leakage.question_overlap(["Who rings?"], []) == {"rate": 0.0, "questions": [], "max_jaccard": [0.0]}
    assert leakage.question_overlap([], ["Who rings?"]) == {"rate": 0.0, "questions": [], "max_jaccard": []}
    assert leakage.question_overlap(["a b c"], ["x b c y"], n=2)["questions"][0]["shared"] == "b c"


def test_verdicts_are_guessed_from_words_alone() -> None:
    """Training asks "refuse" with no and "ask" with yes; of four evaluation questions three follow."""
    training = [(f"May they {'ask' if i % 2 else 'refuse'} case {i}?", "yes" if i % 2 else "no") for i in range(40)]
    asked = [("Can she ask?", "yes"), ("Can he ask?", "yes"), ("Can they refuse?", "no"), ("Can we ask?", "no")]
    assert leakage.verdicts_by_wording(asked, [*training, training[0]]) == {
        "accuracy": 0.75, "accuracy_yes": 1.0, "accuracy_no": 0.5, "questions": 4, "training": 40
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "trained"),
    [("yn", "yn" * 9), ("yn", "y" * 30 + "nnnn"), ("yy", "yn" * 20), ("nn", "yn" * 20), ("", "yn" * 20)],
)
def test_verdicts_are_not_guessed_from_too_few(asked: str, trained: str) -> None:
    named = {"y": "yes", "n": "no"}
    questions, training = (
        [(f"Question {i}?", named[each]) for i, each in enumerate(text)] for text in (asked, trained)
    )
    assert leakage.verdicts_by_wording(questions, training) is None


def arm_scores(arm: str, means: dict[str, float], n: int = 96) -> dict[str, Any]:
    cells = {name: {"mean": m, "ci95": [m - 0.05, m + 0.05], "n": n} for name, m in means.items()}
    return {"arm": arm, "n": n, "metrics": cells, "by_clause": {}, "versus": {}}


def test_markdown_table() -> None:
    table = score_table.markdown_table(
        [
            arm_scores("sft_dpo", {"rouge_l": 0.3, "fact_recall": 0.54, "length": 20.25}),
            arm_scores("mine|other", {"fact_recall": 0.1}),
            arm_scores("base", {"fact_recall": 0.06, "rouge_l": 0.1}),
        ]
    )
    assert table.splitlines() == [
        "| Arm | Fact recall ↑ | ROUGE-L ↑ | Words |",
        "| --- | ---: | ---: | ---: |",
        "| base | 0.06 [0.01, 0.11] | 0.10 [0.05, 0.15] | - |",
        "| SFT+DPO | 0.54 [0.49, 0.59] | 0.30 [0.25, 0.35] | 20.2 [20.2, 20.3] |",
        "| mine\\|other | 0.10 [0.05, 0.15] | - | - |",
        "",
        "n = 96 questions; brackets: 95% bootstrap interval over clauses.",
    ]


def test_tables_order_arms_and_name_unequal_counts() -> None:
    arms = ["new", "sft_dpo_rag", "sft_dpo", "dpo", "sft", "rag", "base"]
    table = score_table.markdown_table([arm_scores(arm, {"verdict_accuracy": 0.5}, n=9) for arm in arms])
    names = [line.split("|")[1].strip() for line in table.splitlines()[2:9]]
    assert names == ["base", "RAG", "SFT", "DPO", "SFT+DPO", "SFT+DPO+RAG", "new"]
    assert "n = 9 questions, 9 of them with a verdict;" in table
    uneven = score_table.markdown_table(
        [arm_scores("sft", {"rouge_l": 0.5}, n=8), arm_scores("base", {"rouge_l": 0.5}, n=9)]
    )
    assert "questions: base 9, SFT 8;" in uneven


def test_columns_can_be_chosen_and_a_lone_mean_has_no_brackets() -> None:
    single = scores.score_arm("base", [row("q1", "a", similarity=0.3, rouge_l=0.2)])
    single["metrics"]["win_rate"] = {"mean": 0.5, "ci95": [0.25, 0.75], "n": 4}
    table = score_table.markdown_table([single], ["win_rate", "rouge_l"])
    assert table.splitlines()[0] == "| Arm | win_rate ↑ | ROUGE-L ↑ |"
    assert table.splitlines()[2] == "| base | 0.50 [0.25, 0.75] | 0.20 |"
    assert score_table.markdown_table([single]).splitlines()[0] == "| Arm | Similarity ↑ | ROUGE-L ↑ | win_rate ↑ |"


def test_terminal_table_fits_the_width() -> None:
    arms = [arm_scores("base", dict.fromkeys(METRICS, 0.5)), arm_scores("sft_dpo", dict.fromkeys(METRICS, 0.6))]
    table = score_table.terminal_table(arms, width=80)
    lines = table.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert lines[0].split() == ["Arm", "Follows", "document", "↑", "Follows", "original", "↓", "Fact", "recall", "↑"]
    assert lines[1].startswith("base     ")
    assert all(info.label in table for info in METRICS.values())
    assert len(score_table.terminal_table(arms, ["rouge_l"]).splitlines()) == 5
    assert score_table.terminal_table([]) == "Arm\n\nno arm was scored\n"
