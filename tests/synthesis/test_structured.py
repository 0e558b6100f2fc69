"""Structured calls: the plan, the reply, the one repair, what is kept of it, and real server processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from changed_settings import changed
from fakes import Bag
from planner import Planner, item, items, passage_of, plan_of, reply
from short_document import GEESE, HARBOUR, HELMETS, LAMPS

from valign.core.records import Document
from valign.documents.read import parse_document
from valign.synthesis.candidates import CONTRADICTIONS
from valign.synthesis.case_plans import OPEN_EVERY, PLAN_LINE, plan_cases, plan_contrasts, structured_counts
from valign.synthesis.filters import Funnel
from valign.synthesis.settings import KindWeights, SynthesisSettings
from valign.synthesis.structured import ask_cases, ask_contrasts
from valign.synthesis.value_check import check_values
from valign.synthesis.writer import Writer
from valign.teachers.api import ApiTeacher
from valign.teachers.cache import CachedTeacher

KINDS = KindWeights(question=0.0, factual=1.0, everyday=1.0, edge=1.0)


@pytest.fixture
def settings(settings: SynthesisSettings) -> SynthesisSettings:
    """Nine questions and six situations of a passage, four in a call and one in a call."""
    return changed(
        settings,
        prompts="large",
        items_per_call=4,
        instructions={"questions_per_passage": 9, "kinds": KINDS},
        preferences={"scenarios_per_passage": 6},
    )


def writer_of(
    settings: SynthesisSettings, folder: Path, teacher: Any = None, document: Document = HARBOUR, seed: int = 0
) -> Writer:
    """Return a writer whose teacher, by default the planner, is behind a cache."""
    return Writer(document, CachedTeacher(teacher or Planner(), folder / "c.sqlite"), Bag(), settings, seed)


def test_kinds_of_structured_calls() -> None:
    """Conflict and comparison are asked elsewhere; what rounding leaves goes to the largest rest."""
    assert structured_counts(KindWeights(question=0.0, factual=2.0, conflict=1.0, silent=1.0), 8) == {
        "factual": 4,
        "silent": 2,
    }
    assert sum(structured_counts(KindWeights(question=1.0), 10).values()) == 10


def test_yes_and_no_are_balanced_for_every_clause(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Six cases: one is open, so three have one verdict and two the other, and the next round turns that round."""
    writer = writer_of(settings, tmp_path)
    for passage in HARBOUR.passages:
        rounds = [Counter(plan.verdict for plan in plan_cases(writer, passage, turn)) for turn in range(2)]
        for counts in rounds:
            assert counts[None] == 3 + 6 // OPEN_EVERY
            assert abs(counts["yes"] - counts["no"]) == 1
        both = sum(rounds, Counter[str | None]())
        assert both["yes"] == both["no"] == 5
        for kind in ("everyday", "edge"):
            of_kind = Counter(p.verdict for p in plan_cases(writer, passage) if p.kind == kind)
            assert abs(of_kind["yes"] - of_kind["no"]) <= 1
        assert all(plan.verdict is None for plan in plan_cases(writer, passage) if plan.kind == "factual")
    leads = [Counter(p.verdict for p in plan_cases(writer_of(settings, tmp_path, seed=s), HARBOUR.passages[0]))
             for s in range(20)]  # fmt: skip
    assert len({counts["yes"] > counts["no"] for counts in leads}) == 2


def test_a_plan_follows_from_seed_clause_and_round(settings: SynthesisSettings, tmp_path: Path) -> None:
    passage = HARBOUR.passages[0]
    lines = [
        tuple(plan.line() for plan in plan_cases(writer_of(settings, tmp_path, seed=seed), place, turn))
        for seed, place, turn in (
            (0, passage, 0), (0, passage, 0), (1, passage, 0), (0, passage, 1), (0, HARBOUR.passages[1], 0),
        )
    ]  # fmt: skip
    assert lines[0] == lines[1]
    assert len(set(lines)) == 4
    assert PLAN_LINE.findall("\n".join(lines[0])) == [
        (str(p.number), p.kind, p.verdict or "none") for p in plan_cases(writer_of(settings, tmp_path), passage)
    ]
    assert len({line.split("; ")[1] for line in lines[0]}) == 9, "no two are asked by the same person"


