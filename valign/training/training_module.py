"""What SFT and DPO share as LightningModules: the optimizer, the data's order, seeds, checks and reports."""

from __future__ import annotations

import math
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
from valign.training.supervised_logps import layout_logps, supervised_logps

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
    ) -> None:
        super().__init__()
        self.model = model
        self.batches, self.settings, self.start, self.seed = batches, settings, start, seed
        self.compute_dtype, self.validation = compute, validation
        self.total_steps = len(batches(0, 1).plan)
        self.report: dict[str, float] | None = None
        self.validated: dict[str, float] = {}
        self.trained_tokens = 0
        self.strict_loading = False
        self._totals = StepTotals()
        self._is_last = False
        self._since: float | None = None

    def objective(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the batch's share of the step's loss, and its shares of what the step reports."""
        raise NotImplementedError

    def logps(self, batch: Batch) -> torch.Tensor:
        """Return the log-probability of each supervised token; the one code path of policy and reference."""
        bfloat16 = self.compute_dtype == torch.bfloat16
        with torch.autocast(batch.ids.device.type, torch.bfloat16, enabled=bfloat16):
            if batch.layout is not None:
                return layout_logps(self.model, batch.layout)
            return supervised_logps(self.model, batch.ids, batch.segments, batch.mask)

    def own_batches(self) -> PlannedBatches:
        """Return this device's batches."""
        return self.batches(self.trainer.global_rank, self.trainer.world_size)

    def held_out_batches(self) -> PlannedBatches | None:
        """Return this device's batches of what is held out, if anything is."""
        return self.validation and self.validation(self.trainer.global_rank, self.trainer.world_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return this device's batches from the first step that is still to be made."""
        batches, on_gpu = self.own_batches(), self.trainer.strategy.root_device.type == "cuda"
        return batches.loader(self.start * batches.gradient_accumulation, pin_memory=on_gpu)

    def to_device(self, batch: Batch) -> Batch:
        """Return a batch on the device, with all that the loss needs."""
        return self.trainer.strategy.batch_to_device(self.on_before_batch_transfer(batch, 0))

    def configure_optimizers(self) -> Any:
        """Return AdamW over the trainable parameters, and the schedule of its learning rate by step."""
        return make_optimizer([p for p in self.model.parameters() if p.requires_grad], self.settings, self.total_steps)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout from the batch's place, so that a resumed training draws what an uninterrupted one does."""
        place = batch_idx * self.trainer.world_size + self.trainer.global_rank
        torch.manual_seed((self.seed % 2**31 << 32) + place)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss, scaled so that the means taken over devices and accumulated batches make it a sum.

        Where no device has an example in its batch there is nothing to compute; DeepSpeed, which sums gradients up by
        itself, wants to see every batch.
        """
        self._is_last = batch.is_last
        if batch.is_idle and not batch.is_last and not self.trainer.strategy.handles_gradient_accumulation:
            return torch.zeros((), device=self.device, requires_grad=True)
        loss, shares = self.objective(batch)
        self._totals.add(batch, {**shares, "loss": loss})
        return loss * batch.weight * batch.batches_in_step

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Check the loss and the gradients, and report the step.

        The first step's speed is not reported: it warms libraries and memory up.

        Raises:
            ValignError: The loss or a gradient is not finite.
        """
        if not self._is_last:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = {"grad_norm": torch.nn.utils.get_total_norm(gradients)} if gradients else {}
        sums = self._totals.over_devices(self.trainer, self.device, **norm)
        for what, name in (("loss", "loss"), ("gradient", "grad_norm")):
            if not math.isfinite(sums.get(name, 0.0)):
                raise _not_finite(what, self.trainer.global_step, self._totals.example_ids)
        now, tokens = time.perf_counter(), sums.pop("tokens")
        self.trained_tokens += int(tokens)
        self.report = {**sums, "learning_rate": float(optimizer.param_groups[0]["lr"])}
        if self._since is not None:
            self.report["tokens_per_second"] = tokens / max(now - self._since, 1e-9)
        self._since, self._totals = now, StepTotals()
        self.check_report(self.report)

    def check_report(self, report: Mapping[str, float]) -> None:
        """Warn of what is wrong with what a step reports; by default of nothing."""

    def on_train_end(self) -> None:
        """Measure what was trained on what was held out: the loss and all else that a step reports, without dropout."""
        batches = self.held_out_batches()
        if batches is None:
            return
        self.eval()
        totals = StepTotals()
        with torch.no_grad():
            for index in range(len(batches)):
                batch = self.to_device(batches[index])
                loss, shares = self.objective(batch)
                totals.add(batch, {**shares, "loss": loss})
        self.validated = totals.over_devices(self.trainer, self.device)
        del self.validated["tokens"]

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
