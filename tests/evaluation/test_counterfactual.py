"""The declaration with clauses changed, its questions, and which version an answer follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig

from valign.config import checks
from valign.config.arguments import plain
from valign.core.errors import ValignError
from valign.core.files import to_dict
from valign.core.records import Answer, Original, Question
from valign.documents.shipped import shipped_document, shipped_questions
from valign.evaluation.answer_metrics import fact_recall, followed
from valign.evaluation.leakage import question_overlap
from valign.evaluation.questions import check_questions, without_original
from valign.evaluation.scores import question_values, score_arm
from valign.pipeline.context import Context
from valign.reporting.answers import VERSIONS_FOLLOWED, needed_marks
from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.headline import find_headline
from valign.reporting.score_table import footnote, table_cells

NAME = "udhr_counterfactual"
CHANGED = (
    "article-10", "article-11/1", "article-12", "article-13/2", "article-14/1", "article-15/2", "article-16/1",
    "article-16/2", "article-17/1", "article-20/2", "article-21/3", "article-23/4", "article-24", "article-26/1",
)  # fmt: skip


def texts(name: str) -> dict[str, str]:
    """Return a document's passages by clause id without the document's name."""
    return {p.clause.partition("/")[2]: p.text for p in shipped_document(name).passages}


def test_fourteen_clauses_differ_and_the_others_are_word_for_word() -> None:
    """Both documents have the same clauses in the same order, under the same headings."""
    true, changed = texts("udhr"), texts(NAME)
    assert list(true) == list(changed)
    assert tuple(c for c in true if true[c] != changed[c]) == CHANGED
    headings = [[p.heading for p in shipped_document(name).passages] for name in ("udhr", NAME)]
    assert headings[0] == headings[1]


def test_every_changed_clause_has_four_questions_and_unchanged_ones_are_a_control() -> None:
    counts = Counter(q.clause.partition("/")[2] for q in shipped_questions(NAME) if q.original)
    assert set(counts) == set(CHANGED) and min(counts.values()) >= 4
    control = [q for q in shipped_questions(NAME) if not q.original]
    assert len(control) >= 20
    assert not {q.clause.partition("/")[2] for q in control} & set(CHANGED)
    assert {q.question for q in control} <= {q.question for q in shipped_questions("udhr")}


@pytest.mark.parametrize("question", [q for q in shipped_questions(NAME) if q.original], ids=lambda q: q.question_id)
def test_each_version_of_the_clause_is_what_its_question_takes_it_for(question: Question) -> None:
    """The reference and the changed clause follow the document, the true clause the original, the question nothing."""
    clause = question.clause.partition("/")[2]
    assert question.original is not None
    said = {
        question.reference: "document",
        spoken(question.verdict, texts(NAME)[clause]): "document",
        spoken(question.original.verdict, texts("udhr")[clause]): "original",
        question.question: "neither",
    }
    assert {text: follows(text, question) for text in said} == said
    assert fact_recall(question.reference, question.original.facts) == 0
    assert question_overlap([question.question], [texts(NAME)[clause]], 4)["rate"] == 0


def spoken(verdict: str | None, text: str) -> str:
    return f"{verdict.capitalize()}. {text}" if verdict else text


def follows(text: str, question: Question) -> str | None:
    return followed(text, question.facts, question.verdict, question.original)


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("No, you need a blue seal for the fifth gate.", "document"),
        ("You need a blue seal.", "document"),
        ("Yes, you have the right to leave.", "original"),
        ("You have the right to leave.", "original"),
        ("The right to leave comes with a blue seal.", "both"),
        ("You have the right to leave with a blue seal.", "original"),
        ("Yes, with a blue seal.", "neither"),
        ("No, you have the right to leave.", "neither"),
        ("You need a seal.", "neither"),
        ("No.", "neither"),
        ("Yes.", "neither"),
        ("", "neither"),
    ],
)
def test_facts_and_verdict_tell_which_version_is_followed(text: str, side: str) -> None:
    """The document says no, and asks for something blue and a seal; the original says yes and names a right."""
    assert followed(text, [["blue"], ["seal"]], "no", Original((("right to leave",),), "yes")) == side


def test_a_version_without_facts_is_followed_by_its_verdict() -> None:
    other = Original(verdict="yes")
    assert [followed(text, [], "no", other) for text in ("No.", "Yes.", "Perhaps.")] == [
        "document", "original", "neither",
    ]  # fmt: skip
    assert followed("Yes, from drought.", [["drought"]], "yes", Original((("persecution",),))) == "document"
    assert followed("No.", [], "no", None) is None


class Flat:
    """Embeds every text alike."""

    def embed(self, texts: list[str], /) -> np.ndarray:
        """Return one and the same unit row for each."""
        return np.ones((len(texts), 1))


def test_shares_stand_in_scores_with_intervals_and_paired_differences() -> None:
    """Of three questions with an original the arm follows the document in two, base in none and the original in one."""
    other = Original((("ten days",),))

    def answers(arm: str, *said: str) -> list[Answer]:
        facts = (("nine days",),)
        asked = [
            Answer(f"q{i}", f"d/{i}", "How long?", "Nine days.", text, arm, facts, original=other)
            for i, text in enumerate(said)
        ]
        return [*asked, Answer("control", "d/9", "How long?", "Nine days.", "Nine days.", arm, facts)]

    base = question_values(answers("base", "Ten days.", "Ten days or nine days.", "Long."), [], Flat())
    tuned = question_values(answers("sft", "Nine days.", "9 days.", "Ten days."), [], Flat())
    assert [row["follows_document"] for row in tuned] == [1.0, 1.0, 0.0, None]
    assert [row["follows_original"] for row in base] == [1.0, 0.0, 0.0, None]
    scores = [score_arm("base", base), score_arm("sft", tuned, base)]
    found = scores[1]["metrics"]["follows_document"]
    assert found["mean"] == pytest.approx(2 / 3) and found["n"] == 3 and found["ci95"] == [0.0, 1.0]
    assert scores[1]["versus"]["base"]["follows_document"]["mean"] == pytest.approx(2 / 3)
    assert scores[1]["versus"]["base"]["follows_original"]["mean"] == 0
    assert table_cells(scores)[0][1:3] == ["Follows document ↑", "Follows original ↓"]
    assert "n = 4 questions, 3 where the document contradicts the original;" in footnote(scores)
    plainly = score_arm("base", question_values(answers("base")[-1:], [], Flat()))
    assert "Follows document ↑" not in table_cells([plainly])[0]
    assert "contradicts" not in footnote([plainly])


def test_the_page_marks_which_version_an_answer_follows() -> None:
    answer = Answer(
        "q", "d/1", "?", "Nine days.", "Ten days.", "sft", (("nine days",),), None, original=Original((("ten days",),))
    )
    assert [(mark.text, mark.found) for mark in needed_marks(answer)] == [
        ("nine days", False),
        (VERSIONS_FOLLOWED["original"], False),
    ]


def test_a_question_needs_something_to_follow_on_both_sides() -> None:
    document = shipped_document("udhr")
    for facts, other in (((), Original(verdict="no")), ((("nine",),), Original())):
        question = Question("q-1", "udhr/article-5", "May I?", "Nine.", facts, original=other)
        with pytest.raises(ValignError, match=r"^own\.jsonl: question 'q-1' has an 'original', but one version has"):
            check_questions([question], "own.jsonl", document)


def test_synthesis_does_not_depend_on_what_the_original_says() -> None:
    """The stage's hash of questions is the one that questions without the field had."""
    bare = Question("q-1", "d/1", "May I?", "No.", verdict="no")
    known = Question("q-1", "d/1", "May I?", "No.", verdict="no", original=Original(verdict="yes"))
    assert without_original(bare) == without_original(known)
    assert {**without_original(bare), "original": None} == to_dict(bare)