def test_personas_and_lengths_come_from_the_settings(settings: SynthesisSettings, tmp_path: Path) -> None:
    styles = {"personas": ("The person who asks is a nurse.",), "lengths": ("Answer in one sentence.",)}
    plans = plan_cases(writer_of(changed(settings, instructions=styles), tmp_path), HARBOUR.passages[0])
    assert {plan.asker for plan in plans} == {"a nurse"}
    assert all("length of the answer: Answer in one sentence;" in plan.line() for plan in plans)


def test_contradictions_come_in_turn_with_either_verdict(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Of sixty situations every kind has about as many; a question without a verdict has none to turn round."""
    writer = writer_of(settings, tmp_path)
    plans = plan_contrasts(writer, HARBOUR.passages[0], 0, 60)
    kinds = Counter(plan.contradiction for plan in plans)
    assert set(kinds) == set(CONTRADICTIONS)
    assert min(kinds.values()) >= 10
    verdicts = Counter(plan.verdict for plan in plans)
    assert verdicts["yes"] == verdicts["no"] == 25
    for kind in CONTRADICTIONS:
        of_kind = Counter(plan.verdict for plan in plans if plan.contradiction == kind)
        assert abs(of_kind["yes"] - of_kind["no"]) <= 2
    assert not [plan for plan in plans if plan.contradiction == "verdict" and plan.verdict is None]


def test_cases_are_what_was_planned(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Three calls for nine questions of a passage, each with a schema; every item is there with its call."""
    teacher, funnel = Planner(), Funnel()
    writer = writer_of(settings, tmp_path, teacher)
    found = ask_cases(writer, HARBOUR.passages, 0, funnel)
    assert len(teacher.asked) == 9
    assert [len(plan_of(request.messages)) for request in teacher.asked[:3]] == [4, 4, 1]
    assert all(request.schema["properties"]["items"]["type"] == "array" for request in teacher.asked)
    assert [request.sampling.max_new_tokens for request in teacher.asked[:3]] == [640, 640, 160]
    assert Counter(c.clause for c in found) == {HELMETS: 9, GEESE: 9, LAMPS: 9}
    planned = [plan for passage in HARBOUR.passages for plan in plan_cases(writer, passage)]
    assert [(c.kind, c.verdict) for c in found] == [(plan.kind, plan.verdict) for plan in planned]
    assert all(c.answer.startswith({"yes": "Yes. ", "no": "No. "}.get(c.verdict or "", "")) for c in found)
    assert {(c.teacher, c.template, c.template_hash) for c in found} == {
        ("planner@1", "cases", writer.template("cases").hash)
    }
    assert all(set(c.sampling) == {"temperature", "top_p", "max_new_tokens", "seed"} for c in found)
    assert (funnel.made, funnel.dropped) == (0, {})


def test_the_cache_answers_a_second_time(settings: SynthesisSettings, tmp_path: Path) -> None:
    first = ask_cases(writer_of(settings, tmp_path), HARBOUR.passages)
    again = Planner()
    assert ask_cases(writer_of(settings, tmp_path, again), HARBOUR.passages) == first
    assert again.asked == []


def broken(messages: Sequence[Any]) -> str:
    """Damage every first reply: one item whole, one with the other verdict, one no question, the last one cut off."""
    if len(messages) > 1:
        return reply(messages)
    found = items(messages)
    if len(found) < 4:
        return "Sorry, I have lost the thread."
    found[1]["verdict"] = "no" if found[1]["verdict"] == "yes" else "yes"
    found[1]["answer"] = "Perhaps."
    found[2]["question"] = "Tell me."
    text = json.dumps({"items": found})
    return text[: text.rindex('"verdict"')]


def test_one_repair_brings_what_is_missing_or_unfit(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Each call of four has three items to be asked again, the one of one all of its own; nothing is lost."""
    teacher, funnel = Planner(broken), Funnel()
    found = ask_cases(writer_of(settings, tmp_path, teacher), HARBOUR.passages[:1], 0, funnel)
    assert len(found) == 9 and not funnel.made
    repairs = [request for request in teacher.asked if len(request.messages) == 3]
    assert len(teacher.asked) == 6 and len(repairs) == 3
    assert [len(plan_of(request.messages)) for request in repairs] == [3, 3, 1]
    assert repairs[0].messages[1]["content"] == broken(repairs[0].messages[:1]).strip(), "it is shown its reply"
    for fault in ("(other verdict than planned)", "(malformed)", "(not written)"):
        assert fault in repairs[0].messages[2]["content"]
    assert Counter("repaired" in candidate.sampling for candidate in found) == {True: 7, False: 2}


def test_what_stays_unfit_is_counted(settings: SynthesisSettings, tmp_path: Path) -> None:
    """A teacher that answers yes whatever the plan says loses its surplus: no clause has more yes than was planned."""

    def always_yes(messages: Sequence[Any]) -> str:
        return json.dumps({"items": [item(messages, n, "yes" if v == "no" else v) for n, _, v in plan_of(messages)]})

    funnel = Funnel()
    writer = writer_of(settings, tmp_path, Planner(always_yes))
    found = ask_cases(writer, HARBOUR.passages, 0, funnel)
    no = sum(plan.verdict == "no" for passage in HARBOUR.passages for plan in plan_cases(writer, passage))
    assert funnel.made == no and funnel.dropped == {"other verdict than planned": no}
    assert len(found) == 27 - no


@pytest.mark.parametrize(
    ("verdict", "answer", "expected"),
    [
        ("no", "he may not.", "No. He may not."),
        ("no", "No one may.", "No. No one may."),
        ("NO.", "No: he may not.", "No: he may not."),
        ("", "No. He may not.", "No. He may not."),
        (False, "No, never.", "No, never."),
    ],
)
def test_verdicts_are_fields(
    verdict: Any, answer: str, expected: str, settings: SynthesisSettings, tmp_path: Path
) -> None:
    """The verdict is put in front where the answer lacks it; a missing field is read from the answer's first word."""

    def write(messages: Sequence[Any]) -> str:
        found = items(messages)
        for one in (one for one in found if one["verdict"] == "no"):
            one |= {"verdict": verdict, "answer": answer}
        return json.dumps(found)

    teacher = Planner(write)
    found = ask_cases(writer_of(settings, tmp_path, teacher), HARBOUR.passages)
    assert all(len(request.messages) == 1 for request in teacher.asked)
    assert {c.answer for c in found if c.verdict == "no"} == {expected}


def test_items_without_numbers_are_taken_in_their_order(settings: SynthesisSettings, tmp_path: Path) -> None:
    def write(messages: Sequence[Any]) -> str:
        return json.dumps([{k: v for k, v in one.items() if k != "number"} for one in items(messages)])

    (tmp_path / "other").mkdir()
    numbered = ask_cases(writer_of(settings, tmp_path), HARBOUR.passages)
    assert ask_cases(writer_of(settings, tmp_path / "other", Planner(write)), HARBOUR.passages) == numbered


def test_a_number_as_long_as_a_page_is_none(settings: SynthesisSettings, tmp_path: Path) -> None:
    def write(messages: Sequence[Any]) -> str:
        return json.dumps([{**one, "number": "9" * 5000} for one in items(messages)])

    assert ask_cases(writer_of(settings, tmp_path, Planner(write)), HARBOUR.passages)


def test_reasons_follow_the_answers(settings: SynthesisSettings, tmp_path: Path) -> None:
    def write(messages: Sequence[Any]) -> str:
        assert '"reason"' in messages[0]["content"]
        return json.dumps([{**one, "reason": "So that it is safe."} for one in items(messages)])

    reasoned = changed(settings, instructions={"reasons": True})
    found = ask_cases(writer_of(reasoned, tmp_path, Planner(write)), HARBOUR.passages[:1])
    assert len(found) == 9 and all(c.answer.endswith(" So that it is safe.") for c in found)


def test_a_contrast_is_one_call(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Question, verdict and both answers come together; the kind is the plan's where the reply names none."""
    teacher = Planner()
    writer = writer_of(settings, tmp_path, teacher)
    found = ask_contrasts(writer, HARBOUR.passages)
    assert len(teacher.asked) == len(found) == 18
    planned = [plan for passage in HARBOUR.passages for plan in plan_contrasts(writer, passage, 0, 6)]
    assert [(c.rejected_kind, c.verdict) for c in found] == [(p.contradiction, p.verdict) for p in planned]
    for c in found:
        other = {"yes": "No. ", "no": "Yes. "}.get(c.verdict or "", "never")
        assert c.rejected.startswith(other) and c.kind == "situation" and c.template == "contrasts"
    together = changed(settings, preferences={"situations_per_call": 6})
    (tmp_path / "other").mkdir()
    wide = Planner()
    assert len(ask_contrasts(writer_of(together, tmp_path / "other", wide), HARBOUR.passages)) == 18
    assert len(wide.asked) == 3


def test_a_pair_that_fails_its_checks_is_asked_again(settings: SynthesisSettings, tmp_path: Path) -> None:
    """The rejected answers are three times as long at first, and stay so for the geese."""

    def write(messages: Sequence[Any]) -> str:
        found = items(messages)
        if len(messages) == 1 or "geese" in passage_of(messages):
            found = [{**one, "unfaithful": f"{one['unfaithful']} {20 * 'and more '}"} for one in found]
        return json.dumps(found)

    funnel, teacher = Funnel(), Planner(write)
    found = ask_contrasts(writer_of(settings, tmp_path, teacher), HARBOUR.passages, 0, funnel)
    assert Counter(c.clause for c in found) == {HELMETS: 6, LAMPS: 6}
    assert funnel.dropped == {"lengths differ": 6} and funnel.made == 6
    assert sum("(lengths differ)" in request.messages[-1]["content"] for request in teacher.asked) == 18


MEANING = parse_document(
    b"## Rule 1. Words\n\nA guard means whoever wears the yellow helmet.\n\n"
    b"## Rule 2. Geese\n\nNobody may feed the geese at the north gate of the harbour.\n",
    "code",
)


def test_a_definition_gets_no_situation(settings: SynthesisSettings, tmp_path: Path) -> None:
    """The definition is asked for what it states alone."""
    teacher = Planner()
    writer = writer_of(settings, tmp_path, teacher, MEANING)
    words, geese = MEANING.passages
    check_values(writer)
    assert writer.without_value == frozenset({words.clause})
    assert len(teacher.asked) == 2 and all(request.sampling.temperature == 0 for request in teacher.asked)
    writer.without_value = frozenset([words.clause])
    assert {c.clause for c in ask_contrasts(writer, MEANING.passages)} == {geese.clause}
    assert {plan.kind for plan in plan_cases(writer, words)} == {"factual"}
    assert len(plan_cases(writer, words)) == 9


@pytest.mark.parametrize(
    ("said", "is_without"),
    [("No, it is a heading.", True), ('{"carries_value": false}', True), ("Yes.", False), ("", False), ("{", False)],
)
def test_whether_a_clause_carries_a_value(
    said: str, is_without: bool, settings: SynthesisSettings, tmp_path: Path
) -> None:
    """A reply that cannot be read leaves the clause its situations."""
    writer = writer_of(settings, tmp_path, Planner(lambda _: said), MEANING)
    check_values(writer)
    found = writer.without_value
    assert bool(found) == is_without


@contextmanager
def served(folder: Path, mode: str) -> Iterator[tuple[ApiTeacher, Path]]:
    """Serve the planner from a process of its own; yields a teacher that calls it, and the server's log."""
    log = folder / "log.jsonl"
    script = Path(__file__).resolve().parents[1] / "helpers/planner.py"
    process = subprocess.Popen([sys.executable, str(script), "0", str(log), mode], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield ApiTeacher("planner@1", [f"http://127.0.0.1:{port}/v1"], concurrency=4), log
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.parametrize(("mode", "calls", "repairs"), [("schema", 9, 0), ("plain", 9, 0), ("broken", 18, 9)])
def test_a_server_process(mode: str, calls: int, repairs: int, settings: SynthesisSettings, tmp_path: Path) -> None:
    """With a schema, refused and in a fence, or broken off: the same 27 rows, and nothing is asked for twice."""
    (tmp_path / "own").mkdir()
    expected = ask_cases(writer_of(settings, tmp_path / "own"), HARBOUR.passages)
    with served(tmp_path, mode) as (teacher, log):
        found = ask_cases(writer_of(settings, tmp_path, teacher), HARBOUR.passages)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert ask_cases(writer_of(settings, tmp_path, teacher), HARBOUR.passages) == found
        assert len(log.read_text().splitlines()) == len(lines) == calls
    assert {has_schema for has_schema, _, _ in lines} == {mode == "schema"}
    assert sum(turns == 3 for _, turns, _ in lines) == repairs
    assert len({text for _, _, text in lines}) == calls
    plain = [replace(c, question="", answer="", sampling={}) for c in found]
    assert plain == [replace(c, question="", answer="", sampling={}) for c in expected]
