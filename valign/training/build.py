"""What a training needs before its first step: data, plan, model, module and trainer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch

from valign.core.records import Instruction, Preference
from valign.distributed.devices import own_device
from valign.models.adapters import add_adapter, keep_input_dtype
from valign.models.load import load_config, load_quantized, load_tokenizer
from valign.models.packing import FLASH, lay_out, require_padding_free, supports_custom_masks
from valign.models.policy import find_start, holds_updates, load_policy
from valign.models.stacked_adapters import is_stackable, put_below
from valign.models.template_traits import shown_date
from valign.models.varlen import training_implementation
from valign.training.activation_checkpointing import checkpoint_activations
from valign.training.batches import PlannedBatches
from valign.training.callbacks import Curves, TrainingProgress
from valign.training.checkpoints import Checkpoints
from valign.training.dpo_module import DPOModule
from valign.training.examples import EncodedExample, encode_instructions, encode_preferences
from valign.training.fused_layers import fuse_layers, fuse_linear_layers
from valign.training.holdout import hold_out
from valign.training.kernels import apply_kernels
from valign.training.plan import Plan, fill_batches, make_plan, plan_one_step
from valign.training.reference import reference_logps
from valign.training.settings import DPOSettings
from valign.training.sft_module import SFTModule
from valign.training.stage import Stage
from valign.training.strategies import make_trainer
from valign.training.training_module import TrainingModule
from valign.training.zero import fetch_weights, load_sharded


@dataclass(frozen=True)
class StageData:
    """A stage's rows as tokens.

    Attributes:
        examples: What is trained on.
        held_out: What the trained model is measured on.
        dropped: How many rows to train on were longer than ``max_length``.
        padding: Token id to pad with.
        date: The day that the chat template shows in every prompt; None where it shows none.
    """

    examples: list[EncodedExample]
    held_out: list[EncodedExample]
    dropped: int
    padding: int
    date: str | None = None


def encode_stage(stage: Stage, rows: Sequence[Instruction] | Sequence[Preference]) -> StageData:
    """Hold out rows for validation, and render all rows with the model's chat template.

    Raises:
        ValignError: No example is short enough, or none is held out where some should be.
    """
    tokenizer = load_tokenizer(stage.model, stage.trust_remote_code)
    trained, held_out = hold_out(cast(Sequence[Any], rows), stage.settings.validation, f"{stage.name}.validation")
    encode: Any = encode_instructions
    if isinstance(stage.settings, DPOSettings):
        encode = partial(encode_preferences, pivotal=stage.settings.tokens == "pivotal")
    options = (stage.system_prompt, stage.settings.max_length)
    examples, dropped = encode(tokenizer, trained, *options)
    held_out = encode(tokenizer, held_out, *options)[0] if held_out else []
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return StageData(examples, held_out, dropped, int(padding), shown_date(tokenizer))


def plan_stage(stage: Stage, examples: Sequence[EncodedExample], world: int) -> Plan:
    """Lay out the stage's optimizer steps for a number of devices."""
    s = stage.settings
    return make_plan([e.length for e in examples], s.batch_size, s.accumulate, world, s.epochs, stage.seed)


def fill_stage(stage: Stage, examples: Sequence[EncodedExample], plan: Plan) -> Plan:
    """Fill a plan's batches by tokens, where the stage says how many; its steps stay what they are."""
    if stage.settings.batch_tokens is None:
        return plan
    apart = stage.trainer.attention == FLASH  # which has a row for each answer of a pair
    tokens = [e.tokens_apart if apart else e.tokens for e in examples]
    return fill_batches(plan, tokens, stage.settings.batch_tokens, stage.trainer.world_size)


