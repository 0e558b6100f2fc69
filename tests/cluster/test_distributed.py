"""Two ranks on two nodes: the single process's results, and an end for all where one fails."""

from __future__ import annotations

import json
import shlex
import time
from collections import Counter
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
    under ZeRO-3 each holds half of the parameters, too, up to padding, and in DPO half of SFT's adapter, which stays
    beside weights that no rank holds whole. The data stage is part of the first run, and
    only one rank asks a teacher there; in both runs both ranks answer.
    """
    place = (make_place if stage == 2 else make_prepared)(f"zero{stage}")
    own = [f"trainer=deepspeed_zero{stage}"]
    if stage == 3:
        own.append("trainer.deepspeed.zero_optimization.stage3_param_persistence_threshold=0")
    done = place.cluster.attempt(
        *SRUN,
        *instead("counting.py", train(*own, *CPU_RANKS, *TWO_RANKS)),
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
            beside = trained(place) if name == "dpo" else 0
            assert held[0]["parameters"] == pytest.approx((total + beside) / 2, rel=0.02)
        else:
            assert held[0]["parameters"] == total
    for name in ("answers.jsonl", "values.jsonl"):
        path = Path("runs") / "harbour" / "sft_dpo" / "arms" / "base" / name
        assert (place.folder / path).read_bytes() == (single.folder / path).read_bytes()
    ours = json.loads((place.folder / "runs/harbour/sft_dpo/scores.json").read_text())["metrics"]
    theirs = json.loads((single.folder / "runs/harbour/sft_dpo/scores.json").read_text())["metrics"]
    assert {k: v["mean"] for k, v in ours.items()} == pytest.approx({k: v["mean"] for k, v in theirs.items()}, abs=1e-4)
    assert base_tax(place) == base_tax(single)
    teachers, answering, taxed = completed(place)
    assert set(teachers) == ({0} if stage == 2 else set())
    assert answering.keys() == taxed.keys() == {0, 1}
    answers = place.folder.glob("artifacts/answers/*/answers.jsonl")
    assert sum(answering.values()) == sum(len(file.read_text().splitlines()) for file in answers)


def instead(script: str, command: list[str]) -> list[str]:
    """Return a command with a script of this folder instead of ``-m valign.train``."""
    python, _, _, *settings = command
    return [python, str(Path(__file__).with_name(script)), *settings]


def base_tax(place: Place) -> str:
    """Return what was measured of the base's general ability."""
    files = [file.read_text() for file in place.folder.glob("artifacts/tax/*/values.jsonl")]
    rows = [[json.loads(line) for line in text.splitlines()] for text in files]
    (found,) = [
        text for text, own in zip(files, rows, strict=True) if all(row.get("nll") == row.get("base_nll") for row in own)
    ]
    return found


def completed(place: Place) -> tuple[Counter[int], Counter[int], Counter[int]]:
    """Return how many requests each rank that did any has completed: as a teacher, as an arm, and for the tax."""
    folders = {
        file.parent.name: file.parents[1].name
        for stage in ("answers", "tax")
        for file in place.folder.glob(f"artifacts/{stage}/*/values.jsonl")
    }
    teachers, answering, taxed = Counter[int](), Counter[int](), Counter[int]()
    for file in place.folder.glob("completed-*.jsonl"):
        for line in file.read_text().splitlines():
            kind, name, number = json.loads(line)
            stage = folders.get(name.rpartition("@")[2])
            counter = teachers if kind != "Generator" else {"answers": answering, "tax": taxed}.get(stage or "")
            if counter is not None:
                counter[int(file.stem.rpartition("-")[2])] += number
    return teachers, answering, taxed


def trained(place: Place) -> int:
    """Return the numbers in the saved adapter."""
    from safetensors.torch import load_file

    (file,) = place.folder.glob("artifacts/sft/*/adapter/adapter_model.safetensors")
    return sum(weight.numel() for weight in load_file(file).values())


def parameters(place: Place) -> int:
    """Return the numbers in the tiny model and an adapter."""
    from safetensors.torch import load_file

    from valign.models.load import prepare_model

    base = load_file(Path(prepare_model("tiny")) / "model.safetensors")
    return sum(weight.numel() for weight in base.values()) + trained(place)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_failure_on_one_rank_ends_all_with_its_error(rank: int, make_prepared: Callable[[str], Place]) -> None:
    """A rank fails while the other waits for it in the training's first reduction; its words come once.

    From the failure to srun's end it took 3 s on two busy cores.
    """
    place = make_prepared("failing")
    command = instead("failing.py", train(*TWO_RANKS, "trainer.strategy=ddp"))
    began = time.time()
    done = place.cluster.attempt(*PLAIN, *command, cwd=place.folder, timeout=600, environment={"FAILS": str(rank)})
    ended = time.time()
    failed = float((place.folder / "failed-at").read_text())
    assert done.returncode == 2, done.stderr[-3000:]
    assert began < failed < ended < failed + 20
    lines = [line for line in done.stderr.splitlines() if "error:" in line and "srun: error" not in line]
    assert len(lines) == 1
    assert ("rank 1 on " in lines[0]) == (rank == 1)
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
