"""What a trained stage leaves in memory: nothing, as the next model is loaded into the same GPU."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from omegaconf import DictConfig

from valign.core.files import write_jsonl
from valign.pipeline.context import Context
from valign.pipeline.training_stage import train_part
from valign.training import fit


@pytest.mark.parametrize("more", [[], ["trainer.activation_checkpointing=true"]], ids=["plain", "checkpointed"])
def test_a_trained_model_is_gone_when_its_stage_ends(
    more: list[str], compose_config: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is in reference cycles, which Python collects when it likes."""
    found: list[weakref.ref[Any]] = []
    load = fit.load_trainable

    def watched(*arguments: Any) -> Any:
        model = load(*arguments)
        found.append(weakref.ref(model))
        return model

    monkeypatch.setattr(fit, "load_trainable", watched)
    write_jsonl(tmp_path / "sft.jsonl", tiny.instructions(8))
    write_jsonl(tmp_path / "preferences.jsonl", tiny.preferences(8))
    context = Context.of(compose_config("base_model=tiny", "trainer.threads=1", f"artifacts={tmp_path}", *more))
    before: list[str] = []
    gc.disable()
    try:
        for name, rows in (("sft", "sft.jsonl"), ("dpo", "preferences.jsonl")):
            (tmp_path / name).mkdir()
            train_part(context, name, str(tmp_path / name), str(tmp_path / rows), "", before)
            before.append(str(tmp_path / name / "adapter"))
            assert found[-1]() is None
    finally:
        gc.enable()
    assert len(found) == 2
