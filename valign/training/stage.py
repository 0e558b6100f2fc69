"""One training stage: its rows, its settings and its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.distributed.devices import device_of
from valign.distributed.ranks import Ranks
from valign.models.load import count_weights
from valign.models.precision import resolve_precision

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Stage:
    """What the two stages share; see ``fit_sft`` for the fields."""

    name: str
    folder: Path
    model: Path | str
    initial: tuple[Path, ...]
    adapter: Mapping[str, Any]
    settings: Mapping[str, Any]
    trainer: Mapping[str, Any]
    seed: int
    system_prompt: str | None
    precision: str
    trust_remote_code: bool
    logger: Any
    ranks: Ranks
    quantization: str | None = None

    @property
    def device(self) -> str:
        """The kind of device that it trains on."""
        return device_of(str(self.trainer["accelerator"]))

    @cached_property
    def compute(self) -> torch.dtype:
        """The dtype of matrix products, which the first process measures for all where it is to be measured."""
        import torch

        chosen = self.ranks.broadcast(lambda: str(resolve_precision(self.precision, self.device)))
        dtype: torch.dtype = getattr(torch, chosen.removeprefix("torch."))
        return dtype

    @cached_property
    def weights(self) -> int:
        """How many weights of the base DeepSpeed trains; 0 where it trains an adapter, or nothing."""
        if self.adapter["kind"] != "none" or self.trainer.get("strategy") != "deepspeed":
            return 0

        return count_weights(self.model, self.trust_remote_code)
