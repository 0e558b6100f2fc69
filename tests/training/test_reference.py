"""Which stored log-probabilities of the reference count: those of the devices that go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny

from valign.core.errors import Interrupted, ValignError
from valign.distributed.signals import stop_on_signal
from valign.models.load import prepare_model
from valign.training.dpo_module import DPOModule


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    return path


def note(folder: Path, by: str, shift: float) -> None:
    """Say that other devices computed what is stored, which is a little off."""
    with np.load(folder / "reference-0.npz") as file:
        found = {name: file[name] for name in file.files}
    np.savez(folder / "reference-0.npz", **found | {"by": np.array(by), "logps": found["logps"] + [[shift, 0.0]]})


def test_a_stage_begun_on_other_devices_computes_its_reference_anew(model: Path, tmp_path: Path) -> None:
    """Stopped before its first checkpoint, it starts at a margin of 0; what a GPU has rounded is not taken over.

    Once steps are made, what they were made against stays.
    """
    rows = tiny.preferences(14)
    with pytest.raises(tiny.Stop):
        tiny.train_dpo(tmp_path, model, rows, logger=tiny.StopAt(1))
    with np.load(tmp_path / "reference-0.npz") as file:
        assert str(file["by"]) == "1 x cpu, torch.float32"
    note(tmp_path, "4 x a GPU, torch.bfloat16", 0.5)
    (tmp_path / "reference-1.npz").write_bytes((tmp_path / "reference-0.npz").read_bytes())
    with pytest.raises(tiny.Stop):
        tiny.train_dpo(tmp_path, model, rows, logger=tiny.StopAt(4))
    assert [file.name for file in tmp_path.glob("reference-*")] == ["reference-0.npz"]
    assert tiny.curve(tmp_path, "margin")[0] == 0
    note(tmp_path, "4 x a GPU, torch.bfloat16", 0.5)
    before = (tmp_path / "reference-0.npz").read_bytes()
    tiny.train_dpo(tmp_path, model, rows)
    assert (tmp_path / "reference-0.npz").read_bytes() == before


def test_what_the_same_devices_computed_is_not_computed_again(model: Path, tmp_path: Path) -> None:
    """So that a reference of another policy is found out."""
    rows = tiny.preferences(14)
    with pytest.raises(tiny.Stop):
        tiny.train_dpo(tmp_path, model, rows, logger=tiny.StopAt(1))
    note(tmp_path, "1 x cpu, torch.float32", 0.5)
    with pytest.raises(ValignError, match="the policy is not its reference"):
        tiny.train_dpo(tmp_path, model, rows)


def test_a_signal_ends_the_pass_for_the_reference_and_what_it_has_is_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on from there, to the result of a training that nothing has stopped."""
    rows, asked = tiny.preferences(14), []
    computed = DPOModule.pair_logps

    def counted(module: DPOModule, batch: Any) -> Any:
        asked.append(batch.example_ids)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return computed(module, batch)

    monkeypatch.setattr(DPOModule, "pair_logps", counted)
    (tmp_path / "stopped").mkdir()
    with (
        stop_on_signal(),
        pytest.raises(Interrupted, match=r"^SIGTERM: \d+ of 14 pairs of the reference are kept; the"),
    ):
        tiny.train_dpo(tmp_path / "stopped", model, rows)
    first = [name for names in asked for name in names]
    with np.load(tmp_path / "stopped" / "reference-0.npz") as file:
        assert sorted(file["ids"].tolist()) == sorted(first) and 0 < len(first) < 14
    tiny.train_dpo(tmp_path / "stopped", model, rows)
    passed = [name for names in asked for name in names][: len(rows)]
    assert len(set(passed)) == len(rows)  # none twice before the first step
    (tmp_path / "whole").mkdir()
    tiny.train_dpo(tmp_path / "whole", model, rows)
    assert tiny.curve(tmp_path / "stopped") == tiny.curve(tmp_path / "whole")
