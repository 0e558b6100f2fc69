"""Judges, win rates, length control and ranking: by hand, and with a judge that has the vices of real ones."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from valign.core.records import Answer
from valign.evaluation.judging.bradley_terry import rank_arms
from valign.evaluation.judging.judgement import Judgement, judge_by_reference
from valign.evaluation.judging.model_family import model_family, same_family_warning
from valign.evaluation.judging.model_judge import judge_by_model, judge_prompt, score_replies
from valign.evaluation.judging.tournament import hold_tournament
from valign.evaluation.judging.win_rates import length_controlled, win_rate
from valign.generation.requests import Completion, Request
from valign.teachers.cache import CachedTeacher
from valign.teachers.local import LocalTeacher


def answer(arm: str, i: int, text: str = "So.") -> Answer:
    """Return an arm's answer to question i, on a clause of its own."""
    return Answer(f"q{i}", f"c{i}", f"Why {i}?", "So.", text, arm)


def judged(first: str, second: str, scores: Sequence[float], longer: Sequence[int] = ()) -> list[Judgement]:
    """Return judgements, each on a clause of its own."""
    return [
        Judgement(f"q{i}", f"c{i}", first, second, score, longer[i] if longer else 0) for i, score in enumerate(scores)
    ]


def test_the_reference_judge_compares_similarities_with_a_margin() -> None:
    """0.50 against 0.30 wins, 0.42 against 0.40 ties at a margin of 0.02, 0.1 against 0.2 loses; no value, none."""
    first, second = ([answer(arm, i) for i in range(5)] for arm in ("sft", "base"))
    near: list[dict[str, float | None]] = [
        {"q0": 0.5, "q1": 0.42, "q2": 0.1, "q3": None, "q4": 0.9},
        {"q0": 0.3, "q1": 0.4, "q2": 0.2, "q3": 0.3},
    ]
    found = judge_by_reference(first, second, near, 0.02)
    assert [(j.question_id, j.score) for j in found] == [("q0", 1.0), ("q1", 0.5), ("q2", 0.0)]
    back = judge_by_reference(second, first, near[::-1], 0.02)
    assert [j.swapped() for j in back] == found


@pytest.mark.parametrize(
    ("forward", "backward", "expected"),
    [
        ("A", "B", (1.0, False, 0)),
        ("B.", "a", (0.0, False, 0)),
        ("A", "A", (0.5, True, 0)),
        ("**B**", "Answer: B", (0.5, True, 0)),
        ("tie", "Tie.", (0.5, False, 0)),
        ("A", "tie", (0.75, False, 0)),
        ("tie", "A", (0.25, False, 0)),
        ("Both are fine", "B", (0.75, False, 1)),
        ("", "Beta", (0.5, False, 2)),
        ("The better answer is", "A better one", (0.25, False, 1)),
    ],
)
def test_two_replies_make_one_score(forward: str, backward: str, expected: tuple[float, bool, int]) -> None:
    """A in the first order and B in the second are the same answer; A twice is the same place."""
    assert score_replies(forward, backward) == expected


class Judge:
    """Prefers answers with the word nine; failing that, the first one that it is shown."""

    id = "judge@1"

    def __init__(self) -> None:
        """Nothing was asked."""
        self.asked: list[str] = []

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group all requests."""
        return [list(range(len(requests)))]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Judge."""
        return [[Completion(self._one(request.messages[-1]["content"]), 1, True)] for request in requests]

    def _one(self, text: str) -> str:
        self.asked.append(text)
        a, b = text.partition("Answer A:")[2].split("Answer B:")
        return "A" if "nine" in a or "nine" not in b else "B"


def test_a_model_judges_in_both_orders_and_flips_are_counted(tmp_path: Path) -> None:
    """On q0 SFT says nine and wins in both orders; on q1 neither does, and A wins twice: a flip, so half a win.

    On q2 both say the same, which is a tie without a call: two questions in two orders are four calls.
    """
    sft = [answer("sft", 0, "nine days"), answer("sft", 1, "some {question} days"), answer("sft", 2, "none")]
    base = [answer("base", 0, "days"), answer("base", 1, "long"), answer("base", 2, "none "), answer("base", 3)]
    judge = Judge()
    teacher = CachedTeacher(judge, tmp_path / "cache.sqlite")
    found = judge_by_model(teacher, [(sft, base)], {f"c{i}": f"Rule {i}." for i in range(4)})
    assert [(j.score, j.flipped, j.longer) for j in found] == [(1.0, False, 1), (0.5, True, 2), (0.5, False, 0)]
    assert len(judge.asked) == 4
    assert "Rule: Rule 1." in judge.asked[2] and "some {question} days" in judge.asked[2]
    rate = win_rate(found)
    assert rate.rate.mean == rate.ties == pytest.approx(2 / 3)
    assert rate.flips == pytest.approx(1 / 3)


def test_a_local_model_is_asked_through_its_chat_template(tmp_path: Path) -> None:
    """Random weights name no answer, so that both replies are unread and the pair is a tie."""
    teacher = CachedTeacher(LocalTeacher("tiny", "float32"), tmp_path / "cache.sqlite")
    pair = [answer("sft", 0, "nine days")], [answer("base", 0, "days")]
    (found,) = judge_by_model(teacher, [pair], {"c0": "Nine days."})
    assert (found.score, found.flipped, found.unread, teacher.calls) == (0.5, False, 2, 2)


