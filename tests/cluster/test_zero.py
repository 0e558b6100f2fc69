"""Every stage of ZeRO on two real ranks against one process: the same losses and weights, also after a stop.

The trainings are so small that all those of as many ranks have one start of the processes in common.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from cluster_place import LOCAL, PATHS
from safetensors.torch import load_file

from valign.core.errors import ValignError
from valign.models.load import prepare_model
from valign.training.strategies import make_strategy

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

CPU = ["trainer.accelerator=cpu", "trainer.deepspeed.zero_optimization.overlap_comm=false"]
SHARD_ALL = "trainer.deepspeed.zero_optimization.stage3_param_persistence_threshold=0"
ZERO = {
    "zero1": ["trainer=deepspeed_zero1", *CPU],
    "zero1_offload": ["trainer=deepspeed_zero1_offload", *CPU],
    "zero2": ["trainer=deepspeed_zero2", *CPU],
    "zero2_offload": ["trainer=deepspeed_zero2_offload", *CPU],
    "zero3": ["trainer=deepspeed_zero3", *CPU, SHARD_ALL],
    "zero3_offload": ["trainer=deepspeed_zero3_offload", *CPU, SHARD_ALL],
}
FLOAT32, BFLOAT16, FULL, DPO = (
    "base_model.precision=float32", "base_model.precision=bfloat16", "adapter.kind=none", "recipe=dpo",
)  # fmt: skip
STOPPED = "stopped.ckpt"
DIGITS = 1e-5  # of the losses; measured: 5e-7


def start(ranks: int, folder: Path, jobs: dict[str, tuple[list[str], int]], is_sharded_built: bool = False) -> str:
    """Do jobs (settings, step of a SIGTERM or 0) by name on some ranks; return what they print.

    Before them the base is built in shards, where that is asked for. A name that ends in ``_above`` begins at what
    ``single`` has trained.
    """
    listed: list[dict[str, Any]] = []
    if is_sharded_built:
        listed.append({"kind": "build", "folder": str(folder / "sharded"), "settings": ZERO["zero3"]})
    listed += [
        {
            **{"kind": "fit", "folder": str(folder / name), "settings": settings, "stop_after": step},
            "parts": name.endswith("full_stopped"),
            "initial": [str(folder / "single" / "adapter")] if name.endswith("_above") else [],
        }
        for name, (settings, step) in jobs.items()
    ]
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
        "single_full_dpo": (batch(2, FLOAT32, FULL, DPO), 0),
        "one_to_two": (batch(2, FLOAT32), 5),
        "full_one_to_two": (batch(2, FLOAT32, FULL), 5),
    }
    again = {
        "one_to_two": (batch(2, *ZERO["zero2"], FLOAT32), 0),
        "full_one_to_two": (batch(2, *ZERO["zero3"], FLOAT32, FULL), 0),
    }
    for stage in ("zero2", "zero3"):
        two[f"{stage}_full"] = (batch(1, *ZERO[stage], FLOAT32, FULL), 0)
        two[f"{stage}_to_one"] = (batch(1, *ZERO[stage], FLOAT32), 5)
        two[f"{stage}_full_to_one"] = (batch(1, *ZERO[stage], FLOAT32, FULL), 5)
        two[f"{stage}_full_bfloat16"] = (batch(1, *ZERO[stage], BFLOAT16, FULL), 0)
        two[f"{stage}_full_bfloat16_gathered"] = (batch(1, *ZERO[stage], BFLOAT16, FULL), 5)
        again[f"{stage}_full_bfloat16_gathered"] = (batch(1, *ZERO[stage], BFLOAT16, FULL), 0)
        two[f"{stage}_bfloat16"] = (batch(1, *ZERO[stage], BFLOAT16), 0)
        two[f"{stage}_bfloat16_stopped"] = (batch(1, *ZERO[stage], BFLOAT16), 5)
        two[f"{stage}_full_stopped"] = (batch(1, *ZERO[stage], FLOAT32, FULL), 5)
        again[f"{stage}_bfloat16_stopped"] = (batch(1, *ZERO[stage], BFLOAT16), 0)
        again[f"{stage}_full_stopped"] = (batch(1, *ZERO[stage], FLOAT32, FULL), 0)
    two["zero2_full_dpo"] = (batch(1, *ZERO["zero2"], FLOAT32, FULL, DPO), 0)
    two["zero3_dpo"] = (batch(1, *ZERO["zero3"], FLOAT32, DPO), 0)
    two["zero2_dpo_to_one"] = (batch(1, *ZERO["zero2"], FLOAT32, DPO), 3)
    one["zero2_to_one"] = (batch(1, FLOAT32), 0)
    one["zero3_to_one"] = (batch(1, *ZERO["zero3"], FLOAT32), 0)
    one["zero2_full_to_one"] = (batch(1, FLOAT32, FULL), 0)
    one["zero3_full_to_one"] = (batch(1, *ZERO["zero3"], FLOAT32, FULL), 0)
    one["zero2_dpo_to_one"] = (batch(1, FLOAT32, DPO), 0)
    said = start(2, folder, two) + start(1, folder, one)
    stopped = [name for jobs in (two, one) for name, (_, step) in jobs.items() if step]
    assert [name for name in stopped if f"{name}: SIGTERM: saved step " not in said] == [], said
    for name in set(again) & set(stopped):
        (checkpoint,) = (folder / name / "checkpoints").glob("step-*.ckpt")
        assert checkpoint.is_dir() == name.endswith("full_stopped")
        if checkpoint.is_file():
            shutil.copy(checkpoint, folder / name / STOPPED)
    again["zero3_dpo_above"] = (batch(1, *ZERO["zero3"], FLOAT32, DPO), 0)
    start(2, folder, again, is_sharded_built=True)
    start(1, folder, {"single_dpo_above": (batch(2, FLOAT32, DPO), 0)})
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
    """ZeRO-1, 2 and 3, and with the optimizer's states (in ZeRO-3, the parameters too) in main memory."""
    assert_same(trained / name, trained / "single")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zero3_dpo", "single_dpo"),
        ("zero2_full_dpo", "single_full_dpo"),
        ("zero3_dpo_above", "single_dpo_above"),
    ],
)
def test_dpo_equals_one_process(name: str, expected: str, trained: Path) -> None:
    """An adapter, every weight, and an adapter on top of SFT's, which is frozen here and merged there."""
    assert_same(trained / name, trained / expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("zero2_dpo_to_one", "single_dpo"), ("zero3_dpo", "single_dpo"), ("zero2_full_dpo", "single_full_dpo")],
)
def test_both_ranks_compute_the_reference(name: str, expected: str, trained: Path) -> None:
    """Each a part, together what one process computes to five digits; the first loss is that of a margin of 0."""
    parts, whole = references(trained / name), references(trained / expected)
    assert list(parts) == ["reference-0.npz", "reference-1.npz"]
    (one,) = whole.values()
    assert all(0 < len(part) < len(one) == 14 for part in parts.values())
    both = {example: pair for part in parts.values() for example, pair in part.items()}
    assert both.keys() == one.keys()
    for example, pair in one.items():
        assert both[example] == pytest.approx(pair, rel=DIGITS)
    assert tiny.curve(trained / name, "margin")[0] == 0
    assert tiny.curve(trained / name)[0] == pytest.approx(math.log(2), abs=1e-7)


