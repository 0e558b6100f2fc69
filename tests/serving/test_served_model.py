"""A model behind a server of ours, asked in tokens: what is sent, what is read of it, and how a dead server looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harbour import HARBOUR, QUESTIONS
from omegaconf import DictConfig
from tiny import with_adapter

from valign.core.errors import ValignError
from valign.core.files import read_jsonl, read_rows
from valign.core.records import Answer
from valign.evaluation.served_arms import ServedArms, ServedBase
from valign.generation.requests import Completion, Request, Sampling, call_seed
from valign.models.adapters import save_adapter
from valign.models.chat_template import render_conversation
from valign.models.load import load_model, load_tokenizer, prepare_model
from valign.models.stacked_adapters import StackedAdapter
from valign.pipeline.answer_stage import answer_stage
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.recipes import Arm
from valign.serving.settings import VllmSettings

STUB = Path(__file__).parents[1] / "helpers" / "stub_vllm.py"
ASKED: Any = ({"role": "user", "content": "What?"},)


@pytest.fixture
def arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedArms]:
    """The tiny model behind the stub, which ends each completion with the end token."""
    path = prepare_model("tiny")
    monkeypatch.setenv("STUB_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("STUB_NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("STUB_END", str(load_tokenizer(path, False).eos_token_id))
    settings = VllmSettings(command=str(STUB))
    found = ServedArms(settings, ServedBase(path, "float32"), tmp_path / "servers")
    yield found
    found.close()


def adapter(folder: Path) -> Path:
    """Write an adapter of the tiny model, as a stage leaves it."""
    model, _ = load_model(prepare_model("tiny"), "float32")
    (folder / "adapter").mkdir(parents=True)
    save_adapter(with_adapter(model), folder / "adapter")
    return folder / "adapter"


def calls(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def test_a_prompt_is_sent_as_this_process_renders_it(arms: ServedArms, tmp_path: Path) -> None:
    """Greedily, up to the model's own end tokens; sampled, each completion with its seed and its opening."""
    model = arms.model((), "m")
    ids = list(render_conversation(model.tokenizer, ASKED).ids)
    ((greedy,),) = model.complete([Request(ASKED, Sampling(3))])
    written = [ids[-1] + 1, ids[-1] + 2]
    assert greedy == Completion(model.tokenizer.decode(written, skip_special_tokens=True).strip(), 3, True)
    (body,) = calls(tmp_path)
    assert (body["model"], body["prompt"], body["max_tokens"], body["temperature"]) == ("base", ids, 3, 0.0)
    assert body["stop_token_ids"] == model.end_ids
    assert "seed" not in body
    reported: list[int] = []
    drawn = Request(ASKED, Sampling(6, 0.8, 0.9, 2, seed=5), openings=("A", "B"))
    (rows,) = model.complete_with_progress([drawn], reported.append)
    assert reported == [1, 1]
    assert [row.text[0] for row in rows] == ["A", "B"]
    sent = {body["seed"]: body for body in calls(tmp_path)[1:]}
    opening = model.tokenizer("B", add_special_tokens=False)["input_ids"]
    assert sent[call_seed(5, 1)]["prompt"] == ids + opening
    assert sent[call_seed(5, 1)]["max_tokens"] == 6 - len(opening)
    assert (sent[call_seed(5, 0)]["top_p"], sent[call_seed(5, 0)]["top_k"]) == (0.9, 64)


def test_prompt_log_probabilities_are_those_of_the_tokens(arms: ServedArms) -> None:
    assert arms.model((), "m").token_logps([[5, 7, 9], [1, 2]]) == [[-0.7, -0.9], [-0.2]]


