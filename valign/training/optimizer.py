"""The optimizer of a training: AdamW, and the schedule of its learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from valign.training.settings import StageSettings


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


def make_optimizer(parameters: Sequence[torch.nn.Parameter], settings: StageSettings, steps: int) -> dict[str, Any]:
    """Return AdamW and the schedule of its learning rate, as Lightning takes them.

    Args:
        parameters: What is trained.
        settings: Their learning_rate, warmup_ratio, schedule and weight_decay count.
        steps: Optimizer steps of the whole training.
    """
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, weight_decay=settings.weight_decay, fused=fused)
    warmup = round(settings.warmup_ratio * steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, warmup, steps, settings.schedule)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
