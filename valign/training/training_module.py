"""What SFT and DPO share as LightningModules: the optimizer, the data's order, seeds, checks and reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from valign.core.errors import ValignError
from valign.training.batches import Batch, PlannedBatches
from valign.training.optimizer import make_optimizer
from valign.training.settings import StageSettings
from valign.training.step_totals import StepTotals
from valign.training.supervised_logps import supervised_logps

BatchesOf = Callable[[int, int], PlannedBatches]


class _StaysOnDevice(pl.LightningModule):
    """A module that Lightning does not move to main memory when the training ends, a copy for each process."""

    def cpu(self) -> Any:
        """Return the module as it is."""
        return self


class TrainingModule(_StaysOnDevice):
    """What SFT and DPO share: the optimizer, the data's order, seeds, checks and reports.

    A batch's loss is a sum divided by the totals of the whole optimizer step, so that it makes no difference
    how the step is distributed over devices and accumulated batches.

    Args:
        model: Its trainable parameters are trained, in float32.
        batches: Called with rank and number of devices, returns the batches of one.
        settings: Of the optimizer.
        seed: Of dropout.
        compute: dtype of matrix products; bfloat16 is used by autocast.
        start: Optimizer step that comes first, more than 0 after a resume.
        validation: As ``batches``, of what is held out: one optimizer step, which is not made; None for nothing.
        padding_free: Whether the layers get a batch as one row, without padding; None where it is quicker for sure.

    Attributes:
        report: What the last optimizer step reports, by name; None before the first.
        validated: The same of what is held out, once the training has ended.
        trained_tokens: Tokens that this training has seen.
    """

    def __init__(
        self,
        model: Any,
        batches: BatchesOf,
        settings: StageSettings,
        *,
        seed: int = 0,
        compute: torch.dtype = torch.float32,
        start: int = 0,
        validation: BatchesOf | None = None,
        padding_free: bool | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.batches, self.settings, self.start, self.seed = batches, settings, start, seed
        self.compute_dtype, self.validation, self.padding_free = compute, validation, padding_free
        self.total_steps = len(batches(0, 1).plan)
        self.report: dict[str, float] | None = None
        self.validated: dict[str, float] = {}
        self.trained_tokens = 0
        self.strict_loading = False
        self._totals = StepTotals()
        self._is_last = False
        self._since = time.perf_counter()

    def objective(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the batch's share of the step's loss, and its shares of what the step reports."""
        raise NotImplementedError

    def logps(self, batch: Batch) -> torch.Tensor:
        """Return the log-probability of each supervised token; the one code path of policy and reference."""
        bfloat16 = self.compute_dtype == torch.bfloat16
        with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=bfloat16):
            return supervised_logps(self.model, batch.ids, batch.segments, batch.mask, self.padding_free)

    def own_batches(self) -> PlannedBatches:
        """Return this device's batches."""
        return self.batches(self.trainer.global_rank, self.trainer.world_size)

    def held_out_batches(self) -> PlannedBatches | None:
        """Return this device's batches of what is held out, if anything is."""
        return self.validation and self.validation(self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return this device's batches from the first step that is still to be made."""
        return (batches := self.own_batches()).loader(self.start * batches.gradient_accumulation)

    def configure_optimizers(self) -> Any:
        """Return AdamW over the trainable parameters, and the schedule of its learning rate by step."""
        return make_optimizer([p for p in self.model.parameters() if p.requires_grad], self.settings, self.total_steps)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout from the batch's place, so that a resumed training draws what an uninterrupted one does."""
        place = batch_idx * self.trainer.world_size + self.trainer.global_rank
        torch.manual_seed((self.seed % 2**31 << 32) + place)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss, scaled so that the means taken over devices and accumulated batches make it a sum.

        Raises:
            ValignError: The loss is not finite.
        """
        loss, shares = self.objective(batch)
        self._totals.example_ids += batch.example_ids
        if not bool(torch.isfinite(loss)):
            raise _not_finite("loss", self.trainer.global_step, self._totals.example_ids)
        self._totals.add(batch, {**shares, "loss": loss, "tokens": (batch.segments > 0).sum()})
        self._is_last = batch.is_last
        return loss * batch.weight * batch.batches_in_step

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Check the gradients and report the step.

        Raises:
            ValignError: A gradient is not finite.
        """
        if not self._is_last:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if gradients else None
        if norm is not None and not bool(torch.isfinite(norm)):
            raise _not_finite("gradient", self.trainer.global_step, self._totals.example_ids)
        sums = self._totals.over_devices(self.trainer, self.device)
        now = time.perf_counter()
        tokens = sums.pop("tokens")
        self.trained_tokens += int(tokens)
        self.report = {
            **sums,
            "learning_rate": float(optimizer.param_groups[0]["lr"]),
            **({} if norm is None else {"grad_norm": float(norm)}),
            "tokens_per_second": tokens / max(now - self._since, 1e-9),
        }
        self._since, self._totals = now, StepTotals()
        self.check_report(self.report)

    def check_report(self, report: Mapping[str, float]) -> None:
        """Warn of what is wrong with what a step reports; by default of nothing."""

    def on_train_start(self) -> None:
        """Start the clock of the first step."""
        self._since = time.perf_counter()

    def on_train_end(self) -> None:
        """Measure what was trained on what was held out: the loss and all else that a step reports, without dropout."""
        batches = self.held_out_batches()
        if batches is None:
            return
        self.eval()
        totals = StepTotals()
        with torch.no_grad():
            for index in range(len(batches)):
                batch: Batch = self.trainer.strategy.batch_to_device(batches[index])
                loss, shares = self.objective(batch)
                totals.add(batch, {**shares, "loss": loss})
        self.validated = totals.over_devices(self.trainer, self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Correct the count of batches made before: on another number of devices, a step has another number of them."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        more = self.start * self.own_batches().gradient_accumulation - progress["current"]["ready"]
        for counts in (progress["total"], progress["current"]):
            counts.update({name: value + more for name, value in counts.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep in checkpoints what is trained: neither frozen weights nor the scales of those in 4 bits."""
        trained = {name for name, p in self.named_parameters(remove_duplicate=False) if p.requires_grad}
        state = checkpoint.get("state_dict", {})
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name in trained}


def _not_finite(what: str, step: int, example_ids: Sequence[str]) -> ValignError:
    shown = ", ".join(example_ids[:16]) + (", ..." if len(example_ids) > 16 else "")
    return ValignError(
        f"the {what} of optimizer step {step} is not finite; examples: {shown}; "
        "lower the learning rate, or set base_model.precision=float32."
    )
