"""How many positions a batch of answers may have: as set, or by the free memory of a GPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from valign.generation.batch_limit import batch_limit, positions_in

MISTRAL = SimpleNamespace(
    num_hidden_layers=32, hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8
)


def model_on(device: str) -> Any:
    config = SimpleNamespace(get_text_config=lambda: MISTRAL)
    return SimpleNamespace(device=torch.device(device), config=config, dtype=torch.bfloat16)


def test_it_is_what_is_set_and_on_a_cpu_what_it_was() -> None:
    assert batch_limit(model_on("cuda:1"), 9000) == 9000
    assert batch_limit(model_on("cpu"), None) == 16384


def test_on_a_gpu_it_is_what_its_free_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A position of Mistral takes 2 * 32 * 8 * 128 * 2 = 131,072 bytes of cache and 122,880 for a layer's states.

    Of 8 GiB, 0.8 are 27,060 positions: 16,384. What PyTorch holds and does not use counts as free.
    """
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 16 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 14 * 2**30)
    assert batch_limit(model_on("cuda:1"), None) == 16384 == positions_in(8 * 2**30, MISTRAL, 2)
    assert positions_in(60 * 2**30, MISTRAL, 2) == 131072
    assert positions_in(10**12, MISTRAL, 2) == 2**18
    assert positions_in(0, MISTRAL, 2) == 2048
