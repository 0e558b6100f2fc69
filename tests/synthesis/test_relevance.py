"""Whether a clause decides a question: the judge's prompts and replies, by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import Bag, Noting
from omegaconf import DictConfig
from shipped_data import Table, passages

from valign.generation.requests import Completion, Request
from valign.pipeline.context import Context
from valign.pipeline.dry_run import data_budgets
from valign.synthesis.filters import Filters
from valign.synthesis.judge_replies import find_letters
from valign.synthesis.relevance import RelevanceChecks, RelevanceJudge, make_relevance
from valign.synthesis.settings import FilterSettings
from valign.teachers.cache import CachedTeacher

RULES = ("Fog lasts nine days.", "Oil is sold.", "Geese sleep.", "Tar is black.")
OPEN = FilterSettings(min_relevance=-1, max_rank=99, min_faithfulness=-1, max_duplicate=1, max_overlap=1)


def limits(**changed: Any) -> FilterSettings:
    return replace(OPEN, **changed)


class Finder(Noting):
    """Names the clauses that share a word of four letters or more with the question, or says what it is told to."""

    id = "finder@1"

    def __init__(self, reply: str | None = None) -> None:
        super().__init__()
        self.reply = reply

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Return one reply for each request."""
        self.asked += requests
        return [[Completion(self.reply or self._find(request), 4, True)] for request in requests]

    def _find(self, request: Request) -> str:
        shown, _, rest = request.messages[-1]["content"].partition("\n\nQuestion: ")
        question = rest.split("\n")[0].lower()
        lines = [line for line in shown.split("\n") if line[1:3] == ". "]
        named = [line[0] for line in lines if any(w in question for w in re.findall(r"\w{4,}", line[3:].lower()))]
        return '{"decides": [' + ", ".join(f'"{letter}"' for letter in named) + "]}"


def judge(teacher: Finder, folder: Path, shown: int = 3) -> RelevanceJudge:
    return RelevanceJudge(passages(*RULES), Bag(), CachedTeacher(teacher, folder / "c.sqlite"), shown)


def test_the_judge_is_asked_once_for_a_batch_and_the_own_clause_is_always_shown(tmp_path: Path) -> None:
    """Of four clauses three are shown. "Black" is in the fourth alone, nothing in the one on fog, "geese" in one."""
    teacher = Finder()
    questions = [("Is oil as black as tar?", "d/3"), ("How long is there fog here?", "d/1"), ("Do geese snore?", "d/1")]
    asked = judge(teacher, tmp_path)
    assert asked.scores(questions) == [0.0, -1.0, 0.0]
    assert asked.scores([("Which lasts longer?", "d/1"), ("Do geese sleep?", "d/3")]) == [1.0, 1.0]
    assert len(teacher.asked) == 5
    first = teacher.asked[0]
    assert first.sampling.temperature == 0.0 and first.schema is not None
    assert "Geese sleep." in first.messages[-1]["content"]
    assert sum(rule in first.messages[-1]["content"] for rule in RULES) == 3


def test_the_order_depends_on_the_question_alone(tmp_path: Path) -> None:
    """So a question about two clauses that are both near is one call; its order is not always that of the document."""
    teacher = Finder()
    asked = judge(teacher, tmp_path, shown=4)
    asked.scores([("Which lasts longer?", "d/1"), ("Which lasts longer?", "d/2")])
    assert len(teacher.asked) == 1
    orders = {tuple(asked.order(f"Is this question {i}?", "d/1")) for i in range(40)}
    assert len(orders) > 10 and {order[0] for order in orders} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("reply", "letters"),
    [
        ('{"decides": ["C"]}', ["C"]),
        ('Well:\n```json\n{"decides": ["c", "A",]}\n```', ["C", "A"]),
        ('{"decides": "B"}', ["B"]),
        ('{"decides": ["Clause B"]}', ["B"]),
        ('{"decides": []}', []),
        ('{"decides": ["none"]}', []),
        ('{"decides": null}', []),
        ('{"decides": ["Z"]}', None),
        ('{"decides": [7]}', None),
        ("B", ["B"]),
        ("(B) It says so.", ["B"]),
        ("None of these clauses does.", []),
        ("A clause of this kind may decide it.", None),
        ("It is decided by clause C, I think.", ["C"]),
        ("I do not know", None),
        ("", None),
        ("{" * 5000, None),
    ],
)
def test_replies_of_every_form(reply: str, letters: list[str] | None) -> None:
    assert find_letters(reply, "decides", "ABC") == letters


