"""Arms that answer through a server, and the weights that are written for one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from completion_server import Server
from harbour import HARBOUR, QUESTIONS
from omegaconf import DictConfig, OmegaConf
from tiny import instructions, preferences, train_dpo, train_sft

from valign.config import checks, run_identity
from valign.config.arguments import plain
from valign.config.schema import ScoringSettings
from valign.core.errors import ValignError
from valign.core.files import read_jsonl, write_json
from valign.core.records import Answer
from valign.evaluation.scores import score_arm
from valign.evaluation.settings import EvaluationSettings, ServerSettings
from valign.models.adapters import load_adapter
from valign.models.export import write_adapter, write_model
from valign.models.load import load_model, prepare_model
from valign.models.policy import load_policy
from valign.pipeline.answer_stage import answer_stage
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.evaluation_run import choose_engine
from valign.pipeline.finished_run import trained_run
from valign.pipeline.recipes import Arm
from valign.reporting.score_table import footnote
from valign.runs import layout
from valign.serving.settings import VllmSettings

BASE, ORACLE = Arm("base", (), False), Arm("rag_oracle", (), True, "oracle")


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that repeats the last turn of what it is sent."""
    with Server() as running:
        Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def make(tmp_path: Path, server: Server, compose_config: Callable[..., DictConfig]) -> Callable[..., Context]:
    """A function that makes what is known of a run about the harbour whose base answers through the server."""
    (tmp_path / "harbour.md").write_text(HARBOUR)

    def made(*overrides: str) -> Context:
        common = ["document=file", f"document.path={tmp_path / 'harbour.md'}", "base_model=tiny"]
        common += [f"artifacts={tmp_path / 'artifacts'}", "evaluation.max_new_tokens=5", "trainer.threads=1"]
        common += [f"evaluation.server.base_urls=[{server.url}]", "evaluation.server.models.base=served"]
        common += ["evaluation.server.concurrency=1"]
        composed = compose_config(*common, *overrides)
        checks.check_config(composed)
        return Context.of(composed)

    return made


def answers_of(context: Context, arm: Arm) -> Path:
    """Return the folder of an untrained arm's answers."""
    return answer_stage(context, Artifacts(context.store), arm, (), QUESTIONS)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "values.jsonl").read_text().splitlines()]


def test_a_served_arm_sends_what_it_would_be_asked_here(make: Callable[..., Context], server: Server) -> None:
    """Greedy, with the system prompt and the passage that decides; likelihoods are left out, not NaN."""
    folder = answers_of(make("base_model.system_prompt=Be brief."), ORACLE)
    answers = read_jsonl(folder / "answers.jsonl", Answer)
    assert len(server.bodies) == 2
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("served", 0.0, 5)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    asked = {"re: " + body["messages"][1]["content"] for body in server.bodies}
    assert {answer.answer for answer in answers} == asked
    assert "kept for twelve days" in answers[0].answer
    assert QUESTIONS[0].question in answers[0].answer
    values = rows(folder)
    assert [row["reference_nll"] for row in values] == [row["verdict_preference"] for row in values] == [None, None]
    assert all(isinstance(row["similarity"], float) for row in values)


def test_an_interrupted_arm_repeats_no_call(make: Callable[..., Context], server: Server) -> None:
    """The first call is kept when the second fails; what is complete is not asked again, another model is."""
    context = make("evaluation.server.max_retries=0")
    server.failures = [(200, ""), (500, "no")]
    with pytest.raises(ValignError, match="status 500"):
        answers_of(context, BASE)
    assert len(server.bodies) == 2
    first = answers_of(context, BASE)
    assert len(server.bodies) == 3
    assert answers_of(make(), BASE) == first
    assert len(server.bodies) == 3
    assert answers_of(make("evaluation.server.models.base=other"), BASE) != first
    assert len(server.bodies) == 5


