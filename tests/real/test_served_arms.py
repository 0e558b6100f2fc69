"""A run that trains, exports, and has ``transformers serve`` answer for its arms, against the answers in process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harbour import HARBOUR, QUESTIONS, SETTINGS, lay_out, record
from model_server import serving
from omegaconf import DictConfig

from valign.core.files import read_jsonl
from valign.core.records import Answer
from valign.evaluation.judging.judgement import Judgement
from valign.models.load import prepare_model
from valign.pipeline.answer_stage import answer_stage
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.judge_stage import judge_stage
from valign.pipeline.recipes import Arm

pytestmark = [pytest.mark.real, pytest.mark.slow]
pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
ALIKE = 0.9
MODEL = "embedded:smollm2-135m"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a running server that loads whatever folder it is asked for."""
    with serving() as found:
        yield found


def run(folder: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"valign.{module}", *words]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )


def answers(folder: Path, arm: str) -> list[str]:
    return [answer.answer for answer in read_jsonl(folder / "arms" / arm / "answers.jsonl", Answer)]


def test_a_served_run_gives_the_answers_of_one_in_process(url: str, tmp_path: Path) -> None:
    """Train and stop; export; go on with the names. At least nine answers of ten are the same, word for word."""
    recorded = tmp_path / "recording"
    recorded.mkdir()
    lay_out(tmp_path, record(recorded))
    common = [
        *(s for s in SETTINGS if not s.startswith("run_name")),
        "logger=none",
        "recipe=sft",
        "sft.learning_rate=0.01",
        "sft.epochs=12",
    ]
    common += ["base_model.precision=float32", "evaluation.server.timeout=100"]
    here = run(tmp_path, "train", *common, "run_name=here")
    assert here.returncode == 0, here.stderr
    served = [*common, "run_name=served", f"evaluation.server.base_urls=[{url}]"]
    stopped = run(tmp_path, "train", *served)
    assert stopped.returncode == 2, stopped.stdout + stopped.stderr
    assert "evaluation.server.models has no name for base, sft: write the weights" in stopped.stderr
    exported = run(tmp_path, "export", "run=runs/harbour/served", "what=model", "output=model")
    assert exported.returncode == 0, exported.stderr
    assert "vllm serve model --served-model-name sft\n" in exported.stdout
    adapter = run(tmp_path, "export", "run=runs/harbour/served", "what=adapter", "output=adapter")
    assert "--max-lora-rank 32 --lora-modules sft=adapter\n" in adapter.stdout, adapter.stderr
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "Not measured yet: no question has been asked." in card and str(tmp_path) not in card
    names = [f"base:'{prepare_model('tiny')}'", f"sft:'{tmp_path / 'model'}'"]
    ended = run(tmp_path, "train", *served, f"evaluation.server.models={{{','.join(names)}}}")
    assert ended.returncode == 0, ended.stderr
    assert "answered through a server: base, SFT" in ended.stdout
    assert "not measured for: base, SFT" in ended.stdout
    measured = (tmp_path / "runs" / "harbour" / "served" / "card.md").read_text()
    assert "base_model_relation: adapter" in measured and str(tmp_path) not in measured
    pairs = [
        pair
        for arm in ("base", "sft")
        for pair in zip(
            *(answers(tmp_path / "runs" / "harbour" / name, arm) for name in ("here", "served")), strict=True
        )
    ]
    assert len(pairs) >= 6
    assert sum(a == b for a, b in pairs) >= ALIKE * len(pairs), [pair for pair in pairs if pair[0] != pair[1]]
    again = run(tmp_path, "evaluate", "run=runs/harbour/here", f"evaluation.server.base_urls=[{url}]")
    assert again.returncode == 2
    assert "has no name for base, sft" in again.stderr


def answered(config: DictConfig, arm: Arm) -> Path:
    """Return the folder of an untrained arm's answers."""
    context = Context.of(config)
    return answer_stage(context, Artifacts(context.store), arm, (), QUESTIONS)


@pytest.mark.parametrize("system", ["null", "Answer in plain words."])
def test_a_real_model_answers_as_in_process(
    url: str, tmp_path: Path, compose_config: Callable[..., DictConfig], system: str
) -> None:
    """With and without a system prompt, plain and with the passage that decides; eight tokens of each answer."""
    (tmp_path / "harbour.md").write_text(HARBOUR)
    common = ["document=file", f"document.path={tmp_path / 'harbour.md'}", f"artifacts={tmp_path / 'artifacts'}"]
    common += [f"base_model.model={MODEL}", "base_model.precision=float32", f"base_model.system_prompt={system}"]
    common += ["evaluation.max_new_tokens=8"]
    served = [f"evaluation.server.base_urls=[{url}]", f"evaluation.server.models.base='{prepare_model(MODEL)}'"]
    pairs = []
    for arm in (Arm("base", (), False), Arm("rag_oracle", (), True, "oracle")):
        folders = [answered(compose_config(*common, *more), arm) for more in ([], served)]
        own, theirs = (read_jsonl(folder / "answers.jsonl", Answer) for folder in folders)
        pairs += [(a.answer, b.answer) for a, b in zip(own, theirs, strict=True)]
    assert len(pairs) == 4
    assert all(a and b for a, b in pairs)
    assert len(set(pairs)) >= 3
    assert sum(a == b for a, b in pairs) >= 3, pairs


def test_a_judge_behind_a_server_judges_as_one_in_process(
    url: str, tmp_path: Path, compose_config: Callable[..., DictConfig]
) -> None:
    """The same weights as judge, here and behind the server: every score, flip and unread reply is the same."""
    (tmp_path / "harbour.md").write_text(HARBOUR)
    common = ["document=file", f"document.path={tmp_path / 'harbour.md'}", f"artifacts={tmp_path / 'artifacts'}"]
    common += [f"base_model.model={MODEL}", "base_model.precision=float32", "evaluation.max_new_tokens=8"]
    arms = (Arm("base", (), False), Arm("rag_oracle", (), True, "oracle"))
    folders = [answered(compose_config(*common), arm) for arm in arms]
    named = f"evaluation.judge_model.model={prepare_model(MODEL)}"
    judges = {
        "local": [f"evaluation.judge_model.model={MODEL}", "evaluation.judge_model.precision=float32"],
        "api": [named, f"evaluation.judge_model.base_urls=[{url}]", "evaluation.judge_model.timeout=100"],
    }
    found = {}
    for kind, settings in judges.items():
        context = Context.of(compose_config(*common, f"evaluation=judge_{kind}", *settings))
        folder = judge_stage(context, Artifacts(context.store), [arm.name for arm in arms], folders)
        assert folder is not None
        found[kind] = read_jsonl(folder / "judgements.jsonl", Judgement)
    assert found["api"] == found["local"]
    assert len(found["api"]) == len(QUESTIONS)
    assert any(row.unread < 2 for row in found["api"])
    assert all({row.first, row.second} == {"base", "rag_oracle"} for row in found["api"])
