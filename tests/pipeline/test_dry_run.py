"""The dry run: what is counted, for which teacher, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from valign.pipeline.context import Context
from valign.pipeline.dry_run import NO_TEACHER, data_budgets, dry_run_lines

CONDUCT = Path(__file__).parents[2] / "valign/documents/data/conduct.md"


def test_the_dry_run_counts_the_policy_judge(compose_config: Callable[..., DictConfig], tmp_path: Path) -> None:
    """Every question of the document, of each of three arms; with prices of its own."""
    config = compose_config(
        "+experiment=udhr", f"artifacts={tmp_path}", "evaluation=policy_api", "evaluation.policy_judge.model=m",
        "evaluation.policy_judge.price_in=1", "evaluation.policy_judge.price_out=2",
    )  # fmt: skip
    context = Context.of(config)
    questions = len(context.given_questions or [])
    lines = "\n".join(dry_run_lines(context)).splitlines()
    assert lines[0].startswith("teacher=none: nobody is asked")
    assert f"budget of the policy judge m: every question, {len(context.arms)} arms" in lines
    row = next(line for line in lines if line.startswith("policy judgements *")).split()
    assert row[3:5] == [str(len(context.arms) * questions)] * 2 and len(context.arms) == 3 and questions > 50
    assert any(line.startswith("cost: ") and "expected" in line for line in lines)
    assert lines[-1].startswith("not counted: second tries")


@pytest.mark.parametrize(("prompts", "counted"), [("small", False), ("large", True)])
def test_the_dry_run_says_who_makes_the_probes(
    prompts: str, counted: bool, compose_config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """Rules make them without a call; a teacher's calls for them are in the budget."""
    own = ["base_model=tiny", "teacher.model=tiny", "document=lanternfield", f"artifacts={tmp_path}"]
    asked = [*own, f"synthesis.prompts={prompts}", "evaluation.policy_probes.questions=made"]
    lines = "\n".join(dry_run_lines(Context.of(compose_config(*asked)))).splitlines()
    assert any("probes of the rules, which are made without a call" in line for line in lines) == (not counted)
    assert any(line.startswith("probes") for line in lines) == counted


ASKING = ["+teacher@synthesis.question_teacher=api", "synthesis.question_teacher.model=asker"]
PRICED = [*ASKING, "synthesis.question_teacher.price_in=1", "synthesis.question_teacher.price_out=2"]
GIVEN_ROWS = ["teacher=none", "synthesis.rows=shipped"]
LOCAL = ["teacher=local", "teacher.model=tiny"]


@pytest.mark.parametrize("teacher", [GIVEN_ROWS, LOCAL], ids=["none", "local"])
def test_the_dry_run_counts_the_teacher_of_the_questions_apart(
    teacher: list[str], compose_config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """Its calls cost its own prices, also where nobody is asked for the data."""
    document = ["document=file", f"document.path={CONDUCT}", f"artifacts={tmp_path}", "base_model=tiny"]
    asked = [*document, *teacher, *PRICED, "evaluation.policy_probes.questions=made"]
    context = Context.of(compose_config(*asked))
    budgets = data_budgets(context)
    labels = {group: {step.label for step in budget.steps} for group, budget in budgets.items()}
    assert "held-out questions" in labels["synthesis.question_teacher"]
    assert any(label.startswith("probes") for label in labels["synthesis.question_teacher"])
    assert not {label for label in labels["teacher"] if label.startswith(("held-out", "probes"))}
    assert ("questions" in labels["teacher"]) == (teacher is LOCAL)
    lines = dry_run_lines(context)
    who = "budget of conduct's evaluation questions and probes, teacher asker (nothing was asked)"
    said = "\n".join(lines[lines.index(who) :]).splitlines()
    assert [line for line in said if line.startswith("cost: ") and "expected" in line]
    assert ("teacher=none: nobody is asked for the data" in lines) == (teacher is GIVEN_ROWS)


def test_the_dry_run_leaves_out_a_teacher_of_questions_that_are_given(
    compose_config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    config = compose_config("+experiment=udhr", *ASKING, f"artifacts={tmp_path}")
    assert dry_run_lines(Context.of(config)) == [NO_TEACHER]
