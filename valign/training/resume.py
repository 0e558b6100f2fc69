"""Where a training goes on after it was stopped."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from typing import Any

from valign.core.files import read_json, write_json
from valign.core.store import digest
from valign.training.build import plan_stage
from valign.training.checkpoints import latest_checkpoint
from valign.training.examples import EncodedExample
from valign.training.stage import Stage
from valign.training.strategies import sharded_checkpoint_stage

log = logging.getLogger(__name__)


def find_resume_point(stage: Stage, examples: Sequence[EncodedExample], world: int) -> tuple[int, int, str | None]:
    """Find where a stage goes on; where nothing is to go on from, make its folder of checkpoints ready.

    A stage keeps the optimizer steps that it began with, on whatever number of ranks it goes on. Three kinds of
    checkpoints cannot be used, so that the stage begins again: those of other steps, those in parts (DeepSpeed's own)
    of another number of ranks, and those in parts of a training that kept states on NVMe.

    Args:
        stage: The stage.
        examples: What it trains on.
        world: Number of ranks now.

    Returns:
        The number of ranks that the stage was begun on, and the last complete checkpoint's step and path (0 and None
        where there is none).
    """

    def note(ranks: int) -> dict[str, Any]:
        sharded = sharded_checkpoint_stage(stage.trainer, stage.deepspeed_weights)
        return {"plan": digest(plan_stage(stage, examples, ranks)), "ranks": ranks, "sharded": sharded}

    folder = stage.folder / "checkpoints"
    noted = read_json(folder / "plan.json") if (folder / "plan.json").is_file() else {}
    begun = int(noted.get("ranks", world))
    step, path = latest_checkpoint(folder)
    if path is not None:
        if noted == note(begun) and (not noted["sharded"] or (begun == world and not stage.trainer.is_on_nvme)):
            return begun, step, str(path)
        log.info("%s: the checkpoints found belong to other batches or ranks; beginning again", stage.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "plan.json", note(world))
    return world, 0, None