def test_likelihoods_can_be_measured_here(make: Callable[..., Context], server: Server) -> None:
    """The model in this process gives the likelihoods, the server the answers."""
    folder = answers_of(make("evaluation.server.likelihoods=local"), BASE)
    assert [a.answer for a in read_jsonl(folder / "answers.jsonl", Answer)] == ["re: " + q.question for q in QUESTIONS]
    first, second = rows(folder)
    assert 0 < first["reference_nll"] < 20
    assert (first["verdict_preference"], second["verdict_preference"] in (0.0, 1.0)) == (None, True)


def test_a_model_without_a_name_is_one_line(make: Callable[..., Context]) -> None:
    context = make()
    assert context.server is not None
    with pytest.raises(
        ValignError, match=r"^evaluation\.server\.models has no name for sft, sft_dpo: .*run=runs/x "
    ) as e:
        context.server.check([(), ("sft",), ("sft", "dpo"), ("sft", "dpo")], "runs/x")
    assert "what=model arm=sft_dpo" in str(e.value)
    assert "evaluation.server.models.sft_dpo=NAME" in str(e.value)
    assert "\n" not in str(e.value)
    context.server.check([()], "runs/x")


def test_names_without_a_server_are_refused(compose_config: Callable[..., DictConfig]) -> None:
    with pytest.raises(
        ValignError, match=r"server\.models\.sft needs the server's address: add evaluation\.server\.base"
    ):
        checks.check_config(compose_config("evaluation.server.models.sft=x"))
    with pytest.raises(ValignError, match=r"evaluation\.server\.base_urls: 'there' is not a URL"):
        checks.check_config(compose_config("evaluation.server.base_urls=[there]"))
    kept = run_identity.strip_logins(compose_config("evaluation.server.base_urls=['http://me:secret@a:1/v1']"))
    assert list(kept.evaluation.server.base_urls) == ["http://a:1/v1"]


def test_without_a_server_nothing_changes(compose_config: Callable[..., DictConfig]) -> None:
    """Neither in a config of today nor in one of a run that knew of no server."""
    composed = compose_config("base_model=tiny")
    assert Context.of(composed).server is None
    earlier = OmegaConf.to_container(composed)
    assert isinstance(earlier, dict)
    del earlier["evaluation"]["server"]
    assert Context.of(OmegaConf.create(earlier)).server is None


def test_the_table_says_what_was_not_measured() -> None:
    values = [{"question_id": "q", "clause": "c", "similarity": 0.5}]
    here = score_arm("base", values, samples=100)
    served = score_arm("sft", values, samples=100) | {"server": {"model": "m", "likelihoods": "none"}}
    note = "what needs the model itself (preference on no, preference on yes, reference NLL, verdict preference, "
    note += "alignment tax) "
    note += "not measured for: SFT"
    assert f"answered through a server: SFT; {note};" in footnote([here, served])
    assert "server" not in footnote([here])


