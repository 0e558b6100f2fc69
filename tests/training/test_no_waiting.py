"""Nothing in a batch makes the CPU wait for a GPU, and a step reads its numbers once.

The meta device has no values: whatever asks for one there (``item``, ``nonzero``, an index by a mask) fails.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from lightning_fabric.utilities import move_data_to_device
from torch.utils._python_dispatch import TorchDispatchMode
from trainings import DPO, SFT

from valign.models.load import load_model
from valign.models.packing import lay_out
from valign.models.varlen import register_varlen
from valign.training.batches import PlannedBatches
from valign.training.dpo_module import DPOModule
from valign.training.sft_module import SFTModule
from valign.training.step_totals import StepTotals
from valign.training.training_module import TrainingModule

READING = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique")


def module_of(kind: str, path: Path, attention: str | None) -> TrainingModule:
    model = tiny.with_adapter(load_model(path, "float32", attention=attention)[0])
    examples = SFT if kind == "sft" else DPO
    laid_out = partial(lay_out, model)
    batches: Any = lambda rank, world: PlannedBatches(examples, [[(0, 1, 2, 3)]], 0, rank, world, lay_out=laid_out)  # noqa: E731
    module: TrainingModule
    if kind == "sft":
        module = SFTModule(model, batches, tiny.sft_settings())
    else:
        module = DPOModule(model, batches, tiny.dpo_settings(sft_weight=0.5), lambda _: {})
        module.reference = {e.example_id: (-5.0, -6.0) for e in DPO}
    strategy = SimpleNamespace(handles_gradient_accumulation=False)
    module.trainer = SimpleNamespace(global_step=1, strategy=strategy)  # type: ignore[assignment]
    return module


@pytest.mark.parametrize("kind", ["sft", "dpo"])
@pytest.mark.parametrize("attention", ["varlen", "sdpa"])
def test_a_batch_asks_for_no_value(path: Path, kind: str, attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, what is watched, and gradients on the meta device, with PyTorch's own kernel and with padded rows."""
    module = module_of(kind, path, register_varlen() if attention == "varlen" else attention)
    batch = module.on_before_batch_transfer(module.batches(0, 1)[0], 0)
    assert batch.layout is not None and (batch.layout.sequences is None) == (attention == "sdpa")
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # there is none for meta
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    if (
        attention == "sdpa" and kind == "sft"
    ):  # positions, given, keep transformers from looking for packed rows in them
        monkeypatch.setattr("transformers.masking_utils.find_packed_sequence_indices", lambda positions: None)
    module.to("meta")
    moved = move_data_to_device(batch, torch.device("meta"))
    module.training_step(moved, 0).backward()
    assert module._totals.sums is not None and module._totals.sums.device.type == "meta"
    assert all(p.grad is not None for p in module.model.parameters() if p.requires_grad)
    with pytest.raises(Exception, match="meta"):
        float(module._totals.sums[0])


class Reads(TorchDispatchMode):
    """Counts operations that give values to the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note an operation and do it."""
        name = func.overloadpacket.__name__
        self.names += [name] if name in READING else []
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_batch_reads_nothing_on_a_cpu_either(path: Path, kind: str) -> None:
    module = module_of(kind, path, None)
    batch = module.on_before_batch_transfer(module.batches(0, 1)[0], 0)
    with Reads() as reads:
        module.training_step(batch, 0).backward()
    assert reads.names == []
    with Reads() as reads:
        assert module._totals.sums is not None and bool(module._totals.sums.sum() != 0)
    assert "_local_scalar_dense" in reads.names or "is_nonzero" in reads.names  # the counter counts


@pytest.mark.parametrize("train", ["sft", "dpo"])
def test_a_step_is_read_once_and_its_first_speed_is_not_told(
    path: Path, tmp_path: Path, train: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    inner = StepTotals.over_devices

    def counted(self: StepTotals, *given: Any, **more: Any) -> dict[str, float]:
        calls.append(len(self.example_ids))
        return inner(self, *given, **more)

    monkeypatch.setattr(StepTotals, "over_devices", counted)
    settings = {"batch_size": 2, "accumulate": 3, "epochs": 1}
    if train == "sft":
        tiny.train_sft(tmp_path, path, tiny.instructions(12), settings=settings)
    else:
        tiny.train_dpo(tmp_path, path, tiny.preferences(12), settings=settings)
    assert calls == [6, 6]
    assert len(tiny.curve(tmp_path)) == 2 and len(tiny.curve(tmp_path, "tokens_per_second")) == 1
