"""Every stage of ZeRO on two real ranks against one process: the same losses and weights, also after a stop.

The trainings are so small that all those of as many ranks have one start of the processes in common.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from cluster_place import LOCAL, PATHS
from safetensors.torch import load_file

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

CPU = ["trainer.accelerator=cpu", "trainer.deepspeed.zero_optimization.overlap_comm=false"]
SHARD_ALL = "trainer.deepspeed.zero_optimization.stage3_param_persistence_threshold=0"
ZERO = {
    "zero1": ["trainer=deepspeed_zero1", *CPU],
    "zero2": ["trainer=deepspeed_zero2", *CPU],
    "zero2_offload": ["trainer=deepspeed_zero2_offload", *CPU],
    "zero3": ["trainer=deepspeed_zero3", *CPU, SHARD_ALL],
    "zero3_offload": ["trainer=deepspeed_zero3_offload", *CPU, SHARD_ALL],
}
FLOAT32, BFLOAT16, FULL, DPO = (
    "base_model.precision=float32", "base_model.precision=bfloat16", "adapter.kind=none", "recipe=dpo",
)  # fmt: skip
DIGITS = 1e-5  # of the losses; measured: 5e-7


def start(ranks: int, folder: Path, jobs: dict[str, tuple[list[str], int]]) -> str:
    """Do jobs (settings, step of a SIGTERM or 0) by name on some ranks; return what they print."""
    listed = [{"folder": str(folder / n), "settings": s, "stop_after": step} for n, (s, step) in jobs.items()]
    script = str(Path(__file__).with_name("fitting.py"))
    own = {"PYTHONPATH": PATHS, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    done = subprocess.run(
        [sys.executable, script, str(ranks), json.dumps(listed)],
        env={**os.environ, **LOCAL, **own},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout


def batch(size: int, *settings: str) -> list[str]:
    """Return settings with a device's batch, of which two are accumulated."""
    return [f"sft.batch_size={size}", "sft.accumulate=2", *settings]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all trainings: batches of 2 in one process, of 1 in two; some stop and go on elsewhere."""
    folder = tmp_path_factory.mktemp("trained")
    two = {name: (batch(1, *ZERO[name], FLOAT32), 0) for name in ZERO}
    one = {
        "single": (batch(2, FLOAT32), 0),
        "single_full": (batch(2, FLOAT32, FULL), 0),
        "single_dpo": (batch(2, FLOAT32, DPO), 0),
        "one_to_two": (batch(2, FLOAT32), 5),
    }
    again = {"one_to_two": (batch(2, *ZERO["zero2"], FLOAT32), 0)}
    for stage in ("zero2", "zero3"):
        two[f"{stage}_full"] = (batch(1, *ZERO[stage], FLOAT32, FULL), 0)
        two[f"{stage}_to_one"] = (batch(1, *ZERO[stage], FLOAT32), 5)
        two[f"{stage}_bfloat16"] = (batch(1, *ZERO[stage], BFLOAT16), 0)
        two[f"{stage}_bfloat16_stopped"] = (batch(1, *ZERO[stage], BFLOAT16), 5)
        two[f"{stage}_full_stopped"] = (batch(1, *ZERO[stage], FLOAT32, FULL), 5)
        again[f"{stage}_bfloat16_stopped"] = (batch(1, *ZERO[stage], BFLOAT16), 0)
        again[f"{stage}_full_stopped"] = (batch(1, *ZERO[stage], FLOAT32, FULL), 0)
    two["zero2_dpo_to_one"] = (batch(1, *ZERO["zero2"], FLOAT32, DPO), 3)
    one["zero2_to_one"] = (batch(1, FLOAT32), 0)
    one["zero3_to_one"] = (batch(1, *ZERO["zero3"], FLOAT32), 0)
    one["zero2_dpo_to_one"] = (batch(1, FLOAT32, DPO), 0)
    said = start(2, folder, two) + start(1, folder, one)
    stopped = [name for name, (_, step) in {**two, **one}.items() if step]
    assert all(f"{name}: SIGTERM: saved step " in said for name in [*stopped, "one_to_two"]), said
    for name in {*stopped, "one_to_two"} - set(one):
        (checkpoint,) = (folder / name / "checkpoints").glob("step-*.ckpt")
        assert checkpoint.is_dir() == ("full" in name)
    start(2, folder, again)
    return folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return what a training has saved."""
    (file,) = [*folder.glob("adapter/*.safetensors"), *folder.glob("model/*.safetensors")]
    return load_file(file)


def assert_same(folder: Path, expected: Path) -> None:
    """Check the losses to five digits and the weights to four."""
    losses = tiny.curve(expected)
    assert tiny.curve(folder) == pytest.approx(losses, rel=DIGITS)
    assert max(losses) - min(losses) > 100 * DIGITS
    found, wanted = weights(folder), weights(expected)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ZERO)
def test_lora_equals_one_process(name: str, trained: Path) -> None:
    """ZeRO-1, 2 and 3, and with the optimizer's states (and, in ZeRO-3, the parameters) offloaded."""
    assert_same(trained / name, trained / "single")


@pytest.mark.parametrize("name", ["zero2_full", "zero3_full"])
def test_full_fine_tuning_equals_one_process(name: str, trained: Path) -> None:
    """What was sharded is saved as one model, with every weight."""
    assert_same(trained / name, trained / "single_full")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zero2_to_one", "single"),
        ("zero3_to_one", "single"),
        ("one_to_two", "single"),
        ("zero2_dpo_to_one", "single_dpo"),
    ],
)
def test_a_stopped_training_goes_on_on_another_number_of_ranks(name: str, expected: str, trained: Path) -> None:
    """SIGTERM after step 5 (DPO: 3), then the same settings on other ranks.

    Two ranks that accumulate two batches go on as one that accumulates four, without DeepSpeed after ZeRO-2 and with it
    after ZeRO-3; one process that accumulates two goes on as two that accumulate none.
    """
    assert_same(trained / name, trained / expected)


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
@pytest.mark.parametrize("kind", ["bfloat16", "full"])
def test_a_stopped_training_goes_on_as_if_nothing_had_been(stage: str, kind: str, trained: Path) -> None:
    """On the same ranks every number is the same, also where the float32 copies of bfloat16 weights matter."""
    stopped, whole = trained / f"{stage}_{kind}_stopped", trained / f"{stage}_{kind}"
    for quantity in ("loss", "learning_rate"):
        assert tiny.curve(stopped, quantity) == tiny.curve(whole, quantity) != []
    found, expected = weights(stopped), weights(whole)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_what_a_rank_holds(trained: Path) -> None:
    """ZeRO-1 and 2 halve the optimizer's two moments; ZeRO-3 halves the parameters, too."""
    held: dict[str, Any] = {n: json.loads((trained / n / "counts.json").read_text())["held_by_rank"] for n in ZERO}
    adapter = sum(value.numel() for value in weights(trained / "single").values())
    for name, ranks in held.items():
        assert ranks[0] == ranks[1]
        assert ranks[0]["optimizer"] == pytest.approx(adapter, rel=0.02)
        share = 2 if name.startswith("zero3") else 1
        assert ranks[0]["parameters"] == pytest.approx(held["zero1"][0]["parameters"] / share, rel=0.02)
