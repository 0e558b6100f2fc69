"""Rows and settings for trainings of the tiny random model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from valign.core.records import Instruction, Preference, Provenance
from valign.core.settings import make_settings
from valign.models.adapters import add_adapter
from valign.training.callbacks import read_curves
from valign.training.fit import fit
from valign.training.settings import AdapterSettings, DPOSettings, SFTSettings, TrainerSettings
from valign.training.stage import Stage

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


def adapter_settings(**changed: Any) -> AdapterSettings:
    """Return ``ADAPTER`` with changes."""
    return make_settings(AdapterSettings, ADAPTER | changed)


def sft_settings(**changed: Any) -> SFTSettings:
    """Return ``SFT`` with changes."""
    return make_settings(SFTSettings, SFT | changed)


def dpo_settings(**changed: Any) -> DPOSettings:
    """Return ``DPO`` with changes."""
    return make_settings(DPOSettings, DPO | changed)


def trainer_settings(**changed: Any) -> TrainerSettings:
    """Return ``TRAINER`` with changes."""
    return make_settings(TrainerSettings, TRAINER | changed)


def train_sft(folder: Path, model: Path | str, rows: Sequence[Instruction], **given: Any) -> dict[str, Any]:
    """Train SFT as the settings above say, in float32; given are their changes as mappings, or fields of ``Stage``."""
    settings = sft_settings(**given.pop("settings", {}))
    return fit(_stage(folder, model, settings, **given), rows)


def train_dpo(folder: Path, model: Path | str, rows: Sequence[Preference], **given: Any) -> dict[str, Any]:
    """Train DPO as the settings above say, in float32; given are their changes as mappings, or fields of ``Stage``."""
    settings = dpo_settings(**given.pop("settings", {}))
    return fit(_stage(folder, model, settings, **given), rows)


def _stage(folder: Path, model: Path | str, settings: SFTSettings | DPOSettings, **given: Any) -> Stage:
    adapter, trainer = given.pop("adapter", {}), given.pop("trainer", {})
    return Stage(
        folder=folder,
        model=model,
        adapter=adapter_settings(**adapter),
        settings=settings,
        trainer=trainer_settings(**trainer),
        **{"precision": "float32"} | given,
    )


def curves_without_and_with(option: str, path: Path, folder: Path) -> list[tuple[list[float], list[float]]]:
    """Train SFT, then DPO, for an epoch without and with an option of the trainer; return both curves of each."""
    stages: Any = ((train_sft, instructions(12)), (train_dpo, preferences(12)))
    found = []
    for train, rows in stages:
        curves = []
        for value in (False, True):
            own = folder / f"{train.__name__}-{value}"
            own.mkdir(parents=True)
            train(own, path, rows, settings={"epochs": 1}, trainer={option: value})
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