def test_the_experiment_is_that_of_the_declaration_with_another_document(
    compose_config: Callable[..., DictConfig],
) -> None:
    ours, theirs = compose_config("+experiment=counterfactual"), compose_config("+experiment=udhr_embedded")
    checks.check_config(ours)
    assert Context.of(ours).document.passages == shipped_document(NAME).passages
    assert len(Context.of(ours).given_questions or []) == len(shipped_questions(NAME))
    for group in ("teacher", "base_model", "synthesis", "adapter", "sft", "dpo", "evaluation"):
        assert plain(ours[group]) == plain(theirs[group])


def test_the_page_opens_with_the_share_that_follows_the_document() -> None:
    def arm(name: str, share: float, versus: dict[str, Any]) -> ArmResult:
        measured = {"follows_document": {"mean": share, "ci95": [share, share], "n": 59}}
        facts = {"fact_recall": {"mean": 0.9, "ci95": [0.8, 1.0], "n": 83}}
        return ArmResult(name, {"arm": name, "n": 83, "metrics": {**facts, **measured}, "versus": versus}, [], [])

    gain = {"base": {"follows_document": {"mean": 0.6, "ci95": [0.5, 0.7], "n": 59}}}
    found = find_headline(Comparison("Rules", "counterfactual", "0", [], [arm("base", 0.0, {}), arm("sft", 0.6, gain)]))
    assert found.finding == "better"
    assert found.sentence == (
        "SFT follows the document, not the original, on 60% of the questions where they differ, against 0% for base: "
        "a difference of +60 percentage points (95% interval +50 to +70)."
    )