def test_weights_come_from_a_run_that_has_trained(tmp_path: Path, compose_config: Callable[..., DictConfig]) -> None:
    with pytest.raises(ValignError, match="is not the folder of a run that has trained"):
        trained_run(tmp_path)
    OmegaConf.save(OmegaConf.create(plain(compose_config("artifacts=there"))), tmp_path / "config.yaml")
    write_json(tmp_path / layout.ARTIFACTS, {"sft": "0" * 16, "answers/base": "1" * 16})
    assert trained_run(tmp_path)[1].pinned == {"sft": "0" * 16}
    for wrong in (["what=model", "artifact=there"], ["arm=sft", "run=there"]):
        with pytest.raises(ValignError, match=r"needs the folder of a run|goes with what=model"):
            checks.check_config(compose_config("output=x", *wrong, name="export"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The adapters of SFT and of DPO behind it, of the tiny model."""
    folder = tmp_path_factory.mktemp("trained")
    path = prepare_model("tiny")
    weights: list[Path] = []
    stages: Any = (("sft", train_sft, instructions(4)), ("dpo", train_dpo, preferences(4)))
    for (name, train, data), rank in zip(stages, (4, 2), strict=True):
        (folder / name).mkdir()
        options: dict[str, Any] = {"adapter": {"rank": rank}, "settings": {"epochs": 1, "learning_rate": 0.02}}
        train(folder / name, path, data, initial=list(weights), **options)
        weights.append(folder / name / "adapter")
    return weights


def test_exported_weights_give_the_same_logits(trained: list[Path], tmp_path: Path) -> None:
    """As a merged model in transformers, and as one adapter in PEFT, whose rank is the sum of both."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = prepare_model("tiny")
    model, tokenizer = load_policy(base, trained, "float32")
    ids = torch.tensor([tokenizer("Rule 1? Nobody may feed the geese.", add_special_tokens=False)["input_ids"]])
    plain, _ = load_model(base, "float32")
    write_model(tmp_path / "model", base, trained, "float32")
    assert write_adapter(tmp_path / "adapter", "owner/base", trained) == 6
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True)
    adapted = load_adapter(plain, tmp_path / "adapter")
    with torch.inference_mode():
        expected = model(ids).logits
        torch.testing.assert_close(merged(ids).logits, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(adapted(ids).logits, expected, atol=1e-4, rtol=1e-4)
        only_sft = load_policy(base, trained[:1], "float32")[0](ids).logits
        untrained = load_model(base, "float32")[0](ids).logits
    assert (only_sft - expected).abs().max() > 1e-2
    assert (untrained - only_sft).abs().max() > 1e-2
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template == tokenizer.chat_template
    assert merged.generation_config.eos_token_id == tokenizer.eos_token_id
    noted = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (noted["r"], noted["lora_alpha"], noted["base_model_name_or_path"]) == (6, 6, "owner/base")


def test_an_adapter_that_is_not_there_is_a_message(trained: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValignError, match="arm=base has no adapter"):
        write_adapter(tmp_path / "a", "b", [])
    whole = tmp_path / "model"
    whole.mkdir()
    with pytest.raises(ValignError, match="has every weight trained and no adapter; use what=model"):
        write_adapter(tmp_path / "a", "b", [whole])
    (whole / "something").touch()
    with pytest.raises(ValignError, match="not an empty folder"):
        write_adapter(whole, "b", trained)


@pytest.mark.parametrize(
    ("asked", "url", "likelihoods"),
    [({}, "run", "none"), ({"likelihoods": "local"}, "run", "local"), ({"base_urls": ("other",)}, "other", "none")],
)
def test_which_server_an_evaluation_asks(asked: dict[str, Any], url: str, likelihoods: str) -> None:
    own = EvaluationSettings(max_new_tokens=1, batch_tokens=1, bootstrap=100, server=ServerSettings(base_urls=("run",)))
    found = choose_engine(own, ScoringSettings(vllm=VllmSettings(), server=ServerSettings(**asked)))
    assert found["server"] == ServerSettings(base_urls=(url,), likelihoods=likelihoods)
    assert found["engine"] == "local"


def test_which_engine_an_evaluation_has() -> None:
    """That of the command line, with its own vLLM; a server named there takes the place of the run's vLLM."""
    theirs, ours = VllmSettings(command="/evil"), VllmSettings(command="vllm")
    own = EvaluationSettings(max_new_tokens=1, batch_tokens=1, bootstrap=100, engine="vllm", vllm=theirs)
    for asked, engine, vllm in (
        ({}, "vllm", theirs),
        ({"engine": "vllm"}, "vllm", ours),
        ({"engine": "local"}, "local", ours),
        ({"server": ServerSettings(base_urls=("other",))}, "local", ours),
    ):
        values: dict[str, Any] = {"vllm": ours, "server": ServerSettings(), **asked}
        found = choose_engine(own, ScoringSettings(**values))
        assert (found["engine"], found["vllm"]) == (engine, vllm)
