"""Batches by tokens on two real ranks against one process with rows: the same losses and weights, also after a stop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from test_zero import DPO, FLOAT32, ZERO, batch, start, weights

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

BY_TOKENS = ["sft.batch_tokens=110"]  # one or two rows; steps of short rows need fewer batches than the longest


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    ddp = ["trainer=cpu", "trainer.strategy=ddp", FLOAT32]
    one = {
        "single": (batch(4, FLOAT32), 0),
        "single_dpo": (batch(4, FLOAT32, DPO), 0),
        "one_to_two": (batch(4, FLOAT32, *BY_TOKENS), 2),
    }
    two = {
        "ddp": (batch(2, *ddp, *BY_TOKENS), 0),
        "ddp_dpo": (batch(2, *ddp, *BY_TOKENS, DPO), 0),
        "zero2": (batch(2, *ZERO["zero2"], FLOAT32, *BY_TOKENS), 0),
        "two_to_one": (batch(2, *ddp, *BY_TOKENS), 2),
    }
    assert "one_to_two: SIGTERM: saved step 2" in start(1, folder, one)
    two["one_to_two"] = (batch(4, *ddp, *BY_TOKENS), 0)
    assert "two_to_one: SIGTERM: saved step 2" in start(2, folder, two)
    start(1, folder, {"two_to_one": (batch(2, FLOAT32, "sft.batch_tokens=70"), 0)})
    return folder


@pytest.mark.parametrize(
    ("name", "single"),
    [
        ("ddp", "single"),
        ("ddp_dpo", "single_dpo"),
        ("zero2", "single"),
        ("two_to_one", "single"),
        ("one_to_two", "single"),
    ],
)
def test_ranks_and_tokens_change_nothing(trained: Path, name: str, single: str) -> None:
    """Losses to 1e-5 at the first step and 2e-3 at all, and the weights that they led to."""
    losses, expected = (np.array(tiny.curve(trained / each)) for each in (name, single))
    np.testing.assert_allclose(losses, expected, rtol=2e-3)
    assert losses[0] == pytest.approx(expected[0], rel=1e-5)
    found, wanted = weights(trained / name), weights(trained / single)
    assert found.keys() == wanted.keys() and found
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, rtol=0.05, atol=2e-4)
