"""Two ranks on two nodes: the single process's results, and an end for all where one fails."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_place import Place, train

pytestmark = pytest.mark.cluster
pytest_plugins = ("cluster_place",)

PLAIN = ["srun", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--label"]
SRUN = [*PLAIN, "--kill-on-bad-exit=1"]
TWO_RANKS = ["sft.batch_size=2", "dpo.batch_size=1", "trainer.num_nodes=2"]
CPU_RANKS = ["trainer.accelerator=cpu", "trainer.devices=1", "trainer.deepspeed.zero_optimization.overlap_comm=false"]
EARLY, LATE = 1e-6, 1e-4  # of the first five losses, and of all: AdamW makes more of what rounding makes different


def counts(place: Place, stage: str) -> dict[str, list[dict[str, int]]]:
    (file,) = place.folder.glob(f"artifacts/{stage}/*/counts.json")
    found: dict[str, list[dict[str, int]]] = json.loads(file.read_text())
    return found


@pytest.mark.parametrize("stage", [2, 3])
def test_sft_and_dpo_under_zero_equal_the_single_process(
    stage: int, single: Place, make_place: Callable[[str], Place], make_prepared: Callable[[str], Place]
) -> None:
    """Losses agree to six digits at first and to four in the end; the base arm's answers and values to the byte.

    The tiny model's base is frozen, so under ZeRO-2 both ranks hold all of it and half of the optimizer's two moments;
    under ZeRO-3 each holds half of the parameters, too, up to padding. The data stage is part of the first run.
    """
    place = (make_place if stage == 2 else make_prepared)(f"zero{stage}")
    own = [f"trainer=deepspeed_zero{stage}"]
    if stage == 3:
        own.append("trainer.deepspeed.zero_optimization.stage3_param_persistence_threshold=0")
    done = place.cluster.attempt(
        *SRUN,
        *train(*own, *CPU_RANKS, *TWO_RANKS),
        cwd=place.folder,
        timeout=900,
        environment={"DS_ACCELERATOR": "cpu"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for name in ("sft", "dpo"):
        expected, found = single.curve(name), place.curve(name)
        assert len(found) == len(expected) > 5
        assert found[:5] == pytest.approx(expected[:5], rel=EARLY if name == "sft" else LATE)
        assert found == pytest.approx(expected, rel=LATE)
        assert max(expected) - min(expected) > 50 * LATE
        held = counts(place, name)["held_by_rank"]
        assert held[0]["optimizer"] == held[1]["optimizer"] == pytest.approx(2 * trained(place) / 2, rel=0.02)
        assert held[0]["parameters"] == held[1]["parameters"]
        total = parameters(place)
        if stage == 3:
            assert held[0]["parameters"] == pytest.approx(total / 2, rel=0.02)
        else:
            assert held[0]["parameters"] == total
    for name in ("answers.jsonl", "values.jsonl"):
        path = Path("runs") / "harbour" / "sft_dpo" / "arms" / "base" / name
        assert (place.folder / path).read_bytes() == (single.folder / path).read_bytes()
    ours = json.loads((place.folder / "runs/harbour/sft_dpo/scores.json").read_text())["metrics"]
    theirs = json.loads((single.folder / "runs/harbour/sft_dpo/scores.json").read_text())["metrics"]
    assert {k: v["mean"] for k, v in ours.items()} == pytest.approx({k: v["mean"] for k, v in theirs.items()}, abs=1e-4)
    built = [line for line in done.stdout.splitlines() if ": building " in line]
    assert built
    assert all(line.startswith("0: ") for line in built)


def trained(place: Place) -> int:
    """Return the numbers in the saved adapter."""
    from safetensors.torch import load_file

    (file,) = place.folder.glob("artifacts/sft/*/adapter/adapter_model.safetensors")
    return sum(weight.numel() for weight in load_file(file).values())


def parameters(place: Place) -> int:
    """Return the numbers in the tiny model and an adapter."""
    from safetensors.torch import load_file

    from valign.models import prepare_model

    base = load_file(Path(prepare_model("tiny")) / "model.safetensors")
    return sum(weight.numel() for weight in base.values()) + trained(place)


def test_a_failure_on_one_rank_ends_all_with_its_error(make_prepared: Callable[[str], Place]) -> None:
    """Rank 1 fails while rank 0 waits for it in the training's first reduction; its words come once."""
    place = make_prepared("failing")
    command = train(*TWO_RANKS, "trainer.strategy=ddp")
    command[1:3] = [str(Path(__file__).with_name("failing.py"))]
    began = time.time()
    done = place.cluster.attempt(*PLAIN, *command, cwd=place.folder, timeout=600)
    ended = time.time()
    failed = float((place.folder / "failed-at").read_text())
    assert done.returncode == 2, done.stderr[-3000:]
    assert began < failed < ended < failed + 60
    lines = [line for line in done.stderr.splitlines() if "error:" in line and "srun: error" not in line]
    assert len(lines) == 1
    assert "rank 1 on " in lines[0]
    assert "broken on purpose" in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["trainer.devices=4"], r"trainer.devices x trainer.num_nodes is 8, and srun started 2 processes"),
        (["artifacts=store-$SLURMD_NODENAME"], r"is not shared: rank 1 on"),
    ],
)
def test_bad_set_ups_get_one_line(settings: list[str], message: str, make_place: Callable[[str], Place]) -> None:
    place = make_place("bad")
    words = " ".join([shlex.join(train(*TWO_RANKS, "trainer.strategy=ddp")), *settings])
    done = place.cluster.attempt(*PLAIN, "bash", "-c", words, cwd=place.folder, timeout=600)
    lines = [line for line in done.stderr.splitlines() if "error:" in line and "srun: error" not in line]
    assert done.returncode == 2
    assert len(lines) == 1, done.stderr
    assert message in lines[0]