@pytest.mark.parametrize(
    ("reply", "kind", "reason"),
    [
        (None, "", "no clause decides it"),
        (None, "silent", None),
        (None, "conflict", None),
        ('{"decides": ["A", "B", "C"]}', "", None),
        ('{"decides": ["A", "B", "C"]}', "silent", "not silent"),
        ("no idea what you want", "", None),
    ],
)
def test_what_a_reply_does_to_a_question(tmp_path: Path, reply: str | None, kind: str, reason: str | None) -> None:
    """Nothing in the clauses is about bread; an unreadable reply and a question on two clauses are left to the rank."""
    checks = RelevanceChecks(passages(*RULES[:3]), Bag(), limits(), judge_of(reply, tmp_path))
    assert checks.check("What does bread cost?", "d/1", kind)[0] == reason


def judge_of(reply: str | None, folder: Path) -> RelevanceJudge:
    teacher = CachedTeacher(Finder(reply), folder / "c.sqlite")
    return RelevanceJudge(passages(*RULES[:3]), Bag(), teacher, 3)


def test_another_clause_decides_it(tmp_path: Path) -> None:
    """The reason names the difference; the score stays with the row, and the rank has no say."""
    filters = Filters(passages(*RULES), (), Bag(), limits(max_rank=1), None, judge(Finder(), tmp_path))
    reason, scores = filters.check_question("Is there any oil that is sold?", "d/1")
    assert (reason, scores["decides"]) == ("another clause decides it", 0.0)
    reason, scores = filters.check_question("Does any oil that is sold here last, as fog lasts?", "d/1")
    assert reason is None and scores["decides"] in (0.5, 1.0)


def test_an_unreadable_reply_is_left_to_the_rank(tmp_path: Path) -> None:
    unread = judge(Finder("?!"), tmp_path)
    filters = Filters(passages(*RULES), (), Bag(), limits(max_rank=1), None, unread)
    assert filters.check_question("Is oil sold here?", "d/1")[0] == "irrelevant"
    reason, scores = filters.check_question("Is oil sold here?", "d/2")
    assert reason is None and "decides" not in scores


def test_questions_that_are_dropped_anyway_are_not_asked_about(tmp_path: Path) -> None:
    teacher = Finder()
    filters = Filters(passages(*RULES), (), Bag(), limits(min_relevance=0.1), None, judge(teacher, tmp_path))
    filters.score_relevance(
        [
            ("No question", "d/1"),
            ("Is fog thick here?", "d/1"),
            ("Is fog thick here?", "d/1"),
        ]
    )
    assert len(teacher.asked) == 1
    assert filters.check_question("Is fog thick here?", "d/1")[1]["decides"] == -1.0
    assert len(teacher.asked) == 1


def test_passages_within_the_margin_do_not_count_in_the_rank() -> None:
    """The question's cosines are 0.6, 0.8 and 0; the second passage is 0.2 nearer than its own one."""
    table = Table(Fog=(1, 0, 0), Oil=(0, 1, 0), Geese=(0, 0, 1), Near=(0.6, 0.8, 0))
    for margin, rank in ((0.0, 2.0), (0.1, 2.0), (0.25, 1.0)):
        checks = RelevanceChecks(passages(*RULES[:3]), table, limits(max_rank=1, rank_margin=margin))
        reason, scores = checks.check("Near it?", "d/1")
        assert (scores["rank"], reason) == (rank, None if rank == 1 else "irrelevant")


def test_a_judge_is_made_only_where_it_is_asked_for(tmp_path: Path) -> None:
    teacher = CachedTeacher(Finder(), tmp_path / "c.sqlite")
    assert make_relevance(limits(), passages(*RULES), Bag(), teacher) is None
    made = make_relevance(limits(relevance="judge", relevance_clauses=9), passages(*RULES), Bag(), teacher)
    assert made is not None and made.shown == 4


def test_the_judge_is_counted_in_the_budget(compose_config: Callable[..., DictConfig], tmp_path: Path) -> None:
    """Two situations and three questions a passage, each looked at once; with embeddings nothing is."""
    common = ["document=saltmarsh", "teacher=api", "teacher.model=m", f"artifacts={tmp_path}"]
    common += ["synthesis.instructions.questions_per_passage=3", "synthesis.preferences.scenarios_per_passage=2"]
    common += ["synthesis.coverage.min_preferences=0", "synthesis.preferences.rejected.base=0"]
    judged = Context.of(compose_config(*common, "synthesis.filters.relevance=judge", "synthesis.answers=write"))
    steps = {step.label: step for step in data_budgets(judged)["teacher"].steps}
    clauses = len(judged.document.passages)
    assert (steps["relevance"].calls, steps["relevance"].estimated) == (5 * clauses, True)
    assert (steps["answers"].calls, steps["chosen answers"].calls) == (3 * clauses, 2 * clauses)
    embedded = Context.of(compose_config(*common))
    assert "relevance" not in {step.label for step in data_budgets(embedded)["teacher"].steps}
