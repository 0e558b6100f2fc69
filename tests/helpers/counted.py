"""``valign.train`` that notes in the file ``$COUNTED`` each completion that it begins and keeps."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valign.cli.main import main_with
from valign.core.progress import ProgressBar
from valign.generation.requests import Request
from valign.teachers.cached_groups import CachedGroups
from valign.train import main

complete = CachedGroups.complete_group


def counted(self: CachedGroups, group: Mapping[str, Request], known: dict[str, Any], bar: ProgressBar) -> int:
    """Complete a group, between two notes of its keys."""
    _note("begin", group)
    shown = complete(self, group, known, bar)
    _note("kept", group)
    return shown


def _note(what: str, group: Mapping[str, Request]) -> None:
    with Path(os.environ["COUNTED"]).open("a") as file:
        file.write("".join(f"{what} {key}\n" for key in group))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background commands begin with it ignored
    CachedGroups.complete_group = counted  # type: ignore[method-assign]
    main_with(main)
