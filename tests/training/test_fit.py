"""Whole trainings of the tiny random model: what they write, that they resume exactly, and when they stop."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

from valign.core.errors import ValignError
from valign.core.files import read_json
from valign.models.adapters import load_adapter, merge_adapter
from valign.models.load import load_model, prepare_model
from valign.models.policy import load_policy
from valign.reporting.curve_charts import CURVE_NOTES
from valign.training.batches import PlannedBatches
from valign.training.callbacks import read_curves
from valign.training.examples import encode_preferences
from valign.training.plan import make_plan

KILLED = """
import os, signal, sys
from pathlib import Path
import tiny

class Kill:
    def log_metrics(self, metrics, step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGKILL)

tiny.train_sft(Path(sys.argv[2]), Path(sys.argv[1]), tiny.instructions(26), adapter={"dropout": 0.2},
               settings={"accumulate": 2, "batch_size": 2}, seed=3, logger=Kill())
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    return path


def sft(folder: Path, model: Path, adapter: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Train SFT on 26 rows; changes are settings, or fields of the stage."""
    folder.mkdir(exist_ok=True)
    given: dict[str, Any] = {name: changes.pop(name) for name in ("logger", "precision", "initial") if name in changes}
    rows = tiny.instructions(26)
    return tiny.train_sft(folder, model, rows, adapter=adapter or {}, settings=changes, seed=3, **given)


def dpo(folder: Path, model: Path, adapter: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Train DPO on 14 pairs; changes are settings, or fields of the stage."""
    folder.mkdir(exist_ok=True)
    given: dict[str, Any] = {name: changes.pop(name) for name in ("logger", "precision", "initial") if name in changes}
    rows = tiny.preferences(14)
    return tiny.train_dpo(folder, model, rows, adapter=adapter or {}, settings=changes, seed=3, **given)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    files = list(folder.glob("adapter/*.safetensors")) + list(folder.glob("model/*.safetensors"))
    assert len(files) == 1
    return load_file(files[0])


def assert_same_training(one: Path, other: Path) -> None:
    """Bit for bit: every curve but the speed, and the trained weights."""
    for name in ("loss", "grad_norm", "learning_rate"):
        assert tiny.curve(one, name) == tiny.curve(other, name) != []
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_sft_writes_adapter_curves_and_counts(model: Path, tmp_path: Path) -> None:
    """26 rows in batches of 4 are 7 steps an epoch; the answers are 6 + 10 (i % 5) bytes and an end token.

    i % 5 is 0 six times (i = 0, 5, ..., 25) and 1 to 4 five times each; the answers of the 16 rows from i = 10 on have
    one byte more: 26 * 7 + 10 * 5 * (1 + 2 + 3 + 4) + 16 = 698 supervised tokens an epoch.
    """
    counts = sft(tmp_path / "a", model)
    expected = {
        "examples": 26,
        "dropped_too_long": 0,
        "steps": 14,
        "supervised_tokens": 1396,
        "precision": "float32",
    }
    assert {name: counts[name] for name in expected} == expected
    losses = tiny.curve(tmp_path / "a")
    assert len(losses) == 14 and counts["final_loss"] == pytest.approx(sum(losses[-10:]) / 10)
    assert losses[-1] < losses[0] and losses[0] == pytest.approx(math.log(259), abs=0.3)
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["adapter", "counts.json", "curves.csv"]
    assert sft(tmp_path / "a", model) == counts == read_json(tmp_path / "a" / "counts.json")


@pytest.mark.parametrize("kind", ["lora", "none"])
def test_sft_resumes_in_mid_epoch_with_the_same_result(model: Path, tmp_path: Path, kind: str) -> None:
    """Stopped at step 5 of 14, it goes on from the checkpoint of step 3, dropout included."""
    options: dict[str, Any] = {"adapter": {"kind": kind, "dropout": 0.2}, "batch_size": 2, "accumulate": 2}
    sft(tmp_path / "whole", model, **options)
    with pytest.raises(tiny.Stop):
        sft(tmp_path / "stopped", model, **options, logger=tiny.StopAt(5))
    assert [p.name for p in (tmp_path / "stopped" / "checkpoints").glob("step-*")] == ["step-0000003.ckpt"]
    sft(tmp_path / "stopped", model, **options)
    assert_same_training(tmp_path / "whole", tmp_path / "stopped")


class Gone:
    """A logger whose process is gone."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Fail as W&B does then."""
        raise ConnectionResetError("Connection lost")


def test_a_training_goes_on_without_its_logger(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sft(tmp_path / "a", model, logger=Gone(), epochs=1)
    assert len(tiny.curve(tmp_path / "a")) == 7
    assert [r.message for r in caplog.records if "logger is gone" in r.message] == [
        f"sft: the logger is gone (Connection lost); {tmp_path / 'a' / 'curves.csv'} goes on"
    ]


@pytest.mark.slow
def test_a_killed_training_resumes_with_the_same_result(model: Path, tmp_path: Path) -> None:
    """As above, with kill -9 in a process of its own."""
    options: dict[str, Any] = {"adapter": {"dropout": 0.2}, "batch_size": 2, "accumulate": 2}
    (tmp_path / "killed").mkdir()
    command = [sys.executable, "-c", KILLED, str(model), str(tmp_path / "killed")]
    path = f"{Path(__file__).parents[1] / 'helpers'}:{Path(__file__).parents[2]}"
    killed = subprocess.run(command, env={"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    sft(tmp_path / "whole", model, **options)
    sft(tmp_path / "killed", model, **options)
    assert_same_training(tmp_path / "whole", tmp_path / "killed")


def test_dpo_resumes_with_its_first_reference(model: Path, tmp_path: Path) -> None:
    dpo(tmp_path / "whole", model)
    with pytest.raises(tiny.Stop):
        dpo(tmp_path / "stopped", model, logger=tiny.StopAt(5))
    before = (tmp_path / "stopped" / "reference-0.npz").read_bytes()
    dpo(tmp_path / "stopped", model)
    assert (tmp_path / "stopped" / "reference-0.npz").read_bytes() == before
    assert_same_training(tmp_path / "whole", tmp_path / "stopped")


def test_checkpoints_hold_no_frozen_weights_and_other_plans_begin_again(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    with pytest.raises(tiny.Stop):
        sft(folder, model, logger=tiny.StopAt(5))
    checkpoint = torch.load(folder / "checkpoints" / "step-0000003.ckpt", weights_only=False)
    assert checkpoint["state_dict"] and all(".lora_" in name for name in checkpoint["state_dict"])
    sft(folder, model, epochs=1)
    assert len(tiny.curve(folder)) == 7


@pytest.mark.parametrize("train", [sft, dpo])
def test_accumulation_changes_nothing(model: Path, tmp_path: Path, train: Any) -> None:
    """One batch of 8 and eight batches of 1 are the same step, though the rows' numbers of tokens differ.

    The first step agrees within float32's rounding; AdamW divides by the gradient's size, which makes more of it later.
    """
    train(tmp_path / "at_once", model, batch_size=8)
    train(tmp_path / "one_by_one", model, batch_size=1, accumulate=8)
    for name in ("loss", "grad_norm"):
        at_once, one_by_one = tiny.curve(tmp_path / "at_once", name), tiny.curve(tmp_path / "one_by_one", name)
        assert one_by_one == pytest.approx(at_once, rel=2e-3)
        assert one_by_one[0] == pytest.approx(at_once[0], rel=1e-5)


@pytest.mark.parametrize(("kind", "precision"), [("lora", "float32"), ("lora", "bfloat16"), ("none", "float32")])
def test_dpo_starts_at_ln_2_and_separates_the_answers(model: Path, tmp_path: Path, kind: str, precision: str) -> None:
    """The policy is its reference before the first step, whose margin is 0 bit for bit."""
    sft(tmp_path / "sft", model, precision=precision)
    options: dict[str, Any] = {"initial": [tmp_path / "sft" / "adapter"], "precision": precision}
    dpo(tmp_path / "dpo", model, {"kind": kind, "dropout": 0.5}, **options, epochs=4)
    losses = tiny.curve(tmp_path / "dpo")
    assert losses[0] == pytest.approx(math.log(2), abs=1e-7)
    assert losses[-1] < 0.65
    assert {name for _, name, _ in read_curves(tmp_path / "dpo" / "curves.csv")} == set(
        CURVE_NOTES
    )  # each is explained
    margins = tiny.curve(tmp_path / "dpo", "margin")
    assert margins[0] == 0.0 and margins[-1] > 0.1
    assert tiny.curve(tmp_path / "dpo", "accuracy")[-1] == 1.0
    logps, rewards = tiny.curve(tmp_path / "dpo", "chosen_logp"), tiny.curve(tmp_path / "dpo", "chosen_reward")
    assert len(logps) == len(rewards) == len(losses)


def test_dpo_is_the_same_with_a_row_for_each_answer(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row a pair computes what both answers begin with once; no step's numbers change beyond rounding.

    What takes a row for each answer here is also computed with its padding.
    """
    dpo(tmp_path / "shared", model, sft_weight=0.5)
    for module in ("models.packing", "training.build"):
        monkeypatch.setattr(f"valign.{module}.supports_custom_masks", lambda model: False)
    dpo(tmp_path / "rows", model, sft_weight=0.5)
    for name in ("loss", "chosen_logp", "rejected_logp", "grad_norm"):
        one, two = tiny.curve(tmp_path / "shared", name), tiny.curve(tmp_path / "rows", name)
        assert one == pytest.approx(two, rel=2e-3) and one[0] == pytest.approx(two[0], rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"loss": "robust", "label_smoothing": 0.1}, 0.6931472),
        ({"loss": "hinge"}, 1.0),
        ({"loss": "ipo", "beta": 0.5}, 1.0),
        ({"loss": "simpo", "beta": 2.0, "simpo_gamma": 0.5}, None),
    ],
)
def test_every_preference_loss_trains(
    model: Path, tmp_path: Path, settings: dict[str, Any], first: float | None
) -> None:
    """They start at ln 2, 1, (1 / (2 * 0.5))^2 = 1; SimPO computes no reference and writes none."""
    dpo(tmp_path / "a", model, **settings, epochs=4)
    losses = tiny.curve(tmp_path / "a")
    assert first is None or losses[0] == pytest.approx(first, abs=1e-6)
    assert losses[-1] < 0.9 * losses[0]
    assert tiny.curve(tmp_path / "a", "accuracy")[-1] == 1.0
    assert (tmp_path / "a" / "reference-0.npz").exists() == (first is not None)


def test_dpo_adds_the_sft_loss_of_chosen_answers(model: Path, tmp_path: Path) -> None:
    """With weight 0.5, the first loss is ln 2 plus half the mean over the chosen answers' tokens.

    One step holds all 14 pairs; ``Yes`` with i % 4 exclamation marks and the end token is 4 + i % 4 tokens:
    14 * 4 + (3 * 6 + 0 + 1) = 75, and chosen_logp is the mean of 14 sums.
    """
    dpo(tmp_path / "a", model, sft_weight=0.5, batch_size=14, epochs=1)
    chosen = tiny.curve(tmp_path / "a", "chosen_logp")[0]
    assert tiny.curve(tmp_path / "a")[0] == pytest.approx(math.log(2) - 0.5 * 14 * chosen / 75, rel=1e-6)


def test_policy_is_what_dpo_trained_on(model: Path, tmp_path: Path) -> None:
    """The merged SFT policy gives DPO's stored reference, and weights W + alpha / rank * B A."""
    sft(tmp_path / "sft", model)
    adapters = [tmp_path / "sft" / "adapter"]
    dpo(tmp_path / "dpo", model, initial=adapters, batch_size=14, epochs=1, precision="float32")
    merged, tokenizer = load_policy(model, adapters, "float32")
    pairs, _ = encode_preferences(tokenizer, tiny.preferences(14), None, 200)
    plan = make_plan([p.length for p in pairs], 14, 1, 1, 1, 3)
    batch = PlannedBatches(pairs, plan, 0, share=False)[0]
    logits = merged(batch.ids, attention_mask=(batch.segments > 0).long()).logits.log_softmax(-1)
    sums = (logits[:, :-1].gather(2, batch.ids[:, 1:, None]).squeeze(2) * batch.mask[:, 1:]).sum(1)
    assert tiny.curve(tmp_path / "dpo", "chosen_logp")[0] == pytest.approx(sums[:14].mean().item(), abs=1e-4)
    assert tiny.curve(tmp_path / "dpo", "rejected_logp")[0] == pytest.approx(sums[14:].mean().item(), abs=1e-4)
    layer = "model.layers.0.mlp.up_proj"
    a, b = (weights(tmp_path / "sft")[f"base_model.model.{layer}.lora_{x}.weight"] for x in "AB")
    expected = load_model(model, "float32")[0].get_parameter(f"{layer}.weight") + 2.0 * b @ a
    torch.testing.assert_close(merged.get_parameter(f"{layer}.weight"), expected)


def test_merging_keeps_the_dtype_and_a_whole_model_replaces_the_base(model: Path, tmp_path: Path) -> None:
    sft(tmp_path / "lora", model)
    sft(tmp_path / "full", model, {"kind": "none"})
    base, _ = load_model(model, "bfloat16")
    merged = merge_adapter(load_adapter(base, tmp_path / "lora" / "adapter"))
    assert {p.dtype for p in merged.parameters()} == {torch.bfloat16}
    full, _ = load_policy(model, [tmp_path / "lora" / "adapter", tmp_path / "full" / "model"], "float32")
    assert torch.equal(
        full.get_parameter("model.embed_tokens.weight"), weights(tmp_path / "full")["model.embed_tokens.weight"]
    )
    assert not any(p.requires_grad for p in full.parameters())


def test_a_loss_that_is_not_finite_stops_with_the_examples(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValignError, match=r"step \d+ is not finite; examples: sft-\d+.*lower the learning rate"):
        sft(tmp_path / "a", model, learning_rate=1e30)
    assert not (tmp_path / "a" / "adapter").exists()


def test_dpo_whose_policy_is_not_its_reference_stops(model: Path, tmp_path: Path) -> None:
    """The reference of another policy lies in the folder: the first margin is not zero."""
    sft(tmp_path / "sft", model, learning_rate=1e-2, epochs=6)
    with pytest.raises(tiny.Stop):
        dpo(tmp_path / "a", model, logger=tiny.StopAt(1), beta=1.0)
    with pytest.raises(ValignError, match=r"first loss is .* instead of ln 2"):
        dpo(tmp_path / "a", model, initial=[tmp_path / "sft" / "adapter"], beta=1.0)


def test_a_training_of_few_steps_warns(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """26 rows by fours are 7 steps; two passes are 14, and pass in silence."""
    sft(tmp_path / "few", model, epochs=1)
    sft(tmp_path / "enough", model, epochs=2)
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == [
        "sft: 7 steps are few and may teach little; "
        "more examples (synthesis.instructions.questions_per_passage) or passes (sft.epochs) make more"
    ]
