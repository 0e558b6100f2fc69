"""The large experiments of several GPUs, each with its own strategy on two CPU ranks and a tiny random Mistral."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scaled
import tiny
from cluster_place import LOCAL, PATHS

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

NAMES = ("udhr_mistral", "scale_7b_8x80gb", "scale_70b_4x8x80gb")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all of them left; the processes are started once."""
    found = tmp_path_factory.mktemp("scaled")
    scaled.write_tiny_mistral(found / "base")
    own = {"PYTHONPATH": PATHS, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    script = str(Path(__file__).with_name("scaling.py"))
    done = subprocess.run(
        [sys.executable, script, "2", str(found), *NAMES],
        env={**os.environ, **LOCAL, **own},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_several_gpus_go_to_the_last_stage(name: str, folder: Path) -> None:
    """SFT, DPO on top of it, which begins at its reference, and the answers of the last arm, dealt to both ranks.

    Under ZeRO-3 a rank holds half of the parameters, under DDP all.
    """
    found: dict[str, Any] = json.loads((folder / name / "found.json").read_text())
    assert found["sft"]["steps"] > 1 and found["dpo"]["steps"] > 1
    assert tiny.curve(folder / name / "dpo", "margin")[0] == pytest.approx(0, abs=1e-6)
    assert len(found["answers"]) == 2
    held = [each["parameters"] for each in found["dpo"]["held_by_rank"]]
    whole = [
        each["parameters"] for each in json.loads((folder / NAMES[0] / "found.json").read_text())["dpo"]["held_by_rank"]
    ]
    assert len(held) == 2 and held[0] == held[1]
    assert (held[0] < 0.9 * whole[0]) == name.startswith("scale_70b")
