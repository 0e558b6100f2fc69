"""A run that trains nothing asks no teacher where its questions are given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from harbour import HARBOUR, QUESTIONS
from omegaconf import DictConfig

from valign.config.schema import ScoringSettings
from valign.core.errors import ValignError
from valign.core.files import read_json, read_rows, write_jsonl
from valign.evaluation.settings import ServerSettings
from valign.pipeline import data_stage
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.data_stage import data_if_needed
from valign.pipeline.evaluation_run import evaluate
from valign.provenance.entries import trace_entry
from valign.provenance.ledger import read_ledger
from valign.provenance.runs import data_of_run
from valign.reporting.study import compare_folder, compare_runs
from valign.serving.settings import VllmSettings
from valign.train import main

Compose = Callable[..., DictConfig]
NOBODY = ("teacher=api", "teacher.model=nobody", "teacher.base_urls=[http://127.0.0.1:9/v1]", "teacher.max_retries=0")


def settings(folder: Path, *more: str) -> list[str]:
    """Return a run's settings: a document and questions of one's own, and a teacher that is not there."""
    (folder / "harbour.md").write_text(HARBOUR)
    write_jsonl(folder / "own.jsonl", QUESTIONS)
    own = [
        *("document=file", f"document.path={folder / 'harbour.md'}", f"document.questions={folder / 'own.jsonl'}"),
        *("base_model=tiny", *NOBODY, f"artifacts={folder / 'artifacts'}", f"runs={folder / 'runs'}"),
        *("evaluation.max_new_tokens=8", "evaluation.bootstrap=100", "evaluation.tax.measure=false", "logger=none"),
    ]
    return [*own, *more]


def test_untrained_arms_need_no_teacher(
    tmp_path: Path, compose_config: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run has scores and a page, and says nothing of data; it can be evaluated, traced and compared."""
    folder = tmp_path / "runs" / "own" / "in_context"
    main(compose_config(*settings(tmp_path, "recipe=in_context", f"run_dir={folder}")))
    said = capsys.readouterr().out
    assert "D_sft" not in said and "six words in a row" not in said
    details = read_json(folder / "run.json")
    assert (details["funnel"], details["leak"]) == (None, None) and "data" not in details["artifacts"]
    assert not (tmp_path / "artifacts" / "data").exists()
    assert {row["arm"] for row in read_rows(folder / "answers.jsonl")} == {"in_context"}
    page = (folder / "report.html").read_text()
    assert "The training data: there are none, as nothing was trained." in page
    assert "The overlap of the evaluation questions with the training data was not measured." in page
    scoring = ScoringSettings(vllm=VllmSettings(), server=ServerSettings())
    evaluate(folder, tmp_path / "own.jsonl", tmp_path / "again", scoring, is_trusted=True)
    assert (tmp_path / "again" / "report.html").is_file()
    assert "none: nothing was trained" in trace_entry(read_ledger(tmp_path / "artifacts", tmp_path / "runs"), "own-1")
    with pytest.raises(ValignError, match=r"trained nothing and had its questions given; no data were made"):
        data_of_run(folder)
    compared = compare_folder(folder)
    assert (compared.funnel, compared.leak) == (None, None)
    other = details | {"funnel": {"sft": {"made": 5, "kept": 4, "dropped": {}}}, "leak": {"rate": 0.0}}
    assert compare_runs([folder, folder], [details, other]).funnel == {"sft": other["funnel"]["sft"]}


@pytest.mark.parametrize(
    "more",
    [
        ["recipe=sft"],
        ["recipe=base", "document.questions=null", "synthesis.evaluation_questions.per_passage=1"],
        ["recipe=base", "evaluation.policy_probes.questions=shipped"],
    ],
    ids=["trained", "no questions", "probes"],
)
def test_others_ask_theirs(
    more: list[str], tmp_path: Path, compose_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_stage, "data_stage", lambda *given: tmp_path / "data")
    context = Context.of(compose_config(*settings(tmp_path, *more)))
    assert data_if_needed(context, Artifacts(context.store)) == tmp_path / "data"