def load_trainable(stage: Stage, trainer: pl.Trainer, undo: ExitStack) -> Any:
    """Load the model that the stage starts from, under ZeRO-3 in shards, and make it trainable.

    Args:
        stage: The stage.
        trainer: What will train it; under ZeRO-3 its processes are connected here.
        undo: To be closed after the training: puts back what was replaced in libraries for it.

    Raises:
        ValignError: The model cannot be loaded, or does not go with the settings.
    """
    stored = torch.float32 if stage.adapter.is_full else stage.compute
    source, earlier = find_start(stage.model, stage.initial)
    device = own_device(stage.trainer.accelerator, stage.ranks)
    attention = stage.trainer.attention or training_implementation(
        load_config(source, stage.trust_remote_code), stage.device, stage.compute, stage.trainer.padding_free
    )
    is_sharded = stage.trainer.zero_stage == 3
    # added to weights of 4 or 16 bits, an earlier adapter would lose what is smaller than their last digit
    is_below = stage.quantization or is_sharded or (not holds_updates(stored) and is_stackable(earlier))
    if stage.quantization:
        model: Any = load_quantized(source, stored, stage.trust_remote_code, device, attention, stage.quantization)
    elif is_sharded:
        stage.ranks.broadcast(lambda: fetch_weights(source))  # nobody waits for it inside a collective operation
        trainer.strategy.setup_environment()
        model = load_sharded(source, stored, stage.trust_remote_code, stage.trainer.deepspeed or {}, attention)
    else:
        merged = [] if is_below else earlier
        model, _ = load_policy(source, merged, stored, stage.trust_remote_code, device, attention=attention)
    if stage.trainer.padding_free:
        require_padding_free(model)
    if stage.trainer.kernels:
        apply_kernels(model, undo)
    without = {"dropout": 0.0} if isinstance(stage.settings, DPOSettings) else {}  # DPO trains without
    adapted = add_adapter(model, **asdict(stage.adapter) | without, seed=stage.seed)
    if earlier and is_below:
        put_below(adapted, earlier)
    if stage.device == "cpu":
        fuse_layers(adapted)
    elif stage.trainer.strategy != "deepspeed":
        keep_input_dtype(adapted)
        fuse_linear_layers(adapted)
    if stage.trainer.activation_checkpointing:
        checkpoint_activations(adapted)
    return adapted


def build_module(stage: Stage, model: Any, data: StageData, plan: Plan, start: int) -> TrainingModule:
    """Build the stage's LightningModule.

    Args:
        stage: The stage.
        model: What ``load_trainable`` returned.
        data: The stage's rows as tokens.
        plan: The optimizer steps.
        start: Steps made before.
    """
    laid_out = partial(lay_out, model, padding_free=stage.trainer.padding_free)
    given: dict[str, Any] = {"share": supports_custom_masks(model), "lay_out": laid_out}
    batches = partial(PlannedBatches, data.examples, plan, data.padding, **given)
    options: dict[str, Any] = {"seed": stage.seed, "compute": stage.compute, "start": start}
    if data.held_out:
        once = plan_one_step([e.length for e in data.held_out], stage.settings.batch_size, stage.ranks.world_size)
        once = fill_stage(stage, data.held_out, once)
        options["validation"] = partial(PlannedBatches, data.held_out, once, data.padding, **given)
    if isinstance(stage.settings, DPOSettings):
        reference = partial(reference_logps, folder=stage.folder, ranks=stage.ranks)
        return DPOModule(model, batches, stage.settings, reference, **options)
    return SFTModule(model, batches, stage.settings, **options)


def build_trainer(stage: Stage, plan: Plan, start: int) -> pl.Trainer:
    """Build Lightning's Trainer for a plan of which ``start`` steps are made already."""
    callbacks = [
        Curves(stage.folder, stage.name, start, stage.logger or None),
        Checkpoints(stage.folder / "checkpoints", stage.trainer.checkpoint_every, len(plan)),
        TrainingProgress(stage.name, len(plan), start),
    ]
    return make_trainer(
        stage.trainer,
        compute=stage.compute,
        gradient_accumulation=len(plan[0]) // stage.ranks.world_size,
        max_grad_norm=stage.settings.max_grad_norm,
        callbacks=callbacks,
        ranks=stage.ranks,
        weights=stage.deepspeed_weights,
    )
