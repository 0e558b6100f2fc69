"""What stands behind an answer and a figure on the page: the examples of its clause, and what each stage took."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pages import arm_result, comparison, page

from valign.core.files import write_json, write_jsonl
from valign.core.records import Instruction, Preference, Provenance
from valign.generation.requests import Completion, Request, Sampling
from valign.reporting.clause_names import Clauses
from valign.reporting.costs import stage_costs
from valign.reporting.examples import MOST_CHARACTERS, MOST_EXAMPLES, Examples, shorten
from valign.reporting.study import compare_runs
from valign.runs.layout import RUN
from valign.teachers.cache import CachedTeacher

ORIGIN = Provenance("Helmets are yellow.", 36, 55, "question", "0" * 16, "teacher")
FIRST, SECOND = "ferry/section-1", "ferry/section-2"


def instruction(i: int, clause: str = FIRST) -> Instruction:
    """Return a row of D_sft."""
    return Instruction(f"sft-{i}", (clause,), "question", f"What is number {i}?", "Nine days.", ORIGIN)


def preference(i: int, clause: str = FIRST) -> Preference:
    """Return a row of D_pref."""
    return Preference(f"dpo-{i}", (clause,), "situation", f"And {i}?", "Nine.", "Ten.", "edit", ORIGIN)


def test_an_answer_names_what_its_arm_was_trained_on(tmp_path: Path) -> None:
    """Five examples and one pair on the first clause, one pair on the second; base was not trained on any."""
    rows = [*(instruction(i) for i in range(5)), preference(0), preference(1, SECOND)]
    stages = {"base": (), "sft": ("sft",), "sft_dpo": ("sft", "dpo")}
    arms = [
        dataclasses.replace(arm_result(name), stages=found, data="abc" if found else "")
        for name, found in stages.items()
    ]
    shown = comparison(*arms, examples={"abc": rows})
    examples = Examples(shown)
    first, second = ([examples.trained(arm, [clause]) for arm in arms] for clause in (FIRST, SECOND))
    assert first == ["", "5 examples of D_sft", "5 examples of D_sft and 1 pair of D_pref"]
    assert second == ["", "0 examples of D_sft", "0 examples of D_sft and 1 pair of D_pref"]
    sft, pairs = examples.lists([FIRST])
    assert (sft.total, sft.data, len(sft.rows)) == ("5 examples of D_sft", "abc", MOST_EXAMPLES)
    assert (pairs.rows[0].rejected, pairs.rows[0].kind) == ("Ten.", "edit")
    assert [found.total for found in examples.lists([FIRST, SECOND])][1] == "2 pairs of D_pref"
    text = page(tmp_path, shown).text()
    assert "python -m valign.trace clause=ferry/section-1" in text and "sft-2" in text and "Rejected: Ten." in text
    assert "sft-3" not in text and "not in the store" not in text
    assert "not in the store" in page(tmp_path, comparison()).text()


def test_long_examples_are_cut() -> None:
    assert shorten("a" * MOST_CHARACTERS) == "a" * MOST_CHARACTERS
    assert shorten("a" * (MOST_CHARACTERS + 1)) == "a" * (MOST_CHARACTERS - 1) + "…"


def test_time_and_cost_by_hand() -> None:
    """61 s of 244 are a quarter. 2 million tokens at 3 and half a million at 4, per million, are 8."""
    work = {
        "synthesis": {"instructions": 1200, "calls": 0, "calls_cached": 7, "coverage": {}},
        "data": {"prompt_tokens": 2_000_000, "completion_tokens": 500_000},
        "sft": {"steps": 76, "precision": "bfloat16"},
    }
    prices = {"teacher": {"price_in": 3.0, "price_out": 4.0}}
    found = stage_costs(comparison(work=work, config=prices))
    assert [(row.stage, row.share) for row in found.stages] == [("synthesis", 25.0), ("sft", 75.0)]
    done = [row.work for row in found.stages]
    assert done == ["1,200 examples of D_sft, 7 calls from the cache", "76 steps, in bfloat16"]
    assert found.teacher.endswith(
        "2,000,000 prompt tokens and 500,000 completion tokens, whenever they were made; at the prices given, 8.00."
    )
    assert stage_costs(comparison(work=work)).teacher.endswith("; no price was given.")
    assert stage_costs(comparison()).teacher == ""


def test_a_run_s_examples_and_work_come_from_the_store(tmp_path: Path) -> None:
    """A base has no data of its own; what is missing or of another version is left out."""
    one, two, three = ("1" * 16, "2" * 16, "3" * 16)
    for name, data in (("a", one), ("b", two), ("c", three)):
        place = tmp_path / name / "arms" / name
        write_jsonl(place / "answers.jsonl", [])
        write_jsonl(place / "values.jsonl", [])
        write_json(place / "scores.json", {"arm": name, "n": 0, "metrics": {}, "by_clause": {}, "versus": {}})
        details = {
            "arms": [{"name": name, "stages": ["sft"] if name == "a" else []}],
            "document": {"title": "Rules", "sha256": "ab"},
            "artifacts": {"data": data},
            "config": {"artifacts": str(tmp_path / "artifacts")},
            **{key: {} for key in ("curves", "timings", "funnel")},
            **{"experiment": "rules", "passages": [], "leak": None},
        }
        write_json(tmp_path / name / RUN, details)
    store = tmp_path / "artifacts" / "data"
    write_jsonl(store / one / "sft.jsonl", [instruction(1)])
    write_jsonl(store / one / "preferences.jsonl", [preference(2)])
    write_json(store / one / "manifest.json", {"counts": {"instructions": 1}})
    write_jsonl(store / two / "sft.jsonl", [{"old": 1}])
    write_jsonl(store / two / "preferences.jsonl", [])
    found = compare_runs([tmp_path / name for name in "abc"])
    assert found.examples == {one: [instruction(1), preference(2)]}
    assert found.work == {"data": {"instructions": 1}}
    assert {arm.arm: (arm.stages, arm.data) for arm in found.arms} == {
        "a": (("sft",), one),
        "b": ((), ""),
        "c": ((), ""),
    }
    assert Examples(found).lists(Clauses([], ["ferry"]).names(FIRST))[0].rows[0].example_id == "sft-1"


class Counting:
    """A teacher that says nothing, in two tokens."""

    id = "counting"

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return a group for each request."""
        return [[i] for i in range(len(requests))]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Return what was asked for."""
        return [[Completion("", 2, True)] * request.sampling.n for request in requests]


def test_what_a_teacher_spent_counts_calls_of_earlier_runs_once(tmp_path: Path) -> None:
    """A prompt of 8 characters is 2 tokens, and 4 for its turn; two requests with two completions of 2 tokens each."""
    asked = [Request(({"role": "user", "content": f"12345 {i:2}"},), Sampling(n=2)) for i in range(2)]
    first = CachedTeacher(Counting(), tmp_path / "cache")
    first.complete_all(asked, "asking")
    again = CachedTeacher(Counting(), tmp_path / "cache")
    again.complete_all([*asked, asked[0]], "asking")
    for teacher in (first, again):
        assert (teacher.spent().prompt_tokens, teacher.spent().completion_tokens) == (12, 8)
