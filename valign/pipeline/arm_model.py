"""The model of an arm, loaded to answer, and what helps where memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valign.core.out_of_memory import suggest_half
from valign.distributed.devices import own_device
from valign.models.policy import load_policy
from valign.pipeline.context import Context


def load_arm(context: Context, weights: Sequence[Path]) -> tuple[Any, Any]:
    """Load the model that some stages have left, and its tokenizer, on this process's device."""
    base = context.settings.base_model
    device = own_device(context.settings.trainer.accelerator, context.ranks)
    kept = base.precision, base.trust_remote_code, device
    return load_policy(context.model_path, weights, *kept, quantization=base.quantization)


def answering_remedies(context: Context) -> list[str]:
    """Say which settings lower the memory that answering takes."""
    evaluation = context.settings.evaluation
    found = [
        suggest_half("evaluation.batch_tokens", evaluation.batch_tokens),
        suggest_half("evaluation.max_new_tokens", evaluation.max_new_tokens),
    ]
    if context.settings.base_model.precision == "float32":
        found.append("set base_model.precision=bfloat16")
    return found
