"""``valign.train`` whose rank 1 fails where the training begins."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from valign import ranks
from valign.cli import main_with
from valign.errors import ValignError
from valign.train import main


def _fail(*_: Any, **__: Any) -> Any:
    if ranks.PROCESS.place.rank == 0:
        return logps(*_, **__)
    Path("failed-at").write_text(str(time.time()))
    raise ValignError("broken on purpose")


if __name__ == "__main__":
    from valign.training.modules import TrainingModule

    logps = TrainingModule.logps
    TrainingModule.logps = _fail  # type: ignore[method-assign]
    main_with(main)
