"""What the batches of an optimizer step add up to, over all devices."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_lightning as pl
import torch

from valign.training.batches import Batch


class StepTotals:
    """Sums of what a step's batches report, and the ids of the step's examples, on this device.

    Sums are float64, so that how a step is divided into batches makes no difference. They stay on the device until the
    step ends: reading one on the CPU would wait for all that the device has to do.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.sums: torch.Tensor | None = None
        self.example_ids: list[str] = []
        self.tokens = 0

    def add(self, batch: Batch, values: Mapping[str, torch.Tensor]) -> None:
        """Add a batch's shares of the step's values, scalars each; a batch that only fills a place adds nothing.

        Args:
            batch: The batch.
            values: The same names in every batch of a step.
        """
        self.example_ids += batch.example_ids
        self.tokens += batch.tokens if batch.weight else 0
        new = torch.stack([value.detach().float() for value in values.values()]).double() * batch.weight
        self.names, self.sums = tuple(values), new if self.sums is None else self.sums + new

    def over_devices(self, trainer: pl.Trainer, device: torch.device, **more: torch.Tensor) -> dict[str, float]:
        """Return the sums over all devices, ``tokens`` among them; the one copy from the device that a step makes.

        Args:
            trainer: Lightning's, whose processes all call this.
            device: What this process computes on.
            **more: Further scalars, which all devices have and which are not summed.
        """
        sums = torch.zeros(0, dtype=torch.float64, device=device) if self.sums is None else self.sums
        sums = torch.cat([sums, sums.new_tensor([self.tokens])])
        if trainer.world_size > 1:
            reduced = trainer.strategy.reduce(sums, reduce_op="sum")
            assert isinstance(reduced, torch.Tensor)
            sums = reduced
        found = torch.cat([sums, *(value.detach().double()[None] for value in more.values())]).tolist()
        return dict(zip((*self.names, "tokens", *more), found, strict=True))
