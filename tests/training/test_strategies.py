"""The strategy of a trainer, and the schedule of its learning rate."""

from __future__ import annotations

import importlib.util

import pytest
import tiny

from valign.core.errors import ValignError
from valign.training.optimizer import learning_rate_factor
from valign.training.strategies import make_strategy


def test_learning_rate_by_hand() -> None:
    """Two warm-up steps of six: 1/2, 1; then four steps fall by a quarter each, or along a half cosine."""
    linear = [learning_rate_factor(step, 2, 6, "linear") for step in range(6)]
    assert linear == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert learning_rate_factor(4, 2, 6, "cosine") == pytest.approx(0.5)
    assert learning_rate_factor(5, 2, 6, "constant") == 1.0


def test_strategies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_strategy(tiny.trainer_settings(), "cpu") == "auto"
    assert make_strategy(tiny.trainer_settings(devices=2), "cpu") == "ddp"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValignError, match=r"valign\[deepspeed\]"):
        make_strategy(tiny.trainer_settings(strategy="deepspeed"), "cuda")
