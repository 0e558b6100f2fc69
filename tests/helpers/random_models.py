"""A model of each known family with random weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from valign.models import attention

SHAPE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def random_model(kind: str, **changed: Any) -> Any:
    """Return a frozen random model; biases, where it has them, are not zero."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SHAPE | changed)
    config._attn_implementation = changed.get("attn_implementation", attention.suitable_implementation(config, "cpu"))
    model: Any = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    return model.requires_grad_(False).eval()