def references(folder: Path) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the log-probabilities that each rank has computed, by file."""
    found = {}
    for path in sorted(folder.glob("reference-*.npz")):
        with np.load(path) as file:
            found[path.name] = dict(zip(file["ids"].tolist(), map(tuple, file["logps"].tolist()), strict=True))
    return found


@pytest.mark.parametrize("name", ["zero2_bfloat16_stopped", "zero3_bfloat16_stopped"])
def test_a_checkpoint_of_an_adapter_holds_nothing_else(name: str, trained: Path) -> None:
    state = torch.load(trained / name / STOPPED, weights_only=False)
    adapter = weights(trained / name)
    kept = {key.removeprefix("model.").replace(".default.", "."): value for key, value in state["state_dict"].items()}
    assert {key: value.shape for key, value in kept.items()} == {key: value.shape for key, value in adapter.items()}
    assert all(".lora_" in key for key in kept)
    (optimizer,) = state["optimizer_states"]
    assert len(optimizer["state"]) == len(adapter)


def test_no_rank_holds_a_whole_model_and_both_hold_the_files(trained: Path) -> None:
    """While it is built, a rank has one whole parameter at most, then half of each."""
    path = Path(prepare_model("tiny"))
    expected = load_file(path / "model.safetensors")
    ranks = [torch.load(trained / "sharded" / f"rank-{rank}.pt") for rank in range(2)]
    assert ranks[0]["parts"].keys() == ranks[1]["parts"].keys() == expected.keys()
    for key, value in expected.items():
        halves = [rank["parts"][key] for rank in ranks]
        assert [half.numel() for half in halves] == [math.ceil(value.numel() / 2)] * 2
        torch.testing.assert_close(torch.cat(halves)[: value.numel()].view_as(value), value, rtol=0, atol=0)
    largest = max(value.numel() for value in expected.values())
    assert [rank["peak"] for rank in ranks] == [largest] * 2


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
        ("zero2_full_to_one", "single_full"),
        ("zero3_full_to_one", "single_full"),
        ("full_one_to_two", "single_full"),
    ],
)
def test_a_stopped_training_goes_on_elsewhere(name: str, expected: str, trained: Path) -> None:
    """SIGTERM after step 5 (DPO: 3), then the same settings on other ranks.

    Two ranks that accumulate two batches go on as one that accumulates four, without DeepSpeed after ZeRO-2 and with it
    after ZeRO-3; one process that accumulates two goes on as two that accumulate none. An adapter, and every weight.
    """
    assert_same(trained / name, trained / expected)


@pytest.mark.parametrize("stage", ["zero2", "zero3"])
@pytest.mark.parametrize(
    ("kind", "stop"), [("bfloat16", "stopped"), ("full", "stopped"), ("full_bfloat16", "gathered")]
)
def test_a_stopped_training_goes_on_as_if_nothing_had_been(stage: str, kind: str, stop: str, trained: Path) -> None:
    """On the same ranks every number is the same, also where the float32 copies of bfloat16 weights matter.

    Checkpoints in parts, one a rank, and gathered ones.
    """
    stopped, whole = trained / f"{stage}_{kind}_{stop}", trained / f"{stage}_{kind}"
    for quantity in ("loss", "learning_rate"):
        assert tiny.curve(stopped, quantity) == tiny.curve(whole, quantity) != []
    found, expected = weights(stopped), weights(whole)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_nvme_without_what_it_is_compiled_with_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setattr("valign.training.deepspeed_strategy.can_use_nvme", lambda: False)
    deepspeed = {"zero_optimization": {"offload_param": {"device": "nvme"}}}
    trainer = tiny.trainer_settings(strategy="deepspeed", deepspeed=deepspeed)
    with pytest.raises(ValignError, match=r"NVMe without libaio's headers.*apt install libaio-dev"):
        make_strategy(trainer, "cpu")


def test_what_a_rank_holds(trained: Path) -> None:
    """ZeRO-1 and 2 halve the optimizer's two moments; ZeRO-3 halves the parameters, too."""
    held: dict[str, Any] = {n: json.loads((trained / n / "counts.json").read_text())["held_by_rank"] for n in ZERO}
    adapter = sum(value.numel() for value in weights(trained / "single").values())
    for name, ranks in held.items():
        assert ranks[0] == ranks[1]
        assert ranks[0]["optimizer"] == pytest.approx(adapter, rel=0.02)
        share = 2 if name.startswith("zero3") else 1
        assert ranks[0]["parameters"] == pytest.approx(held["zero1"][0]["parameters"] / share, rel=0.02)
