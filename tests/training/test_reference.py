"""Which stored log-probabilities of the reference count: those of the devices that go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from valign.core.errors import ValignError
from valign.models.load import prepare_model


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
