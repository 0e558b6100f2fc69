"""One training stage: its model, its settings and its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from valign.distributed.devices import device_of
from valign.distributed.ranks import Ranks
from valign.models.load import count_weights
from valign.models.precision import resolve_precision
from valign.training.settings import AdapterSettings, DPOSettings, SFTSettings, TrainerSettings

if TYPE_CHECKING:
    import torch

COUNTS = "counts.json"


class MetricsLogger(Protocol):
    """What receives a training's metrics, step by step; every logger of Lightning is one."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Log the metrics of an optimizer step, counted from 1."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """All that a training needs but its rows.

    Attributes:
        folder: Where results and checkpoints go; it exists.
        model: The base model, as ``valign.models.load.prepare_model`` returned it.
        adapter: What is trained.
        settings: How; their type says whether the stage is SFT or DPO.
        trainer: On which devices.
        seed: Of shuffling, initial adapter weights and dropout.
        initial: What earlier stages trained, merged into the model in this order; in DPO, the result is the reference.
        system_prompt: Put before every question; None for none.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        quantization: ``nf4`` trains an adapter on weights in 4 bits, on a GPU; None leaves them as they are.
        trust_remote_code: Whether to run code that comes with a hub model.
        logger: Gets the metrics of every step, named ``sft/loss`` and the like; None or False for none.
        ranks: The run's processes, all of which train; by default this one alone.
    """

    folder: Path
    model: Path | str
    adapter: AdapterSettings
    settings: SFTSettings | DPOSettings
    trainer: TrainerSettings
    seed: int = 0
    initial: Sequence[Path] = ()
    system_prompt: str | None = None
    precision: str = "auto"
    quantization: str | None = None
    trust_remote_code: bool = False
    logger: MetricsLogger | Literal[False] | None = None
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def name(self) -> str:
        """``sft`` or ``dpo``, which is also the name of its settings' group in the config."""
        return "dpo" if isinstance(self.settings, DPOSettings) else "sft"

    @property
    def device(self) -> str:
        """The kind of device that it trains on: ``cpu`` or ``cuda``."""
        return device_of(self.trainer.accelerator)

    @cached_property
    def compute(self) -> torch.dtype:
        """The dtype of matrix products; with ``auto``, the first process measures it for all."""
        import torch

        chosen = self.ranks.broadcast(lambda: str(resolve_precision(self.precision, self.device)))
        dtype: torch.dtype = getattr(torch, chosen.removeprefix("torch."))
        return dtype

    @cached_property
    def deepspeed_weights(self) -> int:
        """How many weights of the base model DeepSpeed trains; 0 where it trains an adapter, or nothing."""
        if not self.adapter.is_full or self.trainer.strategy != "deepspeed":
            return 0
        return count_weights(self.model, self.trust_remote_code)


def is_trained(folder: Path) -> bool:
    """Tell whether a stage's folder holds all that training writes."""
    return (folder / COUNTS).is_file()
