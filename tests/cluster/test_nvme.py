"""ZeRO-3 with parameters and the optimizer's states in files, as on NVMe, against one process, also after a stop.

DeepSpeed compiles its reading and writing of files first, which takes minutes, so these have a target of their own.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from test_zero import CPU, FLOAT32, FULL, SHARD_ALL, assert_same, batch, start

pytestmark = pytest.mark.nvme
pytest_plugins = ("cluster_place",)


def on_disk(folder: Path) -> list[str]:
    """Return settings that keep parameters and the optimizer's states in files."""
    zero = "trainer.deepspeed.zero_optimization"
    keys = [f"{zero}.offload_{part}" for part in ("optimizer", "param")]
    paths = [f"{key}.nvme_path={folder / 'disk'}" for key in keys]
    return ["trainer=deepspeed_zero3_nvme", *CPU, SHARD_ALL, *paths, *(f"{key}.pin_memory=false" for key in keys)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all trainings: in one process, and on two ranks with files, of which some stop and go on."""
    folder = tmp_path_factory.mktemp("trained")
    disk = on_disk(folder)
    two = {
        "whole": (batch(1, *disk, FLOAT32), 0),
        "stopped": (batch(1, *disk, FLOAT32), 5),
        "full_gathered": (batch(1, *disk, FLOAT32, FULL), 5),
        "to_one": (batch(1, *disk, FLOAT32), 5),
    }
    said = start(2, folder, two)
    assert [name for name, (_, step) in two.items() if step and f"{name}: SIGTERM: saved step " not in said] == [], said
    start(2, folder, {name: (two[name][0], 0) for name in ("stopped", "full_gathered")})
    one = {"single": (batch(2, FLOAT32), 0), "single_full": (batch(2, FLOAT32, FULL), 0)}
    start(1, folder, {**one, "to_one": (batch(1, FLOAT32), 0)})
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [("whole", "single"), ("stopped", "single"), ("full_gathered", "single_full"), ("to_one", "single")],
)
def test_files_change_nothing(name: str, expected: str, trained: Path) -> None:
    """Left alone, stopped and gone on with on the same ranks, with every weight, and without DeepSpeed."""
    assert_same(trained / name, trained / expected)
