"""Rows held out of training: which they are, what is measured on them, and what a sweep is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from omegaconf import DictConfig

from valign.cli.main import HydraJob
from valign.core.errors import ValignError
from valign.core.files import write_json
from valign.core.records import Instruction
from valign.models.load import prepare_model
from valign.models.policy import load_policy
from valign.pipeline import run
from valign.pipeline.artifacts import Artifacts
from valign.runs import layout
from valign.training.batches import collate
from valign.training.examples import encode_instructions, encode_preferences
from valign.training.holdout import hold_out
from valign.training.supervised_logps import pair_logps, supervised_logps


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    return path


def of_clauses(*sizes: int) -> list[Instruction]:
    """Return as many rows of each of some clauses."""
    rows = iter(tiny.instructions(sum(sizes)))
    return [replace(next(rows), clauses=(f"c{i}",)) for i, size in enumerate(sizes) for _ in range(size)]


def test_every_clause_has_its_share_and_keeps_a_row() -> None:
    """A quarter of 4, 2, 2 and 1 rows, summed clause by clause: 1, 1.5, 2 and 2.25 round to 1, 2, 2 and 2.

    So one of the first clause's rows is held out, one of the second's, and none of the third's and fourth's.
    """
    rows = of_clauses(4, 2, 2, 1)
    kept, held = hold_out(rows, 0.25, "sft.validation")
    assert [row.clauses[0] for row in held] == ["c0", "c1"]
    assert sorted(kept + held, key=rows.index) == rows
    assert {row.clauses for row in kept} == {row.clauses for row in rows}
    most, _ = hold_out(of_clauses(3, 1), 0.9, "sft.validation")
    assert [row.clauses[0] for row in most] == ["c0", "c1"]


def test_which_rows_are_held_out_goes_by_their_ids_alone() -> None:
    rows = of_clauses(9, 7, 8)
    held = {row.example_id for row in hold_out(rows, 0.3, "sft.validation")[1]}
    again = {row.example_id for row in hold_out(rows[::-1], 0.3, "sft.validation")[1]}
    assert held == again and len(held) == 7  # 0.3 x 24 = 7.2


def test_a_share_of_nothing() -> None:
    rows = of_clauses(3)
    assert hold_out(rows, 0.0, "sft.validation") == (rows, [])
    with pytest.raises(ValignError, match=r"dpo\.validation=0\.01 holds out none of 3 examples; raise it"):
        hold_out(rows, 0.01, "dpo.validation")


@pytest.mark.parametrize("batch_size", [1, 4])
def test_sft_measures_the_trained_model_on_what_it_has_not_seen(model: Path, tmp_path: Path, batch_size: int) -> None:
    """The loss is that of the merged policy, computed apart: the mean over all held-out tokens, dropout off."""
    rows = tiny.instructions(26)
    settings = {"epochs": 1, "validation": 0.2, "batch_size": batch_size}
    counts = tiny.train_sft(tmp_path, model, rows, settings=settings, adapter={"dropout": 0.3})
    kept, held = hold_out(rows, 0.2, "")
    assert (counts["examples"], counts["validation_examples"]) == (21, 5) == (len(kept), len(held))
    trained, tokenizer = load_policy(model, [tmp_path / "adapter"], "float32")
    examples, _ = encode_instructions(tokenizer, held, None, 200)
    with torch.no_grad():
        expected = -supervised_logps(trained, *collate(examples, 0)).mean()
    assert counts["validation_loss"] == pytest.approx(float(expected), rel=1e-4)
    assert "validation_accuracy" not in counts


def test_dpo_measures_loss_and_accuracy_against_the_reference(model: Path, tmp_path: Path) -> None:
    """Both computed apart from the policy with and without the adapter; a resumed training gives the same."""
    rows = tiny.preferences(20)
    settings = {"validation": 0.3, "epochs": 3}
    (tmp_path / "whole").mkdir()
    counts = tiny.train_dpo(tmp_path / "whole", model, rows, settings=settings)
    held = hold_out(rows, 0.3, "")[1]
    assert counts["validation_examples"] == len(held) == 6
    sums = []
    for adapters in ([], [tmp_path / "whole" / "adapter"]):
        trained, tokenizer = load_policy(model, adapters, "float32")
        ids, segments, mask = collate(encode_preferences(tokenizer, held, None, 200)[0], 0)
        with torch.no_grad():
            sums.append(pair_logps(supervised_logps(trained, ids, segments, mask), segments, mask, 6))
    margins = (sums[1][0] - sums[0][0]) - (sums[1][1] - sums[0][1])
    expected = -torch.nn.functional.logsigmoid(0.1 * margins).mean()
    assert counts["validation_loss"] == pytest.approx(float(expected), rel=1e-3)
    assert counts["validation_accuracy"] == pytest.approx(float((margins > 0).float().mean()))
    (tmp_path / "stopped").mkdir()
    with pytest.raises(tiny.Stop):
        tiny.train_dpo(tmp_path / "stopped", model, rows, settings=settings, logger=tiny.StopAt(5))
    again = tiny.train_dpo(tmp_path / "stopped", model, rows, settings=settings)
    assert again["validation_loss"] == counts["validation_loss"]


def test_without_it_nothing_is_held_out(model: Path, tmp_path: Path) -> None:
    counts = tiny.train_sft(tmp_path, model, tiny.instructions(8), settings={"epochs": 1})
    assert counts["examples"] == 8 and not any("validation" in name for name in counts)


@pytest.mark.parametrize(
    ("stage", "counts", "error"),
    [
        ("sft", {"validation_examples": 5, "validation_loss": 2.5}, 2.5),
        ("dpo", {"validation_examples": 8, "validation_loss": 0.4, "validation_accuracy": 0.75}, 0.25),
        ("dpo", {"examples": 8}, None),
    ],
)
def test_a_run_notes_its_last_stages_error(
    stage: str, counts: dict[str, Any], error: float | None, tmp_path: Path
) -> None:
    """The loss; of DPO, whose loss has the scale of its beta, the share of pairs ranked the wrong way round."""
    (tmp_path / stage / "abc").mkdir(parents=True)
    write_json(tmp_path / stage / "abc" / "manifest.json", {"counts": counts})
    stages = ["sft", "dpo"][: 1 if stage == "sft" else 2]
    artifacts = Artifacts(tmp_path, hashes={"_".join(stages): "abc"})
    run.write_validation(artifacts, tmp_path, stages)
    assert layout.validation_error(tmp_path) == error
    assert error is None or json.loads((tmp_path / "validation.json").read_text())["stage"] == stage


def test_a_sweeper_gets_what_the_task_returns(compose_config: Callable[..., DictConfig]) -> None:
    assert HydraJob(lambda _: 0.25).run(compose_config()) == 0.25


def test_the_sweep_holds_pairs_out(compose_config: Callable[..., DictConfig]) -> None:
    cfg = compose_config("+experiment=sweep_dpo")
    assert (cfg.dpo.validation, cfg.sft.validation) == (0.15, 0.0)
    assert compose_config().dpo.validation == 0.0
