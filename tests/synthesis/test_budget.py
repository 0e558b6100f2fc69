"""The budget: counts of a dry pass by hand, what is in the cache, and an entry point that loads no model for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from valign.core.files import write_jsonl
from valign.core.records import Question
from valign.generation.requests import Completion, Request, Sampling
from valign.pipeline.context import Context
from valign.pipeline.dry_run import data_budgets
from valign.synthesis.budget import Budget, BudgetStep, DryTeacher, budget_table
from valign.synthesis.filters import well_formed
from valign.synthesis.placeholders import make_placeholder
from valign.teachers.cache import request_key
from valign.teachers.completion_store import CompletionStore, Spent, StoredRow
from valign.teachers.usage import Usage, cost, estimate_tokens

ROOT = Path(__file__).resolve().parents[2]


def ask(prompt: str, openings: tuple[str, ...] = (), **settings: int) -> Request:
    return Request(({"role": "user", "content": prompt},), Sampling(**settings), openings)


def test_estimates_by_hand() -> None:
    """Nine characters are three tokens of four; a million in and half a million out at 3 and 8 cost 3 + 4."""
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcdefghi")] == [0, 1, 1, 3]
    assert cost(1e6, 5e5, 3.0, 8.0) == 7.0
    assert cost(1e6, 5e5, None, 8.0) is None


def test_dry_teacher_counts_what_is_not_in_the_cache(tmp_path: Path) -> None:
    """Of three requests one is whole in the cache, of one with three completions the second is there.

    The third has two openings, so it is two calls; their prompts have eight characters more than nothing: ``Begin...``.
    Prompts of 8 characters are 2 + 4 tokens. Missing are 2 + 2 completions of at most 10 tokens.
    """
    store = CompletionStore(tmp_path / "c.sqlite")
    done, partly, opened = ask("finished"), ask("one of 3", n=3, max_new_tokens=10), ask("x", ("A", "B"), n=2)
    opened = ask("x", ("A", "B"), n=2, max_new_tokens=10)
    there = Completion("There?", 4, True)
    store.write_rows(
        [StoredRow(request_key("m", done), whole=[there]), StoredRow(request_key("m", partly), parts={1: there})]
    )
    teacher = DryTeacher("m", store)
    rows = teacher.complete_all([done, partly, opened, done], "questions")
    assert rows[0] == rows[3] == [there]
    assert len({completion.text for completion in rows[1]}) == 3
    (step,) = teacher.steps
    asked = estimate_tokens('x\n\nBegin with the words: "A"') + 4
    assert step == BudgetStep("questions", False, cached=2, calls=3, completions=4, prompt=6 + 2 * asked, most=40)
    teacher.complete_all([ask(rows[1][0].text)], "answers")
    assert teacher.steps[1].estimated


def test_placeholders_are_questions() -> None:
    request = ask("Lost things are kept at the ferry office for nine days.", n=30)
    texts = [make_placeholder(request, k).text for k in range(30)]
    assert len(set(texts)) == 30
    assert all(well_formed(text) for text in texts)


def test_time_and_cost_by_hand() -> None:
    """So far 100 completions had 2000 tokens, 20 each, in 400 s: 0.2 s a token, two at once 0.1 s.

    60 more completions are 1200 tokens (at most 3000), which take 120 s; with 600 prompt tokens at 1000 and 2000 a
    million they cost 0.6 + 2.4 = 3.0, at most 0.6 + 6.0 = 6.6.
    """
    steps = (BudgetStep("a", False, 3, 50, 50, 500, 2500), BudgetStep("b", True, 0, 10, 10, 100, 500))
    budget = Budget(steps, Spent(100, 100, 9000, 2000, 400.0), 2, 1000.0, 2000.0)
    assert [budget.expected(step) for step in steps] == [1000, 200]
    assert budget.expected_seconds == pytest.approx(120.0)
    assert budget.cost_range() == pytest.approx((3.0, 6.6))
    text = budget_table(budget)
    assert "time: about 2 min 0 s" in text
    assert "cost: 3.00 expected, 6.60 at most" in text
    assert [line.split() for line in text.splitlines()[:4]] == [
        ["calls", "texts", "in", "cache", "tokens", "in", "tokens", "out", "at", "most"],
        ["a", "50", "50", "3", "500", "1,000", "2,500"],
        ["b", "*", "10", "10", "0", "100", "200", "500"],
        ["all", "60", "60", "3", "600", "1,200", "3,000"],
    ]
    fresh = Budget(steps, Spent())
    assert [fresh.expected(step) for step in steps] == [1250, 250]
    assert fresh.expected_seconds is None
    assert fresh.cost_range() is None
    assert "time: unknown" in budget_table(fresh)
    assert "nothing to ask for" in budget_table(Budget((BudgetStep("a", False, 3),), Spent()))


def test_budget_of_a_document(compose_config: Callable[..., DictConfig], tmp_path: Path) -> None:
    """Every passage gets two questions in one call and, all taken as kept, two answers; the same for one situation.

    After the first call is in the cache, there is one call less.
    """
    config = compose_config(
        *[
            "document=saltmarsh",
            "teacher=api",
            "teacher.model=m",
            f"artifacts={tmp_path}",
            "synthesis.answers=write",
            "synthesis.instructions.openings=[]",
            "synthesis.coverage.min_preferences=0",
        ],
        *[
            "synthesis.preferences.openings=[]",
            "synthesis.instructions.questions_per_passage=2",
            "synthesis.preferences.scenarios_per_passage=1",
        ],
    )
    passages = len(Context.of(config).document.passages)
    budget = data_budgets(Context.of(config))["teacher"]
    calls = {step.label: (step.calls, step.estimated) for step in budget.steps}
    assert calls == {
        "questions": (passages, False),
        "answers": (2 * passages, True),
        "situations": (passages, False),
        "chosen answers": (passages, True),
    }
    assert not any(tmp_path.iterdir())
    seen: list[Request] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DryTeacher, "_note", lambda self, step, job: seen.append(job.request))
        data_budgets(Context.of(config))["teacher"]
    two = [Completion("Which right is it that everyone has here?", 9, True), Completion("Who may rest then?", 5, True)]
    row = StoredRow(request_key("m", seen[0]), two, teacher="m", usage=Usage(100, 14, 2.0), count=2)
    CompletionStore(tmp_path / "completions.sqlite").write_rows([row])
    again = data_budgets(Context.of(config))["teacher"]
    assert again.steps[0].calls == passages - 1
    assert again.steps[0].cached == 2
    assert again.spent == Spent(1, 2, 100, 14, 2.0)


def test_a_judge_is_asked_about_every_written_answer(compose_config: Callable[..., DictConfig], tmp_path: Path) -> None:
    """Two answers and one chosen answer for each passage, none of them known yet; quotes are not asked about."""
    common = ["document=saltmarsh", "teacher=api", "teacher.model=m", f"artifacts={tmp_path}"]
    common += [
        "synthesis.filters.faithfulness=judge",
        "synthesis.instructions.openings=[]",
        "synthesis.instructions.questions_per_passage=2",
        "synthesis.preferences.scenarios_per_passage=1",
    ]
    common += ["synthesis.preferences.rejected.base=0", "synthesis.coverage.min_preferences=0"]
    written = Context.of(compose_config(*common, "synthesis.answers=write"))
    (judged,) = [step for step in data_budgets(written)["teacher"].steps if step.label == "faithfulness"]
    assert (judged.calls, judged.estimated) == (3 * len(written.document.passages), True)
    quoted = Context.of(compose_config(*common))
    assert "faithfulness" not in {step.label for step in data_budgets(quoted)["teacher"].steps}


def test_given_rows_count_as_kept(compose_config: Callable[..., DictConfig], tmp_path: Path) -> None:
    """Of three questions a passage one is given, with a number that its clause lacks: two are asked for."""
    common = ["document=saltmarsh", "teacher=api", "teacher.model=m", f"artifacts={tmp_path}"]
    common += ["synthesis.instructions.questions_per_passage=3", "synthesis.preferences.scenarios_per_passage=0"]
    common += ["synthesis.instructions.openings=[]", f"synthesis.rows={tmp_path}/rows.jsonl"]
    common += ["synthesis.coverage.min_instructions=0", "synthesis.coverage.min_preferences=0"]
    clauses = [passage.clause for passage in Context.of(compose_config("document=saltmarsh")).document.passages]
    words = {"answer": "As 977."}
    given = [{"clause": c, "question": f"What is 4{i} to the pilot?", **words} for i, c in enumerate(clauses)]
    write_jsonl(tmp_path / "rows.jsonl", given)
    asked = Context.of(compose_config(*common))
    (step,) = [step for step in data_budgets(asked)["teacher"].steps if step.label == "questions"]
    assert step.completions == 2 * len(clauses)


ROWS = "the keeper notes every boat that stays at the pier for nine hours and tells the warden of the gate before noon"


@pytest.mark.slow
def test_both_prompt_sets_on_a_thousand_clauses(compose_config: Callable[..., DictConfig], tmp_path: Path) -> None:
    """Three questions and one situation a clause: six calls with small prompts, three with large ones.

    Small: one call for the questions, one for the situation, four for the answers; large: one for the value, one for
    the questions with their answers, one for the situation with both of its own. A reply of three questions may take
    3 x 160 tokens, a situation 256.
    """
    text = "\n".join(f"## Rule {i}. Boats\n\nIn row {i} {ROWS}.\n" for i in range(1000))
    (tmp_path / "rows.md").write_text(f"# Rows\n\n{text}")
    common = ["document=file", f"document.path={tmp_path / 'rows.md'}", "teacher=api", "teacher.model=m"]
    common += [f"artifacts={tmp_path}", "synthesis.answers=write", "synthesis.instructions.openings=[]"]
    common += ["synthesis.preferences.openings=[]", "synthesis.instructions.questions_per_passage=3"]
    common += ["synthesis.preferences.scenarios_per_passage=1", "synthesis.coverage.top_up_rounds=0"]
    write_jsonl(tmp_path / "given.jsonl", [Question("q", "rows/rule-0", "What is it that is asked?", "That.")])
    common += [f"document.questions={tmp_path / 'given.jsonl'}"]
    common += [f"synthesis.instructions.{kind}_per_passage=0" for kind in ("phrases", "recitations", "claims")]
    common += ["synthesis.instructions.examples_per_fact=0", "synthesis.preferences.claim_pairs_per_passage=0"]
    tokens = {}
    for prompts, extra in (("small", ["synthesis.preferences.rejected.base=0"]), ("large", [])):
        context = Context.of(compose_config(*common, *extra, f"synthesis.prompts={prompts}"))
        assert len(context.document.passages) == 1000
        budget = data_budgets(context)["teacher"]
        steps = {step.label: step for step in budget.steps}
        expected = (
            {"questions": 1000, "answers": 3000, "situations": 1000, "chosen answers": 1000}
            if prompts == "small"
            else {
                "does the clause carry a value?": 1000,
                "questions and answers": 1000,
                "situations with two answers": 1000,
            }
        )
        assert {label: step.calls for label, step in steps.items()} == expected
        tokens[prompts] = [sum(s.calls for s in steps.values()), sum(s.prompt for s in steps.values())]
    assert steps["questions and answers"].most == 1000 * 3 * 160
    assert steps["situations with two answers"].most == 1000 * 256
    assert tokens["small"][0] == 2 * tokens["large"][0] == 6000
    assert tokens["large"][1] < tokens["small"][1]


@pytest.mark.slow
def test_clauses_that_are_short_in_any_case_are_asked_about_again(
    compose_config: Callable[..., DictConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One situation a passage, and two pairs are wanted: a second call for each, and no third.

    A third pair cannot be had with one round more, and fixed sentences stand in. Four questions are wanted of the
    teacher, and sixteen asked for at once. Whatever stays short is no error.
    """
    common = ["document=saltmarsh", "teacher=api", "teacher.model=m", f"artifacts={tmp_path}"]
    common += [
        "synthesis.preferences.scenarios_per_passage=1",
        "synthesis.preferences.claim_pairs_per_passage=0",
        "document.questions=null",
        "synthesis.coverage.min_questions=4",
    ]
    for least, rounds in ((2, 2), (3, 1)):
        settings = [f"synthesis.coverage.min_preferences={least}", f"synthesis.coverage.top_up_rounds={rounds}"]
        context = Context.of(compose_config(*common, *settings))
        budget = data_budgets(context)["teacher"]
        steps = {step.label: step for step in budget.steps}
        passages = len(context.document.passages)
        assert steps["situations"].calls == 2 * passages
        assert steps["held-out questions"].completions == 16 * passages
        assert f"asked about {'once' if rounds == 1 else 'up to 2 times'} more" in budget_table(budget)
    assert context.settings.synthesis.coverage.waive is False
    assert not caplog.records


