"""What a training needs is looked at before a teacher is paid: packages, the GPU, the strategy, the learning rate."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from fake_gpus import show_gpus
from omegaconf import DictConfig
from transformers import (
    BartConfig,
    BertConfig,
    Gemma3Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MambaForCausalLM,
    T5Config,
    ViTConfig,
    XLNetConfig,
)

from valign.core.errors import ValignError
from valign.distributed.ranks import Ranks
from valign.models.attention import predicts_the_next_token
from valign.models.load import load_frozen, prepare_model
from valign.pipeline import base_check, run, worker
from valign.pipeline.base_check import check_base_model
from valign.pipeline.context import Context
from valign.teachers.local import LocalTeacher

Compose = Callable[..., DictConfig]
DEEPSPEED = "trainer=deepspeed_zero3"


@pytest.mark.parametrize(
    ("given", "installed", "capability", "message"),
    [
        ([DEEPSPEED], (), (9, 0), r"trainer.strategy=deepspeed needs DeepSpeed: pip install"),
        (["trainer=gpu", "trainer.kernels=liger"], (), (9, 0), r"needs the package liger-kernel"),
        (["trainer=gpu", "trainer.attention=flash_attention_2"], (), (9, 0), r"needs the package flash-attn"),
        (["trainer=gpu", "base_model.quantization=nf4"], (), (9, 0), r"needs the package bitsandbytes"),
        (
            ["trainer=gpu", "trainer.attention=flash_attention_2", "base_model.precision=bfloat16"],
            ("flash_attn",),
            (7, 5),
            r"needs a GPU of compute capability 8\.0; this one has 7\.5",
        ),
        (
            ["trainer=gpu", "trainer.attention=flash_attention_2"],
            ("flash_attn",),
            (9, 0),
            r"flash_attention_2 does not compute in float32",
        ),
        (["trainer=gpu", "base_model.precision=bfloat16"], (), (7, 5), r"a GPU has no bfloat16"),
        (["trainer=gpu", "trainer.kernels=liger"], ("liger_kernel",), (9, 0), r"no kernels for models of type llama"),
    ],
)
def test_what_a_training_lacks_is_said_before_a_teacher_is_paid(
    given: list[str],
    installed: tuple[str, ...],
    capability: tuple[int, int],
    message: str,
    compose_config: Compose,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also for the recipe that trains last; data alone, and a recipe that trains nothing, need none of it."""
    show_gpus(monkeypatch, "abcd", capability)
    known = dict.fromkeys(("deepspeed", "liger_kernel", "flash_attn", "bitsandbytes"))
    known |= {name: name for name in installed}
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: known[name] if name in known else find(name, *more)
    )
    monkeypatch.setitem(sys.modules, "liger_kernel", ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", ModuleType("liger_kernel.transformers"))
    composed = compose_config("base_model=tiny", *given)
    with pytest.raises(ValignError, match=message):
        check_base_model(Context.of(composed))
    check_base_model(Context.of(composed), is_trained=False)
    check_base_model(Context.of(compose_config("base_model=tiny", *given, "recipe=base")))


def test_a_rate_far_from_the_models_size_and_an_idle_gpu_are_said(
    compose_config: Compose, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The default rates on a model of 7 billion weights, whose config alone is there."""
    context = Context.of(compose_config("base_model=tiny"))
    read = base_check.load_config
    large = {"hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, "vocab_size": 32768}

    def large_config(path: Path, trusts: bool) -> object:
        config = read(path, trusts)
        config.update({**large, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128})
        return config

    with caplog.at_level(logging.INFO):
        check_base_model(context)
        assert caplog.messages == []
        show_gpus(monkeypatch, "a")
        monkeypatch.setattr(base_check, "load_config", large_config)
        check_base_model(context)
    assert [line.partition(" ")[0] for line in caplog.messages] == [
        "trainer.accelerator=cpu:", "sft.learning_rate=0.0015", "dpo.learning_rate=0.0005",
    ]  # fmt: skip
    assert "stays idle; trainer=gpu trains and answers on it" in caplog.messages[0]


@pytest.mark.parametrize(
    ("trainer", "precision", "named"),
    [
        ("deepspeed_zero1", "bfloat16", ["deepspeed_zero2"]),
        ("deepspeed_zero1_offload", "bfloat16", ["deepspeed_zero2_offload"]),
        ("deepspeed_zero1", "float32", []),
        ("deepspeed_zero2", "bfloat16", []),
        ("gpu", "bfloat16", []),
    ],
)
def test_gradients_that_are_added_up_in_bfloat16_are_said(
    trainer: str,
    precision: str,
    named: list[str],
    compose_config: Compose,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    show_gpus(monkeypatch, "abcd")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name == "deepspeed" or find(name, *more))
    check_base_model(
        Context.of(compose_config("base_model=tiny", f"trainer={trainer}", f"base_model.precision={precision}"))
    )
    said = [line.partition("; trainer=")[2] for line in caplog.messages]
    assert said == [f"{name} adds them up in float32" for name in named]


def test_processes_take_their_devices_first(compose_config: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the stages, with a word to the others, which then do the same."""
    told: list[str] = []

    class First(Ranks):
        def command(self, what: str, /, **arguments: object) -> None:
            told.append(what)

    class Other(Ranks):
        def commands(self):  # type: ignore[no-untyped-def]
            yield "devices", {}

    def make(*given: object) -> None:
        raise AssertionError("stages begin")

    monkeypatch.setattr(run, "_make", make)
    context = Context.of(compose_config("base_model=tiny", "trainer=gpu"), First())
    show_gpus(monkeypatch, "")
    with pytest.raises(ValignError, match="PyTorch sees no GPU"):
        run.run(context)
    assert told == ["devices"]
    taken = show_gpus(monkeypatch, "a")
    worker.follow(Context.of(compose_config("base_model=tiny", "trainer=gpu"), Other()))
    assert taken == [0]


@pytest.mark.parametrize(
    ("trainer", "gpus", "device", "suffix"),
    [("cpu", "a", "cpu", ""), ("gpu", "a", "cuda", " (bfloat16 on a GPU)"), ("gpu", "", "cpu", "")],
)
def test_a_local_teacher_computes_where_the_trainer_does(
    trainer: str, gpus: str, device: str, suffix: str, compose_config: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it writes on a GPU is kept apart: its name, by which replies are kept, has the precision there.

    A machine without a GPU may make the data of a run that trains on one.
    """
    show_gpus(monkeypatch, gpus)
    context = Context.of(compose_config("base_model=tiny", f"trainer={trainer}", "teacher.model=tiny"))
    plain = LocalTeacher("tiny", accelerator="cpu").id
    for teacher in (context.teacher, context.base_teacher):
        assert isinstance(teacher, LocalTeacher)
        assert (teacher.device, teacher.id) == (device, plain + suffix)
    assert prepare_model("tiny") == LocalTeacher("tiny").path and torch.cuda.is_available() == bool(gpus)


def test_a_family_that_valign_cannot_answer_with_is_refused_before_a_teacher_is_paid(
    tmp_path: Path, compose_config: Compose
) -> None:
    """A Mamba, whatever the recipe; vLLM answers with it."""
    MambaForCausalLM(MambaConfig(num_hidden_layers=1, hidden_size=8, vocab_size=8)).save_pretrained(tmp_path)
    given = [f"base_model.model={tmp_path}", "recipe=base"]
    for engine, message in (("local", "is of the family mamba, which keeps no keys and values"), ("vllm", "tokenizer")):
        context = Context.of(compose_config(*given, f"evaluation.engine={engine}"))
        with pytest.raises(ValignError, match=message):
            check_base_model(context)


@pytest.mark.parametrize(
    "config",
    [BertConfig(), T5Config(), XLNetConfig(), BartConfig(), ViTConfig()],
    ids=lambda config: config.model_type,
)
def test_a_model_that_writes_no_text_is_refused_before_a_teacher_is_paid(
    config: Any, tmp_path: Path, compose_config: Compose
) -> None:
    """Though transformers would load some of them, and a local teacher is refused as well."""
    config.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()
    context = Context.of(compose_config(f"base_model.model={tmp_path}", "recipe=base"))
    with pytest.raises(ValignError, match=rf"of the family {config.model_type}, which is no causal language model"):
        check_base_model(context)
    with pytest.raises(ValignError, match="choose one that is instruction-tuned"):
        load_frozen(tmp_path, torch.float32, False, "cpu", True, None)


def as_dumped(config: Any) -> Any:
    """Return a config as a file makes it that has every field of older versions."""
    config.is_decoder = False
    return config


@pytest.mark.parametrize(
    "config",
    [GPTNeoXConfig(), LlamaConfig(), as_dumped(LlamaConfig()), Gemma3Config(), GPT2Config(), MambaConfig()],
    ids=lambda config: config.model_type,
)
def test_decoders_write_text(config: Any) -> None:
    """Whatever a file says in a field that their families do not have."""
    assert predicts_the_next_token(config)
