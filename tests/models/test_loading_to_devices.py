"""Where a model's weights are read to, which of its files are read, and by which tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.auto import tokenization_auto

from valign.core.errors import ValignError
from valign.models.load import load_model, load_tokenizer, prepare_model
from valign.training import zero


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    return path


@pytest.mark.parametrize(
    ("device", "move", "expected"),
    [("cuda:3", True, {"": "cuda:3"}), ("cuda:3", False, None), ("cpu", True, None)],
)
def test_weights_are_read_straight_into_a_gpu(
    device: str, move: bool, expected: dict[str, str] | None, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight processes would have eight copies in main memory first."""
    asked: dict[str, Any] = {}

    def read(path: Path, **given: Any) -> Any:
        asked.update(given)
        loaded = torch.nn.Linear(1, 1)
        vars(loaded)["to"] = lambda where: loaded
        return loaded, {"missing_keys": set()}

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", read)
    load_model(model, "float32", device=device, move=move)
    assert asked.get("device_map") == expected


def test_a_device_map_gives_the_same_weights(model: Path) -> None:
    """On another device than the usual one: PyTorch's ``meta``, which has shapes alone."""
    kind = transformers.AutoModelForCausalLM
    placed = kind.from_pretrained(model, dtype=torch.float32, device_map={"": "meta"})
    expected = load_model(model, "float32")[0]
    shapes = {name: weight.shape for name, weight in placed.named_parameters()}
    assert shapes == {name: weight.shape for name, weight in expected.named_parameters()}
    assert {weight.device.type for weight in placed.parameters()} == {"meta"}


def test_the_tokenizer_is_the_fast_one_where_mistral_has_another(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where mistral-common is installed and a folder has tekken.json, transformers would take its tokenizer."""
    probed: list[Any] = []

    def use_mistral_format(path: Any, mistral_format: bool | None = None, **rest: Any) -> bool:
        probed.append(mistral_format)
        return mistral_format is not False

    other = SimpleNamespace(from_pretrained=lambda *given, **named: object())
    monkeypatch.setattr(tokenization_auto, "_use_mistral_format", use_mistral_format)
    monkeypatch.setitem(tokenization_auto.TOKENIZER_MAPPING_NAMES, "llama", "MistralCommonBackend")
    monkeypatch.setattr(tokenization_auto, "tokenizer_class_from_name", lambda name: other)
    assert load_tokenizer(model, False).is_fast
    assert probed == [False]


def test_only_the_files_that_transformers_reads_are_read(model: Path, tmp_path: Path) -> None:
    """Mistral's folders hold all weights twice, in ``consolidated.safetensors`` by other names."""
    weights = load_file(model / "model.safetensors")
    first = {name: value for i, (name, value) in enumerate(weights.items()) if i % 2}
    second = {name: value for name, value in weights.items() if name not in first}
    files = {"model-00001-of-00002.safetensors": first, "model-00002-of-00002.safetensors": second}
    for name, part in files.items():
        save_file(part, tmp_path / name)
    save_file({"tok_embeddings.weight": torch.zeros(1)}, tmp_path / "consolidated.safetensors")
    index = {name: file for file, part in files.items() for name in part}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    read = zero._reader(tmp_path)
    for name, value in weights.items():
        assert torch.equal(read(name, tuple(value.shape)), value)
    with pytest.raises(ValignError, match=r"no weight is called tok_embeddings\.weight"):
        read("tok_embeddings.weight", (1,))


def test_only_those_files_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def download(source: str, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert zero.fetch_weights("owner/name") == str(tmp_path)
    assert asked == [["*.json"], ["*.json", "model.safetensors"]]
    shards = {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-1.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    zero.fetch_weights("owner/name")
    assert asked[-1] == ["*.json", "model-1.safetensors", "model-2.safetensors"]
    assert zero.fetch_weights(tmp_path) == str(tmp_path) and len(asked) == 4
