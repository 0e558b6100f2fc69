"""``valign.train`` whose every rank notes in a file of its own which model has to complete how many requests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valign.cli.main import main_with
from valign.distributed import place
from valign.generation.generator import Generator
from valign.teachers.local import LocalTeacher
from valign.teachers.replay import ReplayTeacher
from valign.train import main


def _note(kind: Any) -> None:
    """Let a kind of model note its requests before it completes them."""
    complete = kind.complete

    def noted(self: Any, requests: Sequence[Any]) -> Any:
        with Path(f"completed-{place.PROCESS.place.rank}.jsonl").open("a") as file:
            file.write(json.dumps([kind.__name__, self.id, len(requests)]) + "\n")
        return complete(self, requests)

    kind.complete = noted


if __name__ == "__main__":
    for kind in (ReplayTeacher, LocalTeacher, Generator):
        _note(kind)
    main_with(main)
