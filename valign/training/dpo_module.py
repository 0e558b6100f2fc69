"""DPO as a LightningModule: what is computed for a batch, and what a step reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch

from valign.training.batches import Batch
from valign.training.losses import sft_loss
from valign.training.preference import PreferenceLoss
from valign.training.settings import DPOSettings
from valign.training.supervised_logps import pair_lengths, pair_logps
from valign.training.training_module import BatchesOf, TrainingModule

log = logging.getLogger(__name__)

LOW_REWARD = -5.0

FindReference = Callable[["DPOModule"], Mapping[str, tuple[float, float]]]


class DPOModule(TrainingModule):
    """Preference optimisation: DPO and its variants, against log-probabilities of a reference, computed beforehand.

    Every dropout is off. The model as it comes is the reference, where the loss needs one.

    Args:
        model: Its trainable parameters are trained, in float32.
        batches: Called with rank and number of devices, returns the batches of one.
        settings: Of the optimizer and the loss.
        find_reference: Called with this module on every device before the first step; returns the summed reference
            log-probabilities (chosen, rejected) by example id. Not called for a loss without reference.
        **options: Keyword arguments of ``TrainingModule``.
    """

    def __init__(
        self, model: Any, batches: BatchesOf, settings: DPOSettings, find_reference: FindReference, **options: Any
    ) -> None:
        super().__init__(model, batches, settings, **options)
        self.loss, self.sft_weight = PreferenceLoss(settings), settings.sft_weight
        self.find_reference = find_reference
        self.reference: Mapping[str, tuple[float, float]] = {}
        self._has_warned = False
        self.train()

    def train(self, mode: bool = True) -> DPOModule:
        """Keep the model in evaluation mode, in which no dropout of any kind is active."""
        super().train(mode)
        self.model.eval()
        return self

    def on_train_start(self) -> None:
        """Find the reference log-probabilities, where the loss needs them."""
        if self.loss.needs_reference:
            self.reference = self.find_reference(self)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Put what the reference says into a batch, which then moves to the device as a whole."""
        if not self.reference:
            return batch
        return batch._replace(reference=torch.tensor([self.reference[e] for e in batch.example_ids]))

    def pair_logps(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the summed log-probabilities of the batch's chosen and rejected answers, each (pairs,)."""
        return pair_logps(self.logps(batch), batch.segments, batch.mask, len(batch.example_ids))

    def objective(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the batch's share of the mean over the step's pairs, and what is watched."""
        chosen, rejected = self.pair_logps(batch)
        lengths = pair_lengths(batch.segments, batch.mask, len(batch.example_ids))
        reference = None
        if self.loss.needs_reference:
            assert batch.reference is not None
            reference = batch.reference[:, 0], batch.reference[:, 1]
        losses, chosen_rewards, rejected_rewards = self.loss((chosen, rejected), reference, lengths)
        if self.trainer.global_step == 0:
            self.loss.require_start_at_reference(losses, batch.example_ids)
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

    def check_report(self, report: Mapping[str, float]) -> None:
        """Warn once when the chosen answers have become much less likely than under the reference."""
        if self.loss.needs_reference and report["chosen_reward"] < LOW_REWARD and not self._has_warned:
            self._has_warned = True
            log.warning(
                "DPO: the chosen reward is %.1f: chosen answers have become much less likely than under the reference; "
                "lower dpo.learning_rate, or raise dpo.beta or dpo.sft_weight.",
                report["chosen_reward"],
            )
