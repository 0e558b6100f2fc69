"""Rows and settings for trainings of the tiny random model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from valign.core.records import Instruction, Preference, Provenance
from valign.models.adapters import add_adapter
from valign.training.callbacks import read_curves
from valign.training.fit import fit_dpo, fit_sft

NOWHERE = Provenance("", 0, 0, "", "", "")
ADAPTER: dict[str, Any] = {"kind": "lora", "rank": 4, "alpha": 8, "dropout": 0.0, "target_modules": "all-linear"}
SFT: dict[str, Any] = {
    "epochs": 2,
    "learning_rate": 1e-3,
    "warmup_ratio": 0.1,
    "batch_size": 4,
    "accumulate": 1,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "max_length": 200,
    "schedule": "linear",
}
DPO: dict[str, Any] = {**SFT, "beta": 0.1, "label_smoothing": 0.0, "sft_weight": 0.0}
TRAINER: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "deepspeed": None,
    "checkpoint_every": 3,
    "threads": 1,
}


def with_adapter(model: Any, **changed: Any) -> Any:
    """Put an adapter on a frozen model whose second half is not zero."""
    found: Any = add_adapter(model, **ADAPTER | changed, seed=0)
    source = torch.Generator().manual_seed(1)
    for name, parameter in found.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2, generator=source)
    return found


def instructions(number: int) -> list[Instruction]:
    """Return rows of D_sft whose answers differ in length."""
    return [
        Instruction(f"sft-{i}", ("c",), "q", f"Rule {i}?", f"Rule {i}" + " and so on" * (i % 5), NOWHERE)
        for i in range(number)
    ]


def preferences(number: int) -> list[Preference]:
    """Return rows of D_pref whose answers differ in length."""
    return [
        Preference(f"pair-{i}", ("c",), "q", f"Rule {i}?", f"Yes{'!' * (i % 4)}", f"No{'?' * (i % 3)}", "made", NOWHERE)
        for i in range(number)
    ]


def curve(folder: Path, name: str = "loss") -> list[float]:
    """Return one curve of a stage's folder."""
    return [value for _, found, value in read_curves(folder / "curves.csv") if found == name]


def curves_without_and_with(option: str, path: Path, folder: Path) -> list[tuple[list[float], list[float]]]:
    """Train SFT, then DPO, for an epoch without and with an option of the trainer; return both curves of each."""
    stages: Any = (
        (fit_sft, instructions(12), SFT | {"epochs": 1}),
        (fit_dpo, preferences(12), DPO | {"epochs": 1}),
    )
    found = []
    for fit, rows, settings in stages:
        curves = []
        for value in (False, True):
            own = folder / f"{fit.__name__}-{value}"
            own.mkdir(parents=True)
            trainer = TRAINER | {option: value}
            fit(own, path, rows, adapter=ADAPTER, settings=settings, trainer=trainer, seed=0, precision="float32")
            curves.append(curve(own))
        found.append((curves[0], curves[1]))
    return found


class Stop(Exception):
    """Stands for a kill."""


class StopAt:
    """A logger that stops the training at a step."""

    def __init__(self, step: int) -> None:
        """Keep the step."""
        self.step = step

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Stop at the step."""
        if step == self.step:
            raise Stop
