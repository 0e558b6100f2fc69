"""Metrics of one answer, against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from valign.core.records import Passage
from valign.documents.clauses import clause_passages
from valign.documents.shipped import SHIPPED_FILES
from valign.evaluation import answer_metrics, embedding_metrics, metrics, verdicts
from valign.evaluation.normalise import normalise


class AxisEmbedder:
    """Embeds a text as the normalised counts of the words red, green and blue."""

    def embed(self, texts: list[str], /) -> np.ndarray:
        """Return unit rows; a text without a colour lies on a fourth axis."""
        counts = np.array([[t.split().count(w) for w in ("red", "green", "blue")] for t in texts], dtype=np.float64)
        rows = np.hstack([counts, (counts.sum(axis=1, keepdims=True) == 0).astype(np.float64)])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def passage(clause: str, text: str) -> Passage:
    return Passage(clause, ("Title",), text, 0, len(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nine nights!", "9 nights"),
        ("twenty-one / twenty one / 21", "21 21 21"),
        ("twenty, one", "20 1"),
        ("ten, eleven and twelve", "10 11 and 12"),
        ("zero to nineteen or ninety-nine", "0 to 19 or 99"),
        ("a hundred and a thousand", "100 and 1000"),
        ("one hundred and five days", "105 days"),
        ("two thousand three hundred and forty-one", "2341"),
        ("between one hundred and two hundred", "between 100 and 200"),
        ("three hundred a day", "300 a day"),
        ("5 thousand; 1,250,000; 12\u202f000", "5000 1250000 12000"),
        ("eighty-six thousand", "86000"),
        ("3.5 per cent, 4%", "3.5 percent 4 percent"),
        ("The twenty-first, the thirty-first and the second", "the 21st the 31st and the 2nd"),
        ("first third twelfth twentieth thirtieth 1st", "1st 3rd 12th 20th 30th 1st"),
        ("No one, no-one, everyone, one another", "no one no one everyone one another"),
        ("struck out with one line", "struck out with 1 line"),
        ("the widow\u2019s fund, the widows' fund", "the widow fund the widows fund"),
        ("wasn\u2019t aboard at four o'clock", "wasnt aboard at 4 oclock"),
        ("4 p.m. or 4pm", "4 pm or 4 pm"),
        ("\u201cRe-entry\u201d \u2013 **bold**_x_", "re entry bold x"),
        ("\ufb01ve \uff11\uff12", "5 12"),
        ("", ""),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert " ".join(normalise(text)) == expected


@pytest.mark.parametrize(
    ("answer", "fact", "found"),
    [
        ("You may stay for 9 nights.", ["nine nights"], True),
        ("A nine-night stay.", ["nine nights"], True),
        ("It is one night.", ["one nights"], True),
        ("Nine-nights", ["nine night"], True),
        ("twenty-one days", ["twenty", "one day"], False),
        ("within 21 days", ["three weeks", "twenty one days"], True),
        ("ninety nights", ["nine nights"], False),
        ("the treasurers", ["treasurer"], True),
        ("the untreasured", ["treasure"], False),
        ("No one pays.", ["one"], False),
        ("The line is struck out once.", ["one line"], False),
        ("4.5 crowns", ["4 crowns", "5 crowns", "4"], False),
        ("1,000 crowns", ["a thousand crowns"], True),
        ("the widows\u2019 fund", ["widow's funds", "widows' fund"], True),
        ("on the 31st", ["thirty-first"], True),
        ("anything", ["--"], False),
        ("the glas", ["glass"], False),
    ],
)
def test_a_fact_is_found_as_whole_words(answer: str, fact: list[str], found: bool) -> None:
    assert answer_metrics.fact_recall(answer, [fact]) == float(found)


def test_fact_recall_is_the_share_of_facts() -> None:
    """Of bosun, five days and red rope, "the boatswain mends it within 5 days" states two: 2/3."""
    facts = [["bosun", "boatswain"], ["five days"], ["red rope"]]
    assert answer_metrics.fact_recall("The boatswain mends it within 5 days.", facts) == pytest.approx(2 / 3)
    assert answer_metrics.fact_recall("", facts) == 0
    assert answer_metrics.fact_recall("anything", []) is None


@pytest.mark.parametrize("file", sorted(Path(str(SHIPPED_FILES)).glob("*_[qd]*.jsonl")), ids=lambda file: file.stem)
def test_shipped_references_state_their_facts_and_verdicts(file: Path) -> None:
    """A correct answer must score 1: every reference is one."""
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert answer_metrics.fact_recall(row["reference"], row["facts"]) == 1, row
        if row["verdict"]:
            assert verdicts.verdict_correct(row["reference"], row["verdict"]) == 1, row


VERDICTS: list[tuple[str, str | None]] = [
    ("Yes.", "yes"),
    ("yes, you may keep it.", "yes"),
    ("**Yes**, that is fine", "yes"),
    ("\u201cYes,\u201d says section 4.", "yes"),
    ("Answer: No", "no"),
    ("**Answer:** No, it closes at nine.", "no"),
    ("Answer:\nYes, until nine.", "yes"),
    ("The answer is no.", "no"),
    ("1. Yes, it is.", "yes"),
    ("No.", "no"),
    ("No", "no"),
    ("No \u2014 not before dusk.", "no"),
    ("No you may not.", "no"),
    ("No, no one may.", "no"),
    ("Yes, no one may stop you.", "yes"),
    ("Certainly not.", "no"),
    ("Can I keep it? No, it goes to the purser.", "no"),
    ("Yes and no.", None),
    ("Yes/No", None),
    ("No one may be held in slavery.", None),
    ("No-one may enter.", None),
    ("No member may hold more than three shares.", None),
    ("Nobody can be forced to join.", None),
    ("Nothing is forbidden.", None),
    ("Yesterday it was closed.", None),
    ("Smoking is not allowed on deck.", "no"),
    ("You may not smoke on deck.", "no"),
    ("You cannot keep it.", "no"),
    ("You can\u2019t keep it because it is not yours.", "no"),
    ("Crews must not drink ale.", "no"),
    ("A member must never vote twice.", "no"),
    ("It isn't permitted.", "no"),
    ("That is strictly prohibited.", "no"),
    ("This is against the rules.", "no"),
    ("You have no right to a refund.", "no"),
    ("You don't have the right to a refund.", "no"),
    ("The hall is never allowed to be used at night.", "no"),
    ("You are no longer allowed in.", "no"),
    ("It is allowed.", "yes"),
    ("You are entitled to a refund.", "yes"),
    ("A passenger may polish the rails instead.", "yes"),
    ("You can keep the finds after three weeks.", "yes"),
    ("You have the right to appeal.", "yes"),
    ("Smoking is not prohibited on deck.", "yes"),
    ("I don't think you are allowed in.", None),
    ("You may keep it only if nobody asks.", None),
    ("You cannot enter unless you have a ticket.", None),
    ("It depends on the weather.", None),
    ("You may enter, but you cannot stay.", None),
    ("You may not be dismissed for this.", None),
    ("An employer cannot refuse you a break.", None),
    ("You may want to ask the office.", None),
    ("I cannot answer that.", None),
    ("It may not rain.", None),
    ("You must wear a life jacket.", None),
    ("You do not have to pay.", None),
    ("The ferry leaves at nine. You cannot board later.", None),
    ("May I come in?", None),
    ("", None),
    ("***", None),
]


@pytest.mark.parametrize(("answer", "expected"), VERDICTS)
def test_stated_verdict(answer: str, expected: str | None) -> None:
    assert verdicts.stated_verdict(answer) == expected


def test_verdict_correct_counts_a_missing_verdict_as_wrong() -> None:
    assert verdicts.verdict_correct("No.", "no") == 1
    assert verdicts.verdict_correct("No.", "yes") == 0
    assert verdicts.verdict_correct("The ferry leaves at nine.", "yes") == 0
    assert verdicts.verdict_correct("Yes.", None) is None


def test_rouge_l_by_hand() -> None:
    """LCS of "the cat sat" and "the cat sat on the mat" is 3: precision 1, recall 3/6, F = 2*0.5/1.5 = 2/3."""
    assert answer_metrics.rouge_l("the cat sat", "the cat sat on the mat") == pytest.approx(2 / 3)
    assert answer_metrics.rouge_l("voting", "votes") == 1
    assert answer_metrics.rouge_l("", "votes") == 0


def test_repetition_by_hand() -> None:
    """Eight words "a b c d a b c d" have five 4-grams, abcd bcda cdab dabc abcd, of which one is a repeat: 1/5."""
    assert answer_metrics.repetition_rate("A b c d, a b c d") == pytest.approx(1 / 5)
    assert answer_metrics.repetition_rate("one two three") == 0
    assert answer_metrics.repetition_rate("w w w w w") == pytest.approx(1 / 2)
    assert answer_metrics.length_words(" Two  words. ") == 2


def test_similarity_and_faithfulness_by_hand() -> None:
    """(1, 1, 0)/sqrt 2 against (1, 0, 0) is 1/sqrt 2; the same text is 1; other colours 0; an empty answer 0."""
    answers, references = ["red green", "blue", "red", " "], ["red", "blue", "green", " "]
    expected = [2**-0.5, 1, 0, 0]
    assert embedding_metrics.similarity(AxisEmbedder(), answers, references) == pytest.approx(expected)
    assert embedding_metrics.faithfulness(AxisEmbedder(), answers, references) == pytest.approx(expected)
    assert embedding_metrics.similarity(AxisEmbedder(), [], []) == []
    with pytest.raises(ValueError, match="2 answers but 1"):
        embedding_metrics.similarity(AxisEmbedder(), ["a", "b"], ["c"])


def test_right_clause_accepts_a_passage_inside_the_clause() -> None:
    """The red answer lies nearest to a/1: right for a/1 and a, wrong for a/2, b, and a clause that merely starts so."""
    passages = [passage("a/1", "red"), passage("a/2", "green"), passage("b", "blue")]
    for clause, hit in (("a/1", 1.0), ("a", 1.0), ("a/2", 0.0), ("b", 0.0), ("a/10", 0.0)):
        assert embedding_metrics.right_clause(AxisEmbedder(), ["red"], [clause], passages) == [hit]
    assert embedding_metrics.right_clause(AxisEmbedder(), ["", "red blue blue"], ["a", "b"], passages) == [0, 1]
    assert embedding_metrics.right_clause(AxisEmbedder(), [], [], passages) == []


def test_clause_passages_falls_back_to_the_enclosing_passage() -> None:
    passages = [passage("a/1", "red"), passage("a/2", "green"), passage("b", "blue")]
    assert clause_passages("a", passages) == [0, 1]
    assert clause_passages("a/2", passages) == [1]
    assert clause_passages("b/7", passages) == [2]
    assert clause_passages("c", passages) == []


def test_registry_leads_with_facts_and_verdicts() -> None:
    assert list(metrics.METRICS) == [
        "follows_document",
        "follows_original",
        "fact_recall",
        "verdict_accuracy",
        "verdict_preference",
        "preference_on_yes",
        "preference_on_no",
        "similarity",
        "rouge_l",
        "bertscore",
        "reference_nll",
        "faithfulness",
        "right_clause",
        "contradiction",
        "refusal",
        "length",
        "repetition",
    ]
    assert all(name == info.name and info.description.endswith(".") for name, info in metrics.METRICS.items())
    assert not metrics.METRICS["reference_nll"].higher_is_better
