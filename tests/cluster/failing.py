"""``valign.train`` of which the rank that FAILS says fails where the training begins."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from valign.cli.main import main_with
from valign.core.errors import ValignError
from valign.distributed import place
from valign.train import main


def _fail(*_: Any, **__: Any) -> Any:
    if place.PROCESS.place.rank != int(os.environ["FAILS"]):
        return logps(*_, **__)
    Path("failed-at").write_text(str(time.time()))
    raise ValignError("broken on purpose")


if __name__ == "__main__":
    from valign.training.training_module import TrainingModule

    logps = TrainingModule.logps
    TrainingModule.logps = _fail  # type: ignore[method-assign]
    main_with(main)
