"""Three labels for answers: entailed, contradicted, not in the passage; replies of every form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import Bag, Noting
from shipped_data import passages

from valign.core.records import Passage
from valign.generation.requests import Completion, Request
from valign.synthesis.faithfulness import ByTeacher, read_label, verdict_of
from valign.synthesis.filters import Filters
from valign.synthesis.settings import FilterSettings
from valign.teachers.cache import CachedTeacher

FOG = passages("Fog lasts nine days, and boats stay in the harbour.")[0]
LIMITS = FilterSettings(min_relevance=-1, max_rank=9, min_faithfulness=0.4, max_duplicate=1, max_overlap=1)


class Scripted(Noting):
    """Replies what the answer's last word stands for."""

    id = "scripted@1"
    replies = {  # noqa: RUF012
        "entailed": '{"verdict": "none", "answer": "entailed"}',
        "against": '{"verdict": "none", "answer": "contradicted"}',
        "missing": '{"verdict": "none", "answer": "absent"}',
        "verdict": '{"verdict": "no", "answer": "entailed"}',
        "garbage": "I like fog.",
    }

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Return one reply for each request."""
        self.asked += requests
        answers = [r.messages[-1]["content"].split("\nAnswer: ")[1].split("\n")[0] for r in requests]
        return [[Completion(self.replies[answer.rstrip(".").split()[-1]], 8, True)] for answer in answers]


def by_teacher(folder: Path) -> tuple[Scripted, ByTeacher]:
    teacher = Scripted()
    return teacher, ByTeacher(CachedTeacher(teacher, folder / "c.sqlite"))


ANSWERS: list[tuple[str, Passage]] = [
    ("It is entailed.", FOG),
    ("It is against.", FOG),
    ("It is missing.", FOG),
    ("Yes. It has the verdict.", FOG),
    ("It has the verdict.", FOG),
    ("It is garbage.", FOG),
    ("Boats stay in the harbour.", FOG),
]


def test_labels_and_scores_by_hand(tmp_path: Path) -> None:
    """The judge's own "no" contradicts an answer that says yes, and no other; a quote is entailed without a call."""
    teacher, judge = by_teacher(tmp_path)
    labels = ["entailed", "contradicted", "absent", "contradicted", "entailed", "unreadable", "entailed"]
    assert judge.labels(ANSWERS, ["Is there fog?"] * 7) == labels
    assert judge.scores(ANSWERS, ["Is there fog?"] * 7) == [1.0, 0.0, 0.25, 0.0, 1.0, 0.0, 1.0]
    assert len(teacher.asked) == 6
    first = teacher.asked[0]
    assert first.sampling.temperature == 0.0 and first.schema is not None
    assert "Question: Is there fog?" in first.messages[-1]["content"] and FOG.text in first.messages[-1]["content"]


@pytest.mark.parametrize(
    ("reply", "answer", "label"),
    [
        ('```json\n{"verdict": "Yes", "answer": "Entailed",}\n```', "Yes. So.", "entailed"),
        ('{"verdict": "yes", "answer": "entailed"}', "No. So.", "contradicted"),
        ('{"verdict": "yes", "answer": "absent"}', "No. So.", "contradicted"),
        ('{"verdict": "none", "answer": "entailed"}', "No. So.", "entailed"),
        ('{"verdict": "maybe", "answer": "absent"}', "No. So.", "absent"),
        ('{"answer": "contradicted"}', "So.", "contradicted"),
        ('{"verdict": "no"}', "So.", "unreadable"),
        ('{"verdict": "no", "answer": 3}', "So.", "unreadable"),
        ("The answer is contradicted by it.", "So.", "contradicted"),
        ("Yes, it says so.", "So.", "entailed"),
        ("No.", "So.", "absent"),
        ("", "So.", "unreadable"),
        ("{{{{", "So.", "unreadable"),
    ],
)
def test_replies_of_every_form(reply: str, answer: str, label: str) -> None:
    assert read_label(reply, answer) == label


def test_verdicts_by_hand() -> None:
    assert [verdict_of(text) for text in ("Yes. So.", "no, it is not.", "Nobody may.", "Yes")] == [
        "yes",
        "no",
        None,
        None,
    ]


def test_the_funnel_tells_what_is_wrong_with_an_answer(tmp_path: Path) -> None:
    """One call for all of them; with a lower limit, what the passage does not say is let through."""
    teacher, judge = by_teacher(tmp_path)
    filters = Filters([FOG], (), Bag(), LIMITS, judge)
    filters.score_faithfulness(ANSWERS, ["Is there fog?"] * 7)
    asked = len(teacher.asked)
    reasons = [filters.check_answer(text, passage, "Is there fog?")[0] for text, passage in ANSWERS]
    assert reasons == [
        None,
        "contradicts its clause",
        "not in its clause",
        "contradicts its clause",
        None,
        "judgement of the answer unreadable",
        None,
    ]
    assert len(teacher.asked) == asked == 6
    lenient = FilterSettings(min_relevance=-1, max_rank=9, min_faithfulness=0.2, max_duplicate=1, max_overlap=1)
    assert Filters([FOG], (), Bag(), lenient, judge).check_answer("It is missing.", FOG, "Is there fog?")[0] is None


def test_an_answer_is_judged_anew_for_another_question(tmp_path: Path) -> None:
    teacher, judge = by_teacher(tmp_path)
    filters = Filters([FOG], (), Bag(), LIMITS, judge)
    filters.check_answer("It is entailed.", FOG, "Is there fog?")
    filters.check_answer("It is entailed.", FOG, "Is there rain?")
    filters.check_answer("It is entailed.", FOG)
    assert [r.messages[-1]["content"].split("\n")[1] for r in teacher.asked] == [
        "Question: Is there fog?",
        "Question: Is there rain?",
        "Question: (not given)",
    ]


def test_the_cases_own_people_and_numbers_are_no_reason_to_drop(tmp_path: Path) -> None:
    _, judge = by_teacher(tmp_path)
    filters = Filters([FOG], (), Bag(), LIMITS, judge)
    answer, question = "For Ewald it takes 31 days, it is entailed.", "Ewald asks whether it takes 31 days?"
    assert filters.check_answer(answer, FOG, question)[0] is None
    assert filters.check_answer(answer, FOG)[0] == "ungrounded number or name"
