"""SFT and DPO as LightningModules: what is computed for a batch, and what a step reports."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from valign.core.errors import ValignError
from valign.training.data import Batch, PlannedBatches
from valign.training.losses import pair_lengths, pair_logps, sft_loss, supervised_logps
from valign.training.preference import PreferenceLoss

log = logging.getLogger(__name__)

LOW_REWARD = -5.0

BatchesOf = Callable[[int, int], PlannedBatches]


def learning_rate_factor(step: int, warmup: int, total: int, schedule: str) -> float:
    """Return the share of the highest learning rate that a step uses.

    It rises linearly over the first ``warmup`` steps, then stays (``constant``) or falls towards zero, which it would
    reach one step after the last (``linear``, ``cosine``).

    Args:
        step: Optimizer step, counted from 0.
        warmup: Number of steps in which it rises.
        total: Number of steps in all.
        schedule: ``linear``, ``cosine`` or ``constant``.
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[schedule]


class TrainingModule(pl.LightningModule):
    """What SFT and DPO share: the optimizer, the data's order, seeds, checks and reports.

    A batch's loss is a sum divided by the totals of the whole optimizer step, so that how the step is dealt to
    devices and accumulated batches makes no difference.

    Args:
        model: Its trainable parameters are trained, in float32.
        batches: Called with rank and number of devices, returns the batches of one.
        start: Optimizer step that comes first, more than 0 after a resume.
        validation: As ``batches``, of what is held out: one optimizer step, which is not made; None for nothing.
        learning_rate: Highest value of the schedule.
        warmup_ratio: Share of the steps in which the rate rises.
        schedule: As in ``learning_rate_factor``.
        weight_decay: Of AdamW.
        seed: Of dropout.
        compute: dtype of matrix products; bfloat16 is used by autocast.
        padding_free: As in ``supervised_logps``.
    """

    def __init__(
        self,
        model: Any,
        batches: BatchesOf,
        *,
        learning_rate: float,
        warmup_ratio: float,
        schedule: str,
        weight_decay: float = 0.0,
        seed: int = 0,
        compute: torch.dtype = torch.float32,
        start: int = 0,
        validation: BatchesOf | None = None,
        padding_free: bool | None = None,
    ) -> None:
        """Keep the settings; the optimizer is made when the fit starts."""
        super().__init__()
        self.model = model
        self.batches, self.start, self.seed, self.compute_dtype = batches, start, seed, compute
        self.learning_rate, self.warmup_ratio, self.schedule = learning_rate, warmup_ratio, schedule
        self.weight_decay, self.padding_free = weight_decay, padding_free
        self.total_steps = len(batches(0, 1).plan)
        self.report: dict[str, float] | None = None
        self.validation = validation
        self.validated: dict[str, float] = {}
        self.trained_tokens = 0
        self.strict_loading = False
        self._sums: dict[str, torch.Tensor] = {}
        self._examples: list[str] = []
        self._last = False
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
        batches = self.own_batches()
        return batches.loader(self.start * batches.accumulate)

    def configure_optimizers(self) -> Any:
        """Return AdamW over the trainable parameters, and the schedule of its learning rate by step."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
        optimizer = torch.optim.AdamW(parameters, self.learning_rate, weight_decay=self.weight_decay, fused=fused)
        warmup, total, schedule = round(self.warmup_ratio * self.total_steps), self.total_steps, self.schedule
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, warmup, total, schedule)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

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
        self._examples += batch.example_ids
        if not bool(torch.isfinite(loss)):
            raise self._not_finite("loss")
        tokens = (batch.segments > 0).sum()
        for name, value in {**shares, "loss": loss.detach(), "tokens": tokens}.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach().float().cpu().double() * batch.weight
        self._last = batch.last
        return loss * batch.weight * batch.parts

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Check the gradients and report the step.

        Raises:
            ValignError: A gradient is not finite.
        """
        if not self._last:
            return
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if gradients else None
        if norm is not None and not bool(torch.isfinite(norm)):
            raise self._not_finite("gradient")
        sums = {name: self._over_devices(value) for name, value in self._sums.items()}
        now = time.perf_counter()
        tokens = sums.pop("tokens")
        self.trained_tokens += int(tokens)
        self.report = {
            **sums,
            "learning_rate": float(optimizer.param_groups[0]["lr"]),
            **({} if norm is None else {"grad_norm": float(norm)}),
            "tokens_per_second": tokens / max(now - self._since, 1e-9),
        }
        self._since, self._sums, self._examples = now, {}, []
        self.check(self.report)

    def check(self, report: Mapping[str, float]) -> None:
        """Look at what a step reports."""

    def on_train_start(self) -> None:
        """Start the clock of the first step."""
        self._since = time.perf_counter()

    def on_train_end(self) -> None:
        """Measure what was trained on what was held out: the loss and all else that a step reports, without dropout."""
        batches = self.held_out_batches()
        if batches is None:
            return
        self.eval()
        sums: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for index in range(len(batches)):
                batch: Batch = self.trainer.strategy.batch_to_device(batches[index])
                loss, shares = self.objective(batch)
                for name, value in {**shares, "loss": loss}.items():
                    sums[name] = sums.get(name, 0) + value.float().cpu().double() * batch.weight
        self.validated = {name: self._over_devices(value) for name, value in sums.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count the batches made before as they are dealt now: on other devices a step has another number of them."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        more = self.start * self.own_batches().accumulate - progress["current"]["ready"]
        for counts in (progress["total"], progress["current"]):
            counts.update({name: value + more for name, value in counts.items()})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the frozen weights out of checkpoints."""
        frozen = {name for name, p in self.named_parameters(remove_duplicate=False) if not p.requires_grad}
        state = checkpoint.get("state_dict", {})
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name not in frozen}

    def _over_devices(self, value: torch.Tensor) -> float:
        if self.trainer.world_size == 1:
            return float(value)
        total = self.trainer.strategy.reduce(value.float().to(self.device), reduce_op="sum")
        return float(total)

    def _not_finite(self, what: str) -> ValignError:
        shown = ", ".join(self._examples[:16]) + (", ..." if len(self._examples) > 16 else "")
        return ValignError(
            f"the {what} of optimizer step {self.trainer.global_step} is not finite; examples: {shown}; "
            "lower the learning rate, or set base_model.precision=float32."
        )


class SFTModule(TrainingModule):
    """Supervised fine-tuning: mean negative log-likelihood per supervised token of the optimizer step."""

    def objective(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the batch's share of the mean over the step's tokens; nothing else is reported."""
        return sft_loss(self.logps(batch), batch.tokens_in_step), {}


class DPOModule(TrainingModule):
    """Preference optimisation: DPO and its kin, against reference log-probabilities computed before the first step.

    Every dropout is off. The model as it comes is the reference, where the loss needs one.

    Args:
        model: As in ``TrainingModule``.
        batches: As in ``TrainingModule``.
        beta: As in the loss; in ``sigmoid``, strength of the pull to the reference policy.
        label_smoothing: Assumed share of pairs whose preference is wrong.
        sft_weight: Weight of the chosen answers' SFT loss, which is added.
        reference: Called with this module on every device before the first step; returns the summed reference
            log-probabilities (chosen, rejected) by example id. Not called for a loss without reference.
        loss: As in ``PreferenceLoss``.
        simpo_gamma: As in ``PreferenceLoss``.
        **options: As in ``TrainingModule``.
    """

    def __init__(
        self,
        model: Any,
        batches: BatchesOf,
        *,
        beta: float,
        label_smoothing: float,
        sft_weight: float,
        reference: Callable[[DPOModule], Mapping[str, tuple[float, float]]],
        loss: str = "sigmoid",
        simpo_gamma: float | None = None,
        **options: Any,
    ) -> None:
        """Keep the settings, and switch dropout off."""
        super().__init__(model, batches, **options)
        self.loss, self.sft_weight = PreferenceLoss(loss, beta, label_smoothing, simpo_gamma), sft_weight
        self.find_reference = reference
        self.reference: Mapping[str, tuple[float, float]] = {}
        self._warned = False
        self.train()

    def train(self, mode: bool = True) -> DPOModule:
        """Keep the model in evaluation mode, in which no dropout of any kind is active."""
        super().train(mode)
        self.model.eval()
        return self

    def on_train_start(self) -> None:
        """Find the reference log-probabilities, where the loss needs them, then start the clock."""
        if self.loss.needs_reference:
            self.reference = self.find_reference(self)
        super().on_train_start()

    def pair_logps(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the summed log-probabilities of the batch's chosen and rejected answers, each (pairs,)."""
        return pair_logps(self.logps(batch), batch.segments, batch.mask, len(batch.example_ids))

    def objective(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the batch's share of the mean over the step's pairs, and what is watched."""
        chosen, rejected = self.pair_logps(batch)
        lengths = pair_lengths(batch.segments, batch.mask, len(batch.example_ids))
        reference = None
        if self.loss.needs_reference:
            known = chosen.new_tensor([self.reference[e] for e in batch.example_ids])
            reference = known[:, 0], known[:, 1]
        losses, chosen_rewards, rejected_rewards = self.loss((chosen, rejected), reference, lengths)
        if self.trainer.global_step == 0:
            self.loss.require_start(losses, batch.example_ids)
        margins = chosen_rewards - rejected_rewards
        watched = {
            "accuracy": (margins > 0).float(),
            "margin": margins,
            "chosen_reward": chosen_rewards,
            "rejected_reward": rejected_rewards,
            "chosen_logp": chosen,
            "rejected_logp": rejected,
        }
        loss = losses.sum() / batch.examples_in_step + self.sft_weight * sft_loss(chosen, batch.tokens_in_step)
        return loss, {name: value.sum() / batch.examples_in_step for name, value in watched.items()}

    def check(self, report: Mapping[str, float]) -> None:
        """Warn once when the chosen answers have become much less likely than under the reference."""
        if self.loss.needs_reference and report["chosen_reward"] < LOW_REWARD and not self._warned:
            self._warned = True
            log.warning(
                "DPO: the chosen reward is %.1f: chosen answers have become much less likely than under the reference; "
                "lower dpo.learning_rate, or raise dpo.beta or dpo.sft_weight.",
                report["chosen_reward"],
            )