def test_the_budget_loads_no_entailment_model(compose_config: Callable[..., DictConfig], tmp_path: Path) -> None:
    common = ["document=saltmarsh", "teacher=api", "teacher.model=m", f"artifacts={tmp_path}"]
    choice = [
        "synthesis.filters.faithfulness=nli",
        "synthesis.filters.faithfulness_model=nowhere",
        "synthesis.answers=write",
    ]
    context = Context.of(compose_config(*common, *choice))
    assert data_budgets(context)["teacher"].steps


@pytest.mark.slow
def test_entry_point_prints_the_budget_without_torch_and_train_refuses_it(tmp_path: Path) -> None:
    code = (
        "import sys; from valign.synthesize import main, main_with\n"
        "main_with(main)\n"
        "assert not {'torch', 'transformers', 'sklearn', 'aiohttp'} & set(sys.modules)\n"
    )
    settings = ["document=saltmarsh", "teacher=api", "teacher.model=m", "dry_run=true"]
    settings += [f"artifacts={tmp_path}", f"runs={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 120}
    done = subprocess.run([sys.executable, "-c", code, *settings], check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
    assert "budget of saltmarsh, teacher m (nothing was asked)" in done.stdout
    assert "questions" in done.stdout
    train = [sys.executable, "-m", "valign.train", *settings]
    done = subprocess.run(train, check=False, **options)  # type: ignore[call-overload]
    assert done.returncode == 2
    assert "python -m valign.synthesize" in done.stderr
