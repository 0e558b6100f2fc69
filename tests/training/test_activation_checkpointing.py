"""Activation checkpointing: the same losses and gradients, with less kept of the forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from valign.core.errors import ValignError
from valign.models.adapters import add_adapter
from valign.models.load import load_model
from valign.training.activation_checkpointing import checkpoint_activations, is_checkpointed
from valign.training.batches import collate
from valign.training.examples import encode_instructions, encode_preferences
from valign.training.supervised_logps import supervised_logps


def adapted(path: Path, dropout: float = 0.0, kind: str = "lora") -> Any:
    model: Any = add_adapter(
        load_model(path, "float32")[0], **tiny.ADAPTER | {"dropout": dropout, "kind": kind}, seed=0
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    return model


def gradients(model: Any, inputs: Any, bfloat16: bool) -> tuple[dict[str, torch.Tensor], int]:
    """Return log-probabilities and gradients, and how many numbers the forward pass kept."""
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    torch.manual_seed(5)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
    ):
        logps = supervised_logps(model, *inputs)
    (logps * torch.linspace(-1, 2, len(logps))).sum().backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found | {"logps": logps.detach()}, sum(kept)


@pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["lora", "none"])
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_nothing_changes_but_what_is_kept(
    path: Path, stage: str, kind: str, bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, pairs in one row and dropout's draws included."""
    tokenizer = load_model(path, "float32")[1]
    if stage == "sft":
        examples, _ = encode_instructions(tokenizer, tiny.instructions(4), None, 200)
    else:
        examples, _ = encode_preferences(tokenizer, tiny.preferences(4), None, 200)
    inputs = collate(examples, 0)
    model = adapted(path, 0.3 if stage == "sft" else 0.0, kind).train(stage == "sft")
    plain, kept = gradients(model, inputs, bfloat16)
    checkpoint_activations(model)
    again, kept_again = gradients(model, inputs, bfloat16)
    assert plain.keys() == again.keys() and len(plain) > 2
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert kept_again < kept / 2


def test_sharded_layers_take_the_reentrant_way_with_the_same_gradients(path: Path) -> None:
    """The frozen embedding's output asks for no gradient of its own; adapters get theirs nevertheless."""
    examples, _ = encode_instructions(load_model(path, "float32")[1], tiny.instructions(2), None, 200)
    model = adapted(path).eval()
    plain, _ = gradients(model, collate(examples, 0), False)
    checkpoint_activations(model)
    for module in model.modules():
        if is_checkpointed(module):
            vars(module)["forward"].sharded = True
    torch.testing.assert_close(gradients(model, collate(examples, 0), False)[0], plain, rtol=1e-4, atol=1e-5)


def test_trainings_are_the_same(path: Path, tmp_path: Path) -> None:
    """The key reaches both stages; every step's loss is the same within rounding."""
    for plain, changed in tiny.curves_without_and_with("activation_checkpointing", path, tmp_path):
        assert changed == pytest.approx(plain, rel=1e-4) and len(plain) == 3


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(ValignError, match=r"activation_checkpointing=true: Linear has no list of layers"):
        checkpoint_activations(torch.nn.Linear(2, 2))
