"""What the batches of an optimizer step add up to, over all devices."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_lightning as pl
import torch

from valign.training.batches import Batch


class StepTotals:
    """Sums of what a step's batches report, and the ids of the step's examples, on this device.

    Sums are float64, so that how a step is divided into batches makes no difference.
    """

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self.example_ids: list[str] = []

    def add(self, batch: Batch, values: Mapping[str, torch.Tensor]) -> None:
        """Add a batch's shares of the step's values, scalars each; a batch that only fills a place adds nothing."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float().cpu().double() * batch.weight

    def over_devices(self, trainer: pl.Trainer, device: torch.device) -> dict[str, float]:
        """Return the sums over all devices.

        Args:
            trainer: Lightning's, whose processes all call this.
            device: What this process computes on.
        """
        if trainer.world_size == 1:
            return {name: float(value) for name, value in self.sums.items()}
        return {
            name: float(trainer.strategy.reduce(value.float().to(device), reduce_op="sum"))
            for name, value in self.sums.items()
        }
