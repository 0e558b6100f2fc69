"""Trains the tiny model several times, one after the other, in as many ranks as asked for: ``fitting.py RANKS JOBS``.

JOBS is a JSON list of objects: ``folder``, ``settings`` (overrides of ``valign.train``), and, where the training is
to receive SIGTERM, ``stop_after`` (a step).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import tiny
from hydra import compose, initialize_config_dir

from valign import cli, config, signals
from valign.errors import Interrupted
from valign.models import prepare_model
from valign.pipeline import plain
from valign.ranks import Ranks, joined
from valign.training.fit import fit_dpo, fit_sft

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


def fit(folder: str, settings: list[str], ranks: Ranks, stop_after: int = 0) -> None:
    """Train SFT in a folder, or DPO where that is the recipe."""
    composed = compose("config", ["base_model=tiny", "dpo.beta=0.1", *settings])
    trainer = plain(composed.trainer) | {"threads": 1, "checkpoint_every": 100, "devices": ranks.world}
    Path(folder).mkdir(exist_ok=True)
    shared: dict[str, Any] = {
        "adapter": tiny.ADAPTER | {"kind": composed.adapter.kind},
        "trainer": trainer,
        "seed": 3,
        "precision": composed.base_model.precision,
        "logger": StopAfter(stop_after),
        "ranks": ranks,
    }
    size = {"batch_size": composed.sft.batch_size, "accumulate": composed.sft.accumulate, "max_grad_norm": NORM}
    with signals.heeded():
        if composed.recipe.name == "dpo":
            fit_dpo(Path(folder), prepare_model("tiny"), tiny.preferences(14), settings=tiny.DPO | size, **shared)
        else:
            fit_sft(Path(folder), prepare_model("tiny"), tiny.instructions(26), settings=tiny.SFT | size, **shared)


def main() -> None:
    """Do the jobs."""
    config.register()
    with joined(int(sys.argv[1]), 300) as ranks, initialize_config_dir(str(cli.config_folder()), version_base="1.3"):
        for job in json.loads(sys.argv[2]):
            try:
                fit(**job, ranks=ranks)
            except Interrupted as error:
                print(f"{Path(job['folder']).name}: {error}", flush=True)


if __name__ == "__main__":
    main()
