"""``python -m valign.train +experiment=udhr``: document to data to SFT to DPO to scores, in one command."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from valign.cli.main import main_with
from valign.core.errors import ValignError


def main(config: DictConfig) -> float | None:
    """Run one recipe; returns what a sweeper is to lower, None where nothing is held out of training."""
    from valign.pipeline.run import train

    if config.dry_run:
        raise ValignError("dry_run=true goes with python -m valign.synthesize, which takes the same settings.")
    return train(config, HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN)


if __name__ == "__main__":
    main_with(main)
