"""The data stage says who writes the data, and a dry run without a teacher that nobody is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from valign.pipeline.authors import author_line
from valign.pipeline.context import Context
from valign.synthesize import print_budget

Compose = Callable[..., DictConfig]
RECORDED = "data: by a large teacher, recorded (synthesis.rows=shipped); the same with the embedded teacher: "


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+experiment=udhr"], RECORDED + "+experiment=udhr_embedded"),
        (["+experiment=udhr_long"], RECORDED + "+experiment=udhr_embedded"),
        (["document=saltmarsh", "synthesis.rows=shipped"], RECORDED + "teacher=local synthesis.rows=null"),
        (["+experiment=udhr_embedded"], "data: by the embedded teacher, a small model; a large one decides more"),
        (["document=saltmarsh"], "data: by the embedded teacher, a small model; a large one decides more"),
        (
            ["document=saltmarsh", "teacher=api", "teacher.model=m"],
            "data: m is asked with the prompts for small models",
        ),
        (["document=saltmarsh", "teacher=api", "teacher.model=m", "synthesis.prompts=large"], None),
        (["+experiment=paper"], None),
        (["document=saltmarsh", "teacher.model=large/teacher"], None),
    ],
)
def test_a_run_says_who_writes_its_data(overrides: list[str], said: str | None, compose_config: Compose) -> None:
    context = Context.of(compose_config(*overrides))
    found = author_line(context.settings.teacher, context.settings.synthesis, context.document.name)
    assert found == said or (said and found and found.startswith(said))


def test_a_dry_run_without_a_teacher_has_nothing_to_count(
    compose_config: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    print_budget(compose_config("+experiment=udhr", "dry_run=true", f"artifacts={tmp_path}"))
    out = capsys.readouterr().out
    assert out.startswith("teacher=none: nobody is asked") and out.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
