"""Models and adapters as they are loaded, and what cannot be loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import tiny
import torch

from valign.core.errors import ValignError
from valign.models.adapters import add_adapter, load_adapter
from valign.models.identity import model_id
from valign.models.load import load_model, prepare_model
from valign.models.policy import load_policy


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    return path


def test_adapter_starts_as_the_base_and_its_seed_fixes_it(model: Path) -> None:
    adapted = [add_adapter(load_model(model, "bfloat16")[0], **tiny.ADAPTER, seed=seed) for seed in (1, 1, 2)]
    trained = [{n: p for n, p in m.named_parameters() if p.requires_grad} for m in adapted]
    assert all(p.dtype == torch.float32 for p in trained[0].values())
    assert not any("lm_head" in name for name in trained[0])
    assert all(not p.any() for n, p in trained[0].items() if "lora_B" in n)
    name = next(n for n in trained[0] if "lora_A" in n)
    assert torch.equal(trained[0][name], trained[1][name]) and not torch.equal(trained[0][name], trained[2][name])


def test_what_cannot_be_loaded_is_refused(tmp_path: Path, model: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    for given, message in (
        (str(tmp_path), "pickled weights"),
        (str(tmp_path / "pytorch_model.bin"), "is a file"),
        (str(tmp_path / "none"), "no such folder"),
        ("embedded:gpt", "embedded models are: smollm2-135m"),
    ):
        with pytest.raises(ValignError, match=message):
            prepare_model(given)
    assert prepare_model("owner/name") == "owner/name" == model_id("owner/name", "owner/name")
    assert model_id("tiny", model).startswith("tiny@") and len(model_id("tiny", model)) == 17
    with pytest.raises(ValignError, match="holds no adapter"):
        load_adapter(load_model(model, "float32")[0], tmp_path)
    with pytest.raises(ValignError, match="neither an adapter nor a model"):
        load_policy(model, [tmp_path / "sft" / "adapter"], "float32")


def test_missing_wheel_names_make_setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValignError, match="make setup"):
        prepare_model("embedded:smollm2-135m", tmp_path)
