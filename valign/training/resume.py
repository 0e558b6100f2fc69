"""Where a training goes on after it was stopped."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from typing import Any

from valign.core.files import read_json, write_json
from valign.core.store import digest
from valign.training.build import _plan
from valign.training.checkpoints import latest_checkpoint
from valign.training.data import Example
from valign.training.stage import Stage
from valign.training.strategies import on_nvme, sharded_checkpoints

log = logging.getLogger(__name__)


def _resume_point(stage: Stage, examples: Sequence[Example], world: int) -> tuple[int, int, str | None]:
    """Return the ranks that the stage was begun on, and the last complete checkpoint's step and path.

    A stage keeps the optimizer steps that it was begun with. Checkpoints of other steps are not gone on from, nor
    sharded ones of another number of ranks or with NVMe.
    """

    def note(ranks: int) -> dict[str, Any]:
        sharded = sharded_checkpoints(stage.trainer, stage.weights)
        return {"plan": digest(_plan(stage, examples, ranks)), "ranks": ranks, "sharded": sharded}

    folder = stage.folder / "checkpoints"
    noted = read_json(folder / "plan.json") if (folder / "plan.json").is_file() else {}
    begun = int(noted.get("ranks", world))
    step, path = latest_checkpoint(folder)
    if path is not None:
        if noted == note(begun) and (not noted["sharded"] or (begun == world and not on_nvme(stage.trainer))):
            return begun, step, str(path)
        log.info("%s: the checkpoints found belong to other batches or ranks; beginning again", stage.name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "plan.json", note(world))
    return world, 0, None
