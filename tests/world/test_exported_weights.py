"""Exports: what an adapter notes of its base, mixtures of experts, and models that change their scores or logits."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from random_models import random_model
from tiny import with_adapter

from valign.core.errors import ValignError
from valign.core.files import read_json
from valign.models.adapters import load_adapter, merge_adapter, save_adapter
from valign.models.attention import GROUPED
from valign.models.export import write_adapter
from valign.models.load import load_model
from valign.models.logprobs import output_layer

IDS = torch.arange(3, 23)[None]
EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_hidden_layers": 1}


def adapter_of(model: Any, folder: Path) -> Path:
    save_adapter(with_adapter(model), folder)
    return folder


def test_the_adapter_of_a_mixture_of_experts_is_right_or_refused(tmp_path: Path) -> None:
    """One stage's adapter gives the logits of the stage; those of two stages are refused before any is written."""
    first = adapter_of(random_model("mixtral", **EXPERTS), tmp_path / "sft")
    expected = merge_adapter(load_adapter(random_model("mixtral", **EXPERTS), first))(IDS).logits
    assert write_adapter(tmp_path / "one", "owner/base", [first]) == 4
    found = merge_adapter(load_adapter(random_model("mixtral", **EXPERTS), tmp_path / "one"))(IDS).logits
    torch.testing.assert_close(found, expected)
    assert (found - random_model("mixtral", **EXPERTS)(IDS).logits).abs().max() > 1e-3
    with pytest.raises(ValignError, match="mixture of experts do not become one; use what=model"):
        write_adapter(tmp_path / "two", "owner/base", [first, first])
    assert not (tmp_path / "two").exists()


def test_an_adapter_names_no_path_and_keeps_the_terms(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = adapter_of(random_model("llama"), tmp_path / "sft")
    base = tmp_path / "my-model"
    base.mkdir()
    for name in ("LICENSE.txt", "Notice", "license_of_tests.py", "config.json"):
        (base / name).write_text(name)
    for noted, given in (("my-model", str(base)), ("my-model", f"{base}/../my-model/"), ("owner/name", "owner/name")):
        with caplog.at_level(logging.WARNING):
            write_adapter(tmp_path / "out", given, [trained])
        assert read_json(tmp_path / "out" / "adapter_config.json")["base_model_name_or_path"] == noted
        files = {file.name for file in (tmp_path / "out").iterdir()}
        terms = {"LICENSE.txt", "Notice"} if given != "owner/name" else set()
        assert files == {"adapter_config.json", "adapter_model.safetensors", *terms}
        for file in (tmp_path / "out").iterdir():
            file.unlink()
    (line,) = caplog.messages
    assert line.startswith("the licence of owner/name is not in the export")


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("gemma2", {"head_dim": 8, "final_logit_softcapping": 0.5}),
        ("cohere", {"logit_scale": 0.25}),
        ("granite", {"logits_scaling": 4.0}),
        ("llama", {}),
    ],
)
def test_likelihoods_are_of_the_logits_that_a_model_answers_by(kind: str, changed: dict[str, Any]) -> None:
    """Soft-capping and scaling behind the output layer are in the logits of ``output_layer``."""
    model = random_model(kind, **changed)
    hidden = model.get_decoder()(IDS, use_cache=False).last_hidden_state
    torch.testing.assert_close(output_layer(model)(hidden), model(IDS).logits)


def test_capped_scores_are_computed_by_the_models_own_attention(tmp_path: Path) -> None:
    """Gemma 2 caps its scores, which the grouped attention of a CPU does not, and refuses to leave out."""
    from chat_families import FAMILIES, write_family
    from transformers import AutoModelForCausalLM

    base = write_family(FAMILIES["Gemma 2"], tmp_path / "gemma")
    config = read_json(base / "config.json")
    assert config["attn_logit_softcapping"] == 50.0
    (base / "config.json").write_text((base / "config.json").read_text().replace("50.0", "0.05"))
    found, _ = load_model(base, "float32")
    expected = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
    torch.testing.assert_close(found(IDS).logits, expected(IDS).logits)
    wrong, _ = load_model(base, "float32", attention=GROUPED)
    with pytest.raises(ValignError, match=r"Gemma2Attention changes attention's scores \(softcap\)"):
        wrong(IDS)
