"""Trains a stage in its folder, from nothing or from where an earlier call was stopped."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch

from valign.core.errors import ValignError
from valign.core.files import read_json, write_json
from valign.core.folders import write_folder
from valign.core.out_of_memory import describe_out_of_memory
from valign.core.records import Instruction, Preference
from valign.distributed import signals
from valign.models.adapters import save_adapter, save_model
from valign.training.build import (
    StageData,
    build_module,
    build_trainer,
    encode_stage,
    fill_stage,
    load_trainable,
    plan_stage,
)
from valign.training.callbacks import CURVES_FILE, read_curves
from valign.training.kernels import require_packages
from valign.training.memory_estimate import memory_remedies
from valign.training.plan import Plan, redistribute
from valign.training.resume import find_resume_point
from valign.training.stage import COUNTS, Stage, is_trained
from valign.training.strategies import quiet_lightning
from valign.training.training_module import TrainingModule
from valign.training.zero import count_local_elements, gather_trained_weights

log = logging.getLogger(__name__)

FINAL_STEPS = 10
FEW_STEPS = 10
MORE = {
    "sft": "more examples (synthesis.instructions.questions_per_passage) or passes (sft.epochs) make more",
    "dpo": "more pairs (synthesis.preferences.scenarios_per_passage) or passes (dpo.epochs) make more",
}


def fit(stage: Stage, rows: Sequence[Instruction] | Sequence[Preference]) -> dict[str, Any]:
    """Train a stage and write ``adapter/`` (or ``model/``), ``curves.csv`` and ``counts.json`` to its folder.

    Called again with the same folder, it goes on from the last complete checkpoint, with the same result. In DPO, the
    folder also holds the reference's log-probabilities, where the loss needs them.

    Args:
        stage: The model, the settings and the folder.
        rows: D_sft for SFT, D_pref for DPO.

    Returns:
        examples, dropped_too_long, steps, supervised_tokens, precision (the one that ``auto`` chose),
        template_date (where the chat template shows one), seconds,
        final_loss (mean of the last ten steps'), and where rows are held out validation_examples and validation_loss,
        in DPO validation_accuracy too; nothing in other processes than the first.

    Raises:
        ValignError: No example is short enough, the loss or a gradient is not finite, a device is missing, or memory
            runs out.
        Interrupted: A signal asked for an end; a checkpoint of the last step is there.
    """
    if stage.ranks.broadcast(lambda: is_trained(stage.folder)):
        return dict(read_json(stage.folder / COUNTS)) if stage.ranks.is_first else {}
    began = time.monotonic()
    require_packages(stage.trainer, stage.device, stage.quantization)
    if stage.trainer.threads:
        torch.set_num_threads(stage.trainer.threads)
    on_gpu = stage.device == "cuda"
    remedies = partial(memory_remedies, stage.name, stage.adapter, stage.settings, stage.trainer, on_gpu)
    with ExitStack() as undo, quiet_lightning(), describe_out_of_memory(stage.name, remedies):
        data = encode_stage(stage, rows)
        plan, start, checkpoint = _plan(stage, data)
        trainer = build_trainer(stage, plan, start)
        module = build_module(stage, load_trainable(stage, trainer, undo), data, plan, start)
        _announce(stage, data, plan, start)
        _train(stage, module, trainer, checkpoint)
        held = stage.ranks.gather(_held(module, trainer))
        _save(stage, module, trainer)
        module.model = None  # the trainer and its module hold each other; what answers next needs the memory
    counts = _count(stage, data, plan) | {"seconds": round(time.monotonic() - began, 1)}
    if trainer.is_global_zero:
        counts |= _results(stage, module, data, held)
        write_json(stage.folder / COUNTS, counts)
        shutil.rmtree(stage.folder / "checkpoints", ignore_errors=True)
    stage.ranks.broadcast(lambda: None)  # until the counts are written
    return counts if trainer.is_global_zero else {}


def _plan(stage: Stage, data: StageData) -> tuple[Plan, int, str | None]:
    """Return the plan for the devices at hand, and the step and the checkpoint from which training goes on."""
    world = stage.trainer.world_size
    begun, start, checkpoint = stage.ranks.broadcast(lambda: find_resume_point(stage, data.examples, world))
    plan = plan_stage(stage, data.examples, begun)
    if begun != world:
        log.info("%s: its steps, begun on %d ranks, are redistributed over %d", stage.name, begun, world)
        plan = redistribute(plan, stage.settings.batch_size, world)
    return fill_stage(stage, data.examples, plan), start, checkpoint


def _announce(stage: Stage, data: StageData, plan: Plan, start: int) -> None:
    log.info("%s: %d examples (%d too long), %d steps", stage.name, len(data.examples), data.dropped, len(plan))
    if len(plan) < FEW_STEPS:
        log.warning("%s: %d steps are few and may teach little; %s", stage.name, len(plan), MORE[stage.name])
    if start:
        log.info("%s: going on from step %d", stage.name, start)


def _train(stage: Stage, module: TrainingModule, trainer: pl.Trainer, checkpoint: str | None) -> None:
    with signals.defer_signals():
        try:
            trainer.fit(module, ckpt_path=checkpoint, weights_only=False)
        except SystemExit as ended:
            if isinstance(ended.__context__, KeyboardInterrupt):  # which Lightning turns into an exit
                raise KeyboardInterrupt from None
            raise
    if trainer.global_step < module.total_steps:
        raise ValignError(
            f"{stage.name} stopped at step {trainer.global_step} of {module.total_steps}; start it again."
        )


def _save(stage: Stage, module: TrainingModule, trainer: pl.Trainer) -> None:
    """Write ``adapter/`` or ``model/`` in one step, from the first device."""
    target = stage.folder / ("model" if stage.adapter.is_full else "adapter")
    with gather_trained_weights(module.model, keep=trainer.is_global_zero) as state:
        if trainer.is_global_zero:
            with write_folder(target) as partial:
                (save_model if stage.adapter.is_full else save_adapter)(module.model, partial, state)
    trainer.strategy.barrier()


def _held(module: TrainingModule, trainer: pl.Trainer) -> dict[str, int]:
    """Return how many numbers this process holds: parameters, and what the optimizer keeps of them."""
    inner = getattr(trainer.optimizers[0], "optimizer", trainer.optimizers[0])
    kept = [value for state in inner.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    return {
        "parameters": count_local_elements(list(module.model.parameters())),
        "optimizer": sum(value.numel() for value in kept if value.dim()),
    }


def _count(stage: Stage, data: StageData, plan: Plan) -> dict[str, Any]:
    """Return what went into the training."""
    return {
        "examples": len(data.examples),
        "dropped_too_long": data.dropped,
        "steps": len(plan),
        "supervised_tokens": sum(data.examples[i].supervised for step in plan for part in step for i in part),
        "precision": str(stage.compute).removeprefix("torch."),
        **({"template_date": data.date} if data.date else {}),
    }


def _results(
    stage: Stage, module: TrainingModule, data: StageData, held: Sequence[Mapping[str, int]]
) -> dict[str, Any]:
    """Return the final loss, what validation found, and what each of several processes held."""
    losses = [value for _, name, value in read_curves(stage.folder / CURVES_FILE) if name == "loss"][-FINAL_STEPS:]
    found: dict[str, Any] = {"final_loss": sum(losses) / len(losses)}
    if data.held_out:
        found["validation_examples"] = len(data.held_out)
    for name in ("loss", "accuracy"):
        if name in module.validated:
            found[f"validation_{name}"] = module.validated[name]
    return found | ({"held_by_rank": list(held)} if stage.ranks.world_size > 1 else {})
