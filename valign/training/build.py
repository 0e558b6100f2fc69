"""What a training needs before its first step: model, data, plan, module and trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from valign.distributed.devices import own_device
from valign.models.adapters import add_adapter
from valign.models.load import load_quantized, policy
from valign.models.packing import can_share, require_padding_free
from valign.training.activation_checkpointing import recompute_activations
from valign.training.callbacks import Curves, Progress
from valign.training.checkpoints import Checkpoints
from valign.training.data import (
    Example,
    Plan,
    PlannedBatches,
    encode_instructions,
    encode_preferences,
    make_plan,
    one_step,
)
from valign.training.fused import fuse
from valign.training.kernels import apply_kernels
from valign.training.modules import DPOModule, SFTModule, TrainingModule
from valign.training.reference import reference_logps
from valign.training.stage import Stage
from valign.training.strategies import make_trainer, zero_stage
from valign.training.zero import sharded_policy


def _trainable_model(stage: Stage, trainer: pl.Trainer) -> Any:
    """Load the stage's start, under ZeRO-3 in shards, and make it trainable."""
    kind = stage.trainer.get("attention")
    stored = torch.float32 if stage.adapter["kind"] == "none" else stage.compute
    below: Sequence[Path] = ()
    if stage.quantization:
        device, below = own_device(str(stage.trainer["accelerator"]), stage.ranks), stage.initial
        model: Any = load_quantized(stage.model, stored, stage.trust_remote_code, device, kind, stage.quantization)
    elif zero_stage(stage.trainer) == 3:
        trainer.strategy.setup_environment()
        model = sharded_policy(
            stage.model, stage.initial, stored, stage.trust_remote_code, stage.trainer["deepspeed"], kind
        )
    else:
        options: dict[str, Any] = {"move": False, "attend": kind}
        model, _ = policy(stage.model, stage.initial, stored, stage.trust_remote_code, stage.device, **options)
    if stage.trainer.get("padding_free"):
        require_padding_free(model)
    if stage.trainer.get("kernels"):
        apply_kernels(model)
    keys = ("kind", "rank", "alpha", "dropout", "target_modules")
    adapted = add_adapter(model, **{key: stage.adapter[key] for key in keys}, seed=stage.seed, below=below)
    if stage.device == "cpu":
        fuse(adapted)
    if stage.trainer.get("activation_checkpointing"):
        recompute_activations(adapted)
    return adapted


def _encode(stage: Stage, tokenizer: Any, rows: Sequence[Any]) -> tuple[list[Example], int]:
    encode: Callable[..., tuple[list[Example], int]] = encode_instructions
    if stage.name == "dpo":
        encode = encode_preferences
    return encode(tokenizer, rows, stage.system_prompt, int(stage.settings["max_length"]))


def _plan(stage: Stage, examples: Sequence[Example], world: int) -> Plan:
    s = stage.settings
    return make_plan(
        [e.length for e in examples], int(s["batch_size"]), int(s["accumulate"]), world, float(s["epochs"]), stage.seed
    )


def _module(
    stage: Stage, model: Any, examples: Sequence[Example], plan: Plan, pad: int, start: int, held_out: Sequence[Example]
) -> TrainingModule:
    """Build the stage's LightningModule."""
    s = stage.settings
    shared = {key: s[key] for key in ("learning_rate", "warmup_ratio", "schedule", "weight_decay")}
    shared |= {"seed": stage.seed, "compute": stage.compute, "start": start}
    shared["padding_free"] = stage.trainer.get("padding_free")
    batches = partial(PlannedBatches, examples, plan, pad, share=can_share(model))
    if held_out:
        once = one_step([e.length for e in held_out], int(s["batch_size"]), stage.ranks.world_size)
        shared["validation"] = partial(PlannedBatches, held_out, once, pad, share=can_share(model))
    if stage.name == "sft":
        return SFTModule(model, batches, **shared)
    own: dict[str, Any] = {key: float(s[key]) for key in ("beta", "label_smoothing", "sft_weight")}
    own |= {key: s[key] for key in ("loss", "simpo_gamma") if key in s}
    reference = partial(reference_logps, folder=stage.folder, ranks=stage.ranks)
    return DPOModule(model, batches, **own, reference=reference, **shared)


def _trainer(stage: Stage, plan: Plan, start: int) -> pl.Trainer:
    callbacks = [
        Curves(stage.folder, stage.name, start, stage.logger),
        Checkpoints(stage.folder / "checkpoints", int(stage.trainer["checkpoint_every"]), len(plan)),
        Progress(stage.name, len(plan), start),
    ]
    return make_trainer(
        stage.trainer,
        compute=stage.compute,
        accumulate=len(plan[0]) // stage.ranks.world_size,
        max_grad_norm=float(stage.settings["max_grad_norm"]),
        callbacks=callbacks,
        ranks=stage.ranks,
        weights=stage.weights,
    )
