"""GPUs that PyTorch seems to see, for checks that come before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from valign.distributed.place import Place
from valign.distributed.ranks import Ranks


def show_gpus(
    patch: pytest.MonkeyPatch,
    names: Sequence[str],
    capability: tuple[int, int] = (9, 0),
    free: int = 80 * 2**30,
    whole: int = 80 * 2**30,
) -> list[int]:
    """Let PyTorch see GPUs of some names (their UUIDs), and return the numbers of those that are taken."""
    taken: list[int] = []
    seen: dict[str, Any] = {
        "is_available": lambda: bool(names),
        "device_count": lambda: len(names),
        "current_device": lambda: 0,
        "set_device": taken.append,
        "get_device_properties": lambda index: SimpleNamespace(uuid=names[index], total_memory=whole),
        "get_device_capability": lambda: capability,
        "get_device_name": lambda *index: "a GPU",
        "is_bf16_supported": lambda including_emulation=True: capability >= (8, 0),
        "mem_get_info": lambda: (free, whole),
    }
    for name, value in seen.items():
        patch.setattr(torch.cuda, name, value)
    return taken


class Seen(Ranks):
    """A process of several, of which the first gets what the others would tell it."""

    def __init__(self, place: Place, others: Sequence[str] = ()) -> None:
        super().__init__(place)
        self.others = others

    def gather(self, value: Any) -> list[Any]:
        """Return this process's value and those of the others."""
        return [value, *self.others]