def test_a_dead_server_is_one_line(arms: ServedArms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_VLLM", "dies on a call")
    said = r"^evaluation: vllm has ended \(code 9\): RuntimeError: the device is lost; its log: \S+answers\.log$"
    with pytest.raises(ValignError, match=said):
        arms.model((), "m").complete([Request(ASKED, Sampling(3))] * 3)


def test_what_was_trained_is_served_as_one_module_each(arms: ServedArms, tmp_path: Path) -> None:
    """Both stages' adapters as their exact sum, of the rank of both; the folders are gone with the server."""
    stages = [adapter(tmp_path / "first"), adapter(tmp_path / "second")]
    arms.plan([(), stages[:1], stages])
    model = arms.model(stages, "m")
    assert model.token_logps([[5, 8]]) == [[-0.4]]
    words = json.loads((tmp_path / "notes").read_text())["argv"]
    assert words[words.index("--max-lora-rank") + 1] == "8"
    targets = words[words.index("--lora-target-modules") + 1 : words.index("--lora-modules")]
    assert {"q_proj", "down_proj"} <= set(targets) and "lm_head" not in targets
    modules = [json.loads(word) for word in words[words.index("--lora-modules") + 1 :] if word.startswith("{")]
    assert [module["name"] for module in modules] == ["base-first", "base-first-second"]
    assert model.name == "base-first-second"
    written, own = (StackedAdapter.read(each) for each in ([Path(modules[1]["path"])], stages))
    assert written.rank == own.rank == 8
    assert all((written.layers[key][half] == own.layers[key][half]).all() for key in own.layers for half in (0, 1))
    assert arms.model(stages[:1], "m").name == "base-first"
    arms.close()
    assert not Path(modules[1]["path"]).exists()


def test_what_vllm_cannot_serve_is_one_line(arms: ServedArms, tmp_path: Path) -> None:
    config = adapter(tmp_path / "one") / "adapter_config.json"
    config.write_text(config.read_text().replace('"use_dora": false', '"use_dora": true'))
    with pytest.raises(ValignError, match=r"is no plain LoRA of linear layers, which is what vLLM serves"):
        arms.plan([[config.parent]])


def test_an_arm_answers_and_is_measured_through_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compose_config: Callable[..., DictConfig]
) -> None:
    """Answers, reference NLL and verdict preference of the stage are the stub's; the stage is another than local's."""
    monkeypatch.setenv("STUB_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("STUB_END", str(load_tokenizer(prepare_model("tiny"), False).eos_token_id))
    (tmp_path / "harbour.md").write_text(HARBOUR)
    common = ["document=file", f"document.path={tmp_path / 'harbour.md'}", "base_model=tiny", "trainer.threads=1"]
    common += [f"artifacts={tmp_path / 'artifacts'}", "evaluation.max_new_tokens=5", f"run_dir={tmp_path / 'run'}"]
    served = ["evaluation.engine=vllm", f"evaluation.vllm.command={STUB}"]
    context = Context.of(compose_config(*common, *served))
    arms = context.served_arms
    assert arms is not None
    try:
        folder = answer_stage(context, Artifacts(context.store), Arm("base", (), False), (), QUESTIONS)
    finally:
        arms.close()
    answers, values = read_jsonl(folder / "answers.jsonl", Answer), read_rows(folder / "values.jsonl")
    assert all(answer.tokens == 5 for answer in answers)
    tokenizer = load_tokenizer(prepare_model("tiny"), False)
    for row, q in zip(values, QUESTIONS, strict=True):
        turns: Any = ({"role": "user", "content": q.question}, {"role": "assistant", "content": q.reference})
        rendered = render_conversation(tokenizer, turns)
        supervised = [token for token, mask in zip(rendered.ids, rendered.mask, strict=True) if mask]
        assert row["reference_nll"] == pytest.approx(sum(supervised) / len(supervised) / 10)
    yes, no = (tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No"))
    assert [row["verdict_preference"] for row in values] == [None, float((yes < no) == (QUESTIONS[1].verdict == "yes"))]
    assert (tmp_path / "run" / "servers" / "answers.log").is_file()
    local = Context.of(compose_config(*common))
    assert local.served_arms is None
    other = answer_stage(local, Artifacts(local.store), Arm("base", (), False), (), QUESTIONS)
    assert other != folder
