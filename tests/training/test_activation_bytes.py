"""What the backward pass keeps of a layer, counted in the layers that valign trains, against the memory estimate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, MistralConfig

from valign.models.adapters import add_adapter, keep_input_dtype
from valign.training.memory_estimate import ACTIVATION_BYTES, DROPOUT_BYTES, FULL_BYTES
from valign.training.supervised_logps import supervised_logps

HIDDEN, TOKENS = 256, 128
LAYER = 2 * HIDDEN * (HIDDEN + HIDDEN // 4) + 3 * HIDDEN * int(3.5 * HIDDEN)  # numbers in its matrices


def kept(layers: int, kind: str, dropout: float) -> int:
    """Return the bytes that are kept for a row.

    The proportions are Mistral's: a gated layer of 3.5 times the width, and a quarter of the heads for keys.
    """
    config = MistralConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        intermediate_size=int(3.5 * HIDDEN),
        vocab_size=64,
        num_attention_heads=8,
        num_key_value_heads=2,
        sliding_window=None,
    )
    dtype = torch.float32 if kind == "none" else torch.bfloat16
    base = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa").requires_grad_(False)
    model: Any = add_adapter(base, kind, HIDDEN // 64, HIDDEN // 32, dropout, "all-linear", 0)
    keep_input_dtype(model)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found: dict[int, torch.UntypedStorage] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return value

    ids = torch.arange(TOKENS)[None] % 60 + 3
    mask = torch.ones_like(ids)
    mask[:, 0] = 0
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value), torch.autocast("cpu", torch.bfloat16):
        supervised_logps(model.train(), ids, torch.ones_like(ids), mask, False)
    return sum(storage.nbytes() for storage in found.values())


@pytest.mark.parametrize(
    ("kind", "dropout", "more", "expected"),
    [
        ("lora", 0.0, 0.0, ACTIVATION_BYTES),
        # 9.5 numbers of masks for each of the hidden state: 2 bytes on a CPU, 1 on a GPU
        ("lora", 0.05, -9.5, ACTIVATION_BYTES + DROPOUT_BYTES),
        # autocast's copies of the weights are no activations
        ("none", 0.0, -2 * LAYER / (HIDDEN * TOKENS), FULL_BYTES),
    ],
)
def test_the_estimate_counts_what_a_layer_keeps(kind: str, dropout: float, more: float, expected: float) -> None:
    """Of a third layer, for each token and each number of its hidden state, within 6%."""
    each = (kept(3, kind, dropout) - kept(2, kind, dropout)) / (HIDDEN * TOKENS) + more
    assert each == pytest.approx(expected, rel=0.06)
