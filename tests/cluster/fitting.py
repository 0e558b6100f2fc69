"""Trains the tiny model several times, one after the other, in as many ranks as asked for: ``fitting.py RANKS JOBS``.

JOBS is a JSON list of objects: ``folder``, ``settings`` (overrides of ``valign.train``), where the training is to
receive SIGTERM, ``stop_after`` (a step), and where its checkpoints are to be in parts although it is small, ``parts``.
``initial`` are adapters that it begins with. Where ``kind`` is ``build`` and not ``fit``, nothing is trained: each rank
writes what it holds of a base built in shards.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from hydra import compose, initialize_config_dir

from valign.cli.main import config_folder
from valign.config import run_identity
from valign.config.arguments import plain
from valign.core.errors import Interrupted
from valign.core.settings import make_settings
from valign.distributed import signals
from valign.distributed.join import connect
from valign.distributed.ranks import Ranks
from valign.models.load import prepare_model
from valign.training import strategies
from valign.training.settings import TrainerSettings

UP_TO = strategies.MAX_GATHERED_WEIGHTS
NORM = 0.2  # every step's gradient is longer


class StopAfter:
    """A logger that lets its process receive SIGTERM behind a step."""

    def __init__(self, step: int) -> None:
        """Keep the step."""
        self.step = step

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Send the signal."""
        if step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


def fit(
    folder: str,
    settings: list[str],
    ranks: Ranks,
    stop_after: int = 0,
    parts: bool = False,
    initial: Sequence[str] = (),
) -> None:
    """Train SFT in a folder, or DPO where that is the recipe, on what earlier stages have left."""
    strategies.MAX_GATHERED_WEIGHTS = 0 if parts else UP_TO
    composed = compose("config", ["base_model=tiny", "dpo.beta=0.1", *settings])
    trainer = plain(composed.trainer) | {"threads": 1, "checkpoint_every": 100, "devices": ranks.world_size}
    Path(folder).mkdir(exist_ok=True)
    size = {key: composed.sft[key] for key in ("batch_size", "accumulate", "batch_tokens")} | {"max_grad_norm": NORM}
    shared: dict[str, Any] = {
        "adapter": {"kind": composed.adapter.kind},
        "settings": size,
        "trainer": trainer,
        "seed": 3,
        "precision": composed.base_model.precision,
        "logger": StopAfter(stop_after),
        "ranks": ranks,
        "initial": [Path(each) for each in initial],
    }
    with signals.stop_on_signal():
        if composed.recipe.name == "dpo":
            tiny.train_dpo(Path(folder), prepare_model("tiny"), tiny.preferences(14), **shared)
        else:
            tiny.train_sft(Path(folder), prepare_model("tiny"), tiny.instructions(26), **shared)


class Whole:
    """How many numbers of a model's parameters this process has in their whole shape, at most, while it is built."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        """Look before every module that is built and while parameters are gathered."""
        import deepspeed

        self.peak, self.modules = 0, list[weakref.ref[torch.nn.Module]]()
        build, gathered, note = torch.nn.Module.__init__, deepspeed.zero.GatheredParameters, self.note

        def built(module: torch.nn.Module, *arguments: Any, **named: Any) -> None:
            note()
            build(module, *arguments, **named)
            self.modules.append(weakref.ref(module))

        class Gathered(gathered):  # type: ignore[misc, valid-type]
            def __enter__(self) -> None:
                super().__enter__()
                note()

        patch.setattr(torch.nn.Module, "__init__", built)
        patch.setattr(deepspeed.zero, "GatheredParameters", Gathered)

    def note(self) -> None:
        """Count now; a parameter that is sharded is empty."""
        found = {id(p): p for ref in self.modules if (m := ref()) is not None for p in m.parameters(recurse=False)}
        self.peak = max(self.peak, sum(p.numel() for p in found.values()))


def build_sharded(folder: str, settings: list[str], ranks: Ranks) -> None:
    """Build the base in shards, and write this rank's parts and the most that it held whole."""
    from valign.training.zero import load_sharded

    trainer = make_settings(TrainerSettings, plain(compose("config", settings).trainer) | {"devices": ranks.world_size})
    shared: dict[str, Any] = {"gradient_accumulation": 1, "max_grad_norm": NORM, "callbacks": [], "ranks": ranks}
    strategies.make_trainer(trainer, compute=torch.float32, **shared).strategy.setup_environment()
    with pytest.MonkeyPatch.context() as patch:
        whole = Whole(patch)
        model = load_sharded(prepare_model("tiny"), torch.float32, False, trainer.deepspeed or {})
    assert all(parameter.numel() == 0 for parameter in model.parameters())
    Path(folder).mkdir(exist_ok=True)
    named: list[tuple[str, Any]] = list(model.named_parameters())
    parts = {name: parameter.ds_tensor.detach().clone() for name, parameter in named}
    torch.save({"parts": parts, "peak": whole.peak}, Path(folder) / f"rank-{ranks.rank}.pt")


def main() -> None:
    """Do the jobs."""
    run_identity.register_config()
    with connect(int(sys.argv[1]), 300) as ranks, initialize_config_dir(str(config_folder()), version_base="1.3"):
        for job in json.loads(sys.argv[2]):
            try:
                {"build": build_sharded, "fit": fit}[job.pop("kind")](**job, ranks=ranks)
            except Interrupted as error:
                print(f"{Path(job['folder']).name}: {error}", flush=True)


if __name__ == "__main__":
    main()
