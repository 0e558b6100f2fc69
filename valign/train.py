"""``python -m valign.train +experiment=udhr``: document to data to SFT to DPO to scores, in one command."""

from __future__ import annotations

import logging

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from valign.cli.main import main_with
from valign.core.errors import ValignError

log = logging.getLogger("valign.train")


def main(config: DictConfig) -> float | None:
    """Run one recipe and show its arms beside base; what is complete is not done again.

    Of several processes the first does this, and the others do their part of training and evaluation.

    Returns:
        What a sweeper is to lower, ``validation_error`` of the last stage; None where nothing is held out.
    """
    from valign.distributed import signals
    from valign.distributed.devices import world_size
    from valign.distributed.join import connect
    from valign.distributed.shared_folder import check_shared_folder
    from valign.pipeline.artifacts import Pipeline
    from valign.pipeline.run import run

    if config.dry_run:
        raise ValignError("dry_run=true goes with python -m valign.synthesize, which takes the same settings.")
    sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    with signals.stop_on_signal(), connect(world_size(config.trainer), config.trainer.wait_seconds, sweeping) as ranks:
        pipeline = Pipeline(config, ranks=ranks)
        check_shared_folder(pipeline.artifacts, ranks)
        if ranks.is_first:
            return run(pipeline)
        pipeline.follow()
        return None


if __name__ == "__main__":
    main_with(main)
