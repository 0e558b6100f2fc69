"""What a checkpoint holds, and where the model is when the training has ended."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch

from valign.models.load import load_model, prepare_model
from valign.training.batches import PlannedBatches
from valign.training.plan import make_plan
from valign.training.sft_module import SFTModule


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> SFTModule:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    model: Any = tiny.with_adapter(load_model(path, "float32")[0])
    return SFTModule(
        model, lambda rank, world: PlannedBatches([], make_plan([3], 1, 1, 1, 1, 0), 0), tiny.sft_settings()
    )


def test_a_checkpoint_holds_what_is_trained_and_nothing_else(module: SFTModule) -> None:
    """Weights in 4 bits have scales beside them, which are no parameters: 0.1 GB of a 7B model, at each checkpoint."""
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    scales = dict.fromkeys(("model.base.weight.absmax", "model.base.weight.quant_map"), torch.zeros(1))
    checkpoint: dict[str, Any] = {"state_dict": {**module.state_dict(), **scales}}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["state_dict"].keys() == trained and trained


def test_a_trained_model_is_not_moved_to_main_memory(module: SFTModule) -> None:
    """Lightning calls ``cpu`` at the end: eight processes would have eight copies there."""
    try:
        module.to("meta")
        assert module.cpu() is module
        assert {p.device.type for p in module.parameters()} == {"meta"}
    finally:
        module.to_empty(device="cpu")
