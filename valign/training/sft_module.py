"""SFT as a LightningModule: what is computed for a batch."""

from __future__ import annotations

import torch

from valign.training.batches import Batch
from valign.training.losses import sft_loss
from valign.training.training_module import TrainingModule


class SFTModule(TrainingModule):
    """Supervised fine-tuning: mean negative log-likelihood per supervised token of the optimizer step."""

    def objective(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return the batch's share of the mean over the step's tokens; nothing else is reported."""
        return sft_loss(self.logps(batch), batch.tokens_in_step), {}