def test_the_prompt_has_the_rubric_and_the_words_as_they_are() -> None:
    system, user = judge_prompt("{first} rule", "Why?", "one", "two")
    assert all(word in system["content"] for word in ("Faithful to the rule", "Answers the question", "invented"))
    assert "Rule: {first} rule" in user["content"] and "Answer A: one" in user["content"]


def test_win_rate_intervals_draw_whole_clauses() -> None:
    """Two clauses with scores 1, 1 and 0: means 1, 2/3, 2/3, 0 of the four samples, so 0 to 1 around 2/3."""
    rows = [Judgement(f"q{i}", clause, "a", "b", score, 0) for i, (clause, score) in enumerate(
        [("x", 1.0), ("x", 1.0), ("y", 0.0)]
    )]  # fmt: skip
    rate = win_rate(rows).rate
    assert rate.mean == pytest.approx(2 / 3)
    assert (rate.low, rate.high) == (0, 1)
    with pytest.raises(ValueError, match="no judgement"):
        win_rate([])


def test_without_differences_in_length_the_rate_stays() -> None:
    """The intercept's ridge of 0.01 beside 400 answers moves the logit of 3/4 by about 0.01 * 1.1 / 75."""
    clauses = [f"c{i % 40}" for i in range(400)]
    found = length_controlled([1.0, 1.0, 1.0, 0.0] * 100, [0] * 400, clauses)
    assert found.mean == pytest.approx(0.75, abs=1e-3)
    assert found.low < 0.75 < found.high


def test_a_preference_for_length_alone_is_taken_out() -> None:
    """The longer answer gets 0.8 and the shorter 0.2, and the arm is the longer one in three of four questions.

    Its plain rate is 0.65. The logits at +z and -z are +1.386 and -1.386, so that the intercept is 0: one half.
    """
    scores, longer = [0.8, 0.8, 0.8, 0.2] * 500, [10, 10, 10, -10] * 500
    found = length_controlled(scores, longer, [f"c{i}" for i in range(2000)], samples=100)
    assert found.mean == pytest.approx(0.5, abs=0.01)
    turned = length_controlled([1 - s for s in scores], [-x for x in longer], [f"c{i}" for i in range(2000)], 100)
    assert turned.mean == pytest.approx(1 - found.mean)


def test_an_arm_that_always_wins_and_is_always_longer_keeps_its_rate() -> None:
    """Length and arm cannot be told apart; the fit stays finite."""
    found = length_controlled([1.0] * 100, [30] * 100, [f"c{i}" for i in range(100)])
    assert 0.9 < found.mean <= 1
    assert all(math.isfinite(x) for x in (found.low, found.high))


def test_bradley_terry_of_two_arms_by_hand() -> None:
    """Three wins in four, and half a win on both sides: 3.5 to 1.5, so strengths of plus and minus log(7/3) / 2."""
    first, second = rank_arms(judged("a", "b", [1.0, 1.0, 1.0, 0.0]))
    assert (first.arm, second.arm) == ("a", "b")
    assert first.value == pytest.approx(math.log(7 / 3) / 2)
    assert second.value == pytest.approx(-first.value)
    assert first.low <= first.value <= first.high


def test_bradley_terry_recovers_strengths_and_fills_in_a_pair() -> None:
    """Strengths 4, 2, 1: a beats b in 2/3, b beats c in 2/3; a and c never met, and a is four times as strong as c."""
    share = [2 / 3] * 3000
    found = {s.arm: s.value for s in rank_arms([*judged("a", "b", share), *judged("b", "c", share)], samples=20)}
    assert found["a"] - found["b"] == pytest.approx(math.log(2), abs=0.01)
    assert found["a"] - found["c"] == pytest.approx(math.log(4), abs=0.02)


def test_arms_that_do_not_hang_together_are_not_ranked() -> None:
    assert rank_arms([*judged("a", "b", [1.0]), *judged("c", "d", [1.0])]) == []
    assert rank_arms([]) == []


def test_a_tournament_as_json() -> None:
    rows = [*judged("sft", "base", [1.0, 0.5, 1.0], [3, -1, 2]), *judged("dpo", "base", [0.0, 0.5, 0.0])]
    found = hold_tournament(rows, "api", "judge", "kin")
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["judge"] == {"kind": "api", "model": "judge", "warning": "kin"}
    assert [(p["arm"], p["other"]) for p in data["pairs"]] == [("dpo", "base"), ("sft", "base")]
    assert data["pairs"][1]["win_rate"]["mean"] == pytest.approx(5 / 6)
    assert [row["arm"] for row in data["bradley_terry"]] == ["sft", "base", "dpo"]
    assert found.pairs["base", "sft"].rate.mean == pytest.approx(1 / 6)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistral"),
        ("gpt-4o-mini", "openai"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta"),
        ("/models/Qwen2.5-7B", "qwen"),
        ("embedded:smollm2-135m", "smollm"),
        ("tiiuae/falcon-7b-instruct", "falcon"),
        ("phidata-1", "phidata"),
    ],
)
def test_families(model: str, name: str) -> None:
    assert model_family(model) == name


def test_a_judge_of_the_teacher_s_family_is_warned_about() -> None:
    assert "of one family (mistral)" in same_family_warning("mistral-large", "mistralai/Mixtral-8x7B-Instruct-v0.1")
    assert same_family_warning("gpt-4o", "mistralai/Mixtral-8x7B-Instruct-v0.1") == ""
