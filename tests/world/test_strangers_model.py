"""A model's or an adapter's folder that is damaged or a stranger's: one line, no code of its own, no random weights."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from safetensors.torch import load_file, save_file

from valign.core.errors import ValignError
from valign.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, load_adapter, save_adapter
from valign.models.load import load_model, prepare_model
from valign.models.policy import load_policy
from valign.models.template_traits import end_tokens

Change = Callable[[Path], object]
DAMAGED = "cannot be loaded: a file of its weights is damaged or cut off "
DEEP = b"[" * 100_000


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    return path


@pytest.fixture(scope="module")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(tiny.with_adapter(load_model(base, "float32")[0]), folder)
    return folder


def header(text: bytes) -> bytes:
    """Return a safetensors file of a header alone."""
    return struct.pack("<Q", len(text)) + text


def written(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def noted(name: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))

    return change


def templated(template: str) -> Change:
    return written("chat_template.jinja", template.encode())


HUGE = json.dumps({"a": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 8]}}).encode() + b"\0" * 8
MODELS: dict[str, tuple[Change, str]] = {
    "an empty weights file": (written("model.safetensors", b""), "damaged or cut off .*header too small"),
    "a deep header": (written("model.safetensors", header(DEEP)), "damaged or cut off .*invalid JSON in header"),
    "a huge shape": (written("model.safetensors", header(HUGE)), "damaged or cut off "),
    "no weights": (written("model.safetensors", header(b"{}")), r"lacks \d+ of its weights, such as .*; get it again"),
    "a config that is a list": (written("config.json", b"[]"), "TypeError "),
    "a deep config": (written("config.json", DEEP), "RecursionError "),
    "another shape": (noted("config.json", hidden_size=48), "its weights have other shapes"),
    "a negative number": (noted("config.json", num_attention_heads=-1), "cannot be loaded: "),
    "a text for a number": (noted("config.json", hidden_size="x"), "cannot be loaded: "),
    "unknown positions": (noted("config.json", rope_scaling={"type": "x"}), "KeyError 'x'"),
    "attention of a stranger": (noted("config.json", _attn_implementation="evil/attention"), "cannot be loaded: "),
    "code of its own": (
        noted("config.json", model_type="own", auto_map={"AutoConfig": "own.Config"}),
        "contains custom code which must be executed",
    ),
    "an empty tokenizer": (written("tokenizer.json", b"{}"), "KeyError 'added_tokens'"),
    "a deep tokenizer": (written("tokenizer_config.json", DEEP), "RecursionError "),
    "a tokenizer that is a list": (written("tokenizer_config.json", b"[]"), "AttributeError "),
    "a template without end": (templated("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), "maximum recursion depth"),
    "a template that divides": (templated("{{ 1 / 0 }}"), "division by zero"),
    "a template that fills memory": (templated("{{ 'a' * 10 ** 15 }}"), "MemoryError"),
    "a deep template": (templated("{{" + "(" * 5000 + "1" + ")" * 5000 + "}}"), "maximum recursion depth"),
    "a template that looks around": (templated("{{ messages.__class__.__mro__ }}"), "is unsafe"),
    "a template that reads files": (templated("{% include '/etc/passwd' %}"), "no loader"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_strangers_model_is_one_line(kind: str, base: Path, tmp_path: Path) -> None:
    change, words = MODELS[kind]
    folder = shutil.copytree(base, tmp_path / "model")
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    change(folder)
    with pytest.raises(ValignError, match=words) as refused:
        load_model(folder, "float32")
    assert "model" in str(refused.value) and len(str(refused.value)) < 600
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("end", ["x", [1, "a"], {"a": 1}, 1.5])
def test_an_end_token_that_is_none(end: object, base: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(base, tmp_path / "model")
    noted("generation_config.json", eos_token_id=end)(folder)
    with pytest.raises(ValignError, match=r"has eos_token_id=.*, which is no token's number; mend it"):
        end_tokens(*load_model(folder, "float32"))


def cut(folder: Path) -> None:
    weights = {name: value[:1].clone() for name, value in load_file(folder / ADAPTER_WEIGHTS).items()}
    save_file(weights, folder / ADAPTER_WEIGHTS)


def pickled(folder: Path) -> None:
    (folder / ADAPTER_WEIGHTS).rename(folder / "adapter_model.bin")
    noted(ADAPTER_CONFIG, use_rslora=True)(folder)


NO_LORA = "is not the config of a LoRA adapter, the one kind that valign trains; train it again"
ADAPTERS: dict[str, tuple[Change, str]] = {
    "IA3": (noted(ADAPTER_CONFIG, peft_type="IA3"), NO_LORA),
    "an unknown kind": (noted(ADAPTER_CONFIG, peft_type="EVIL"), NO_LORA),
    "a prompt of a stranger's tokenizer": (
        noted(ADAPTER_CONFIG, peft_type="PROMPT_TUNING", tokenizer_kwargs={"trust_remote_code": True}),
        NO_LORA,
    ),
    "a module to import": (noted(ADAPTER_CONFIG, megatron_config={"a": 1}, megatron_core="own"), NO_LORA),
    "a list": (written(ADAPTER_CONFIG, b"[]"), NO_LORA),
    "a deep config": (written(ADAPTER_CONFIG, DEEP), "is damaged: no whole JSON value"),
    "rank 0": (noted(ADAPTER_CONFIG, r=0), "is damaged: r=0 is no number of 1 or more"),
    "a rank that is text": (noted(ADAPTER_CONFIG, r="4"), "is damaged: r='4' is no number of 1 or more"),
    "no alpha": (noted(ADAPTER_CONFIG, lora_alpha=None), "is damaged: lora_alpha=None is no number"),
    "layers by the thousand": (
        noted(ADAPTER_CONFIG, use_rslora=True, layer_replication=[[0, 1_000_000]]),
        "cannot be loaded: IndexError",
    ),
    "layers that are not there": (noted(ADAPTER_CONFIG, use_rslora=True, target_modules="x+"), "cannot be loaded: "),
    "an empty weights file": (
        written(ADAPTER_WEIGHTS, b""),
        DAMAGED,
    ),
    "a header of a terabyte": (
        written(ADAPTER_WEIGHTS, struct.pack("<Q", 2**40)),
        DAMAGED,
    ),
    "a deep header": (
        written(ADAPTER_WEIGHTS, header(DEEP)),
        DAMAGED,
    ),
    "pickled weights": (pickled, rf"holds no {ADAPTER_WEIGHTS}; train it again"),
    "rows cut off": (cut, r"is damaged: .* has matrices \[\(1, \d+\), \(1, 4\)\], and r is 4"),
}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_strangers_adapter_is_one_line(kind: str, base: Path, trained: Path, tmp_path: Path) -> None:
    change, words = ADAPTERS[kind]
    folder = shutil.copytree(trained, tmp_path / "adapter")
    change(folder)
    with pytest.raises(ValignError, match=words):
        load_policy(base, [folder], "float32")
    with pytest.raises(ValignError):
        load_adapter(load_model(base, "float32")[0], folder)


def test_a_whole_adapter_and_model_are_loaded(base: Path, trained: Path) -> None:
    assert load_policy(base, [trained], "float32")[0] is not None
