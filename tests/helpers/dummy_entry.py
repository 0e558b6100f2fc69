"""An entry point for the tests of the config: its task does what the experiment's name says."""

from __future__ import annotations

import os
import sys

from omegaconf import DictConfig

from valign.cli.main import main_with
from valign.core.errors import Interrupted, Pending, ValignError

HEAVY = ("datasets", "matplotlib", "numpy", "pytorch_lightning", "torch", "transformers", "wandb")


def main(cfg: DictConfig) -> None:
    """Print where results would go, or fail in the way that is asked for."""
    name = cfg.get("experiment_name", "")
    if name == "mistake":
        raise ValignError("the passage is empty; add text.")
    if name == "bug":
        raise RuntimeError("a bug")
    if name == "wrong-key":
        print(cfg.sft.epoch)
    if name == "batch":
        raise Pending("batch: 3 completions are still to be written\nnext: run it\nthen: the same command again")
    if name == "signal":
        raise Interrupted("SIGTERM: saved step 3 of 9.")
    if name == "interrupt":
        raise KeyboardInterrupt
    print("ran", cfg.get("run_dir", cfg), "heavy:", [module for module in HEAVY if module in sys.modules])


if __name__ == "__main__":
    main_with(main, os.environ.get("DUMMY_CONFIG", "config"))
