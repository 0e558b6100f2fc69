"""What the pipeline refuses, and what it takes as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from valign.core.errors import ValignError
from valign.core.records import Question
from valign.documents.shipped import shipped_document
from valign.evaluation.questions import check_questions
from valign.pipeline.artifacts import Artifacts, pinned_by
from valign.pipeline.context import Context
from valign.pipeline.data_stage import data_stage
from valign.train import main


def question(clause: str) -> Question:
    return Question("q-1", clause, "May I?", "No.", ())


def test_question_has_to_name_a_clause_of_the_document() -> None:
    """A whole article, one of its parts and a part of a part are clauses; an article that is not there is none."""
    document = shipped_document("udhr")
    for clause in ("udhr/article-26", "udhr/article-26/1", "udhr/article-26/1/2"):
        check_questions([question(clause)], "own.jsonl", document)
    with pytest.raises(
        ValignError, match=r"^own\.jsonl: question 'q-1' names clause 'udhr/article-261', which udhr does"
    ):
        check_questions([question("udhr/article-261")], "own.jsonl", document)


def test_artifacts_of_a_finished_run_are_not_built_anew(
    tmp_path: Path, compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    details = {"artifacts": {"data": "0" * 16, "sft": "1" * 16, "answers/sft": "2" * 16}}
    assert pinned_by(details) == {"data": "0" * 16, "sft": "1" * 16}
    context = Context.of(compose_config(f"artifacts={tmp_path}"))
    artifacts = Artifacts(context.store, pinned_by(details))
    monkeypatch.setattr(artifacts, "build", lambda *_: pytest.fail("built"))
    with pytest.raises(ValignError, match="is not there; start from the folder that the run was started from"):
        data_stage(context, artifacts)
    folder = tmp_path / "data" / ("0" * 16)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"seconds": 2}')
    assert data_stage(context, artifacts) == folder
    assert artifacts.timings == {"data": 2.0}
    assert artifacts.hashes == {"data": "0" * 16}


def test_a_gpu_that_is_not_there_is_noticed_before_the_teacher_is_asked(
    tmp_path: Path, compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    runs = tmp_path / "runs"
    config = compose_config("trainer=gpu", f"artifacts={tmp_path}", f"runs={runs}", f"run_dir={runs / 'a'}")
    with pytest.raises(ValignError, match=r"^trainer\.accelerator=gpu, but PyTorch sees no GPU; choose trainer=cpu\.$"):
        main(config)
    assert not runs.exists()
