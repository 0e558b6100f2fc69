"""Before a teacher is paid for data: its server, the question teacher's, the judge's and the base are looked at."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import Bag
from odd_servers import Face, bodies
from omegaconf import DictConfig
from short_document import HARBOUR

from valign.core.errors import ValignError
from valign.models.random_model import write_tiny_llama
from valign.pipeline import base_check
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.base_check import check_base_model
from valign.pipeline.context import Context
from valign.pipeline.data_stage import data_stage
from valign.pipeline.judge_stage import judging_teacher
from valign.synthesize import main

Compose = Callable[..., DictConfig]


def synthesize(config: DictConfig) -> None:
    """Make the data of a small document, as a run does."""
    context = Context.of(config)
    fixed: dict[str, Any] = {
        "document": HARBOUR, "given_questions": None, "embedder": Bag(), "model_path": "m", "model_id": "none@0",
    }  # fmt: skip
    vars(context).update(fixed)
    data_stage(context, Artifacts(context.store), judging_teacher(context))


def asking(url: str, where: str = "teacher") -> list[str]:
    return [f"{where}.model=m", f"{where}.base_urls=[{url}]"]


JUDGE = ["evaluation=judge_api"]
QUESTIONS = ["+teacher@synthesis.question_teacher=api"]


@pytest.mark.parametrize(
    ("teacher", "more", "where", "words", "tried"),
    [
        ("other-name", [], None, "other-name/v1 has no model m", []),
        ("think", JUDGE, "evaluation.judge_model", "other-name/v1 has no model m", []),
        ("half", QUESTIONS, "synthesis.question_teacher", "other-name/v1 has no model m", [16]),
        ("mistral", ["evaluation=judge_local", "evaluation.judge_model.model=/no/model"], None, "no such folder", []),
    ],
)
def test_what_is_not_there_is_found_before_anybody_is_asked(
    odd: Face, compose_config: Compose, tmp_path: Path, teacher: str, more: list[str], where: str | None, words: str,
    tried: list[int],
) -> None:  # fmt: skip
    """At most the short trial call is made."""
    url = odd(teacher)
    other = asking(odd("other-name"), where) if where else []
    with pytest.raises(ValignError, match=words):
        synthesize(compose_config("teacher=api", *asking(url), *more, *other, f"artifacts={tmp_path}"))
    assert [body["max_tokens"] for body in bodies(url)] == tried


def test_all_servers_are_tried_once(odd: Face, compose_config: Compose, tmp_path: Path) -> None:
    """The prompts do not fit the teacher's context of 64 tokens, which ends it before its trial call."""
    teacher, judge = odd("good"), odd("beside")
    config = compose_config(
        "teacher=api", *asking(teacher), *JUDGE, *asking(judge, "evaluation.judge_model"), f"artifacts={tmp_path}"
    )
    with pytest.raises(ValignError, match="context of 64 tokens"):
        synthesize(config)
    assert [[body["max_tokens"] for body in bodies(url)] for url in (teacher, judge)] == [[], [16]]


def test_the_base_model_is_looked_at_before_data_are_made(odd: Face, compose_config: Compose, tmp_path: Path) -> None:
    """By ``valign.synthesize`` as by ``valign.train``."""
    write_tiny_llama(tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").write_text("{{ messages | length }} {{ messages[0].content }}")
    url = odd("harmony")
    base = ["base_model=hub", f"base_model.model={tmp_path / 'base'}"]
    with pytest.raises(ValignError, match="renders a prompt differently"):
        main(compose_config("teacher=api", *asking(url), *base, f"artifacts={tmp_path / 'a'}"))
    assert bodies(url) == []


def test_a_base_of_the_hub_need_not_be_there_for_the_data_alone(
    compose_config: Compose, caplog: pytest.LogCaptureFixture
) -> None:
    context = Context.of(compose_config("base_model=hub", "base_model.model=nobody/none"))
    with pytest.raises(ValignError, match="nobody/none cannot be loaded"):
        check_base_model(context)
    check_base_model(context, is_trained=False)
    said = "the base model was not looked at before the data are made: model nobody/none"
    assert [line.startswith(said) for line in caplog.messages if "base model" in line] == [True]


def test_a_folder_without_licence_or_too_large_is_said(
    compose_config: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_llama(tmp_path)
    context = Context.of(compose_config("base_model=hub", f"base_model.model={tmp_path}"))
    with caplog.at_level(logging.INFO):
        check_base_model(context)
        (line,) = caplog.messages
        assert f"{tmp_path} holds no licence" in line
        (tmp_path / "LICENSE.txt").write_text("terms")
        caplog.clear()
        check_base_model(context)
        assert caplog.messages == []
    pages = {"SC_PAGE_SIZE": 1024, "SC_PHYS_PAGES": 10}
    monkeypatch.setattr(base_check.os, "sysconf", lambda name: pages.get(name) or os.sysconf(name))
    check_base_model(context)
    (line,) = caplog.messages
    assert "of weights, and this machine has 0.0 GiB of memory" in line
