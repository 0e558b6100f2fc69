"""Trains a stage in its folder, from nothing or from where an earlier call was stopped."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from valign.core.errors import ValignError
from valign.core.files import read_json, write_folder, write_json
from valign.core.out_of_memory import describe_out_of_memory
from valign.core.records import Instruction, Preference
from valign.distributed import signals
from valign.distributed.devices import world_size
from valign.distributed.ranks import Ranks
from valign.models.adapters import save_adapter, save_model
from valign.models.load import load_tokenizer
from valign.training.build import _encode, _module, _plan, _trainable_model, _trainer
from valign.training.callbacks import CURVES, read_curves
from valign.training.data import deal_again
from valign.training.holdout import hold_out
from valign.training.kernels import require_packages
from valign.training.memory_estimate import remedies
from valign.training.modules import TrainingModule
from valign.training.resume import _resume_point
from valign.training.stage import Stage
from valign.training.strategies import quiet
from valign.training.zero import own_elements, whole_state

log = logging.getLogger(__name__)

COUNTS = "counts.json"
FINAL_STEPS = 10
FEW_STEPS = 10
MORE = {
    "sft": "more examples (synthesis.instructions.questions_per_passage) or passes (sft.epochs) make more",
    "dpo": "more pairs (synthesis.preferences.scenarios_per_passage) or passes (dpo.epochs) make more",
}


def fit_sft(
    folder: Path,
    model: Path | str,
    rows: Sequence[Instruction],
    *,
    adapter: Mapping[str, Any],
    settings: Mapping[str, Any],
    trainer: Mapping[str, Any],
    seed: int,
    system_prompt: str | None = None,
    precision: str = "auto",
    initial: Sequence[Path] = (),
    trust_remote_code: bool = False,
    logger: Any = None,
    ranks: Ranks | None = None,
    quantization: str | None = None,
) -> dict[str, Any]:
    """Fine-tune on D_sft and write ``adapter/`` (or ``model/``), ``curves.csv`` and ``counts.json`` to a folder.

    Called again with the same folder, it goes on from the last complete checkpoint, with the same result.

    Args:
        folder: The stage's folder; it exists.
        model: The base model, as ``valign.models.load.prepare_model`` returned it.
        rows: D_sft.
        adapter: Keys kind, rank, alpha, dropout, target_modules.
        settings: Keys epochs, learning_rate, warmup_ratio, batch_size, accumulate, weight_decay, max_grad_norm,
            max_length, schedule; may have validation, the share of the rows to hold out.
        trainer: Keys accelerator, devices, num_nodes, strategy, deepspeed, checkpoint_every, threads; may have
            activation_checkpointing, padding_free, attention and kernels.
        seed: Of shuffling, initial adapter weights and dropout.
        system_prompt: Put before every question; None for none.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        initial: What earlier stages trained, merged into the model in this order.
        trust_remote_code: Run code that comes with a hub model.
        logger: Has Lightning's ``log_metrics``, which gets ``sft/<name>``; None or False for none.
        ranks: The run's processes, all of which call this; None for a single one.
        quantization: ``nf4`` trains an adapter on weights in 4 bits, on a GPU; None leaves them as they are.

    Returns:
        examples, dropped_too_long, steps, supervised_tokens, precision (the one that ``auto`` chose), seconds,
        final_loss (mean of the last ten steps'), and where rows are held out validation_examples and validation_loss,
        in DPO validation_accuracy too; nothing in other processes than the first.

    Raises:
        ValignError: No example is short enough, the loss or a gradient is not finite, a device is missing, or memory
            runs out.
        Interrupted: A signal asked for an end; a checkpoint of the last step is there.
    """
    stage = Stage(
        "sft", folder, model, tuple(initial), adapter, settings, trainer, seed, system_prompt, precision,
        trust_remote_code, logger, ranks or Ranks(), quantization,
    )  # fmt: skip
    return _fit(stage, rows)


def fit_dpo(
    folder: Path,
    model: Path | str,
    rows: Sequence[Preference],
    *,
    adapter: Mapping[str, Any],
    settings: Mapping[str, Any],
    trainer: Mapping[str, Any],
    seed: int,
    system_prompt: str | None = None,
    precision: str = "auto",
    initial: Sequence[Path] = (),
    trust_remote_code: bool = False,
    logger: Any = None,
    ranks: Ranks | None = None,
    quantization: str | None = None,
) -> dict[str, Any]:
    """Optimise preferences on D_pref; the reference is the model with what ``initial`` names merged into it.

    Arguments, result and errors are those of ``fit_sft``; the settings also have beta, label_smoothing and
    sft_weight, may have loss (``sigmoid`` without it) and simpo_gamma, as in ``PreferenceLoss``, and the logger gets
    ``dpo/<name>``. The folder also holds the reference's log-probabilities, where the loss needs them.
    """
    stage = Stage(
        "dpo", folder, model, tuple(initial), adapter, settings, trainer, seed, system_prompt, precision,
        trust_remote_code, logger, ranks or Ranks(), quantization,
    )  # fmt: skip
    return _fit(stage, rows)


def trained(folder: Path) -> bool:
    """Tell whether a stage's folder holds all that training writes."""
    return (folder / COUNTS).is_file()


def _fit(stage: Stage, rows: Sequence[Any]) -> dict[str, Any]:
    """Load, train, save; see ``fit_sft``."""
    if stage.ranks.broadcast(lambda: trained(stage.folder)):
        return dict(read_json(stage.folder / COUNTS)) if stage.ranks.is_first else {}
    began = time.time()
    require_packages(stage.trainer, stage.device, stage.quantization)
    if stage.trainer.get("threads"):
        torch.set_num_threads(int(stage.trainer["threads"]))
    given: dict[str, Any] = {"adapter": stage.adapter, "settings": stage.settings, "trainer": stage.trainer}
    with (
        quiet(),
        describe_out_of_memory(stage.name, partial(remedies, stage.name, **given, gpu=stage.device == "cuda")),
    ):
        tokenizer = load_tokenizer(stage.model, stage.trust_remote_code)
        rows, kept_back = hold_out(rows, float(stage.settings.get("validation", 0)), f"{stage.name}.validation")
        examples, dropped = _encode(stage, tokenizer, rows)
        held_out = _encode(stage, tokenizer, kept_back)[0] if kept_back else []
        world = world_size(stage.trainer)
        begun, start, checkpoint = stage.ranks.broadcast(lambda: _resume_point(stage, examples, world))
        plan = _plan(stage, examples, begun)
        if begun != world:
            log.info("%s: its steps, begun on %d ranks, are dealt to %d", stage.name, begun, world)
            plan = deal_again(plan, int(stage.settings["batch_size"]), world)
        trainer = _trainer(stage, plan, start)
        model = _trainable_model(stage, trainer)
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        module = _module(stage, model, examples, plan, int(pad), start, held_out)
        log.info("%s: %d examples (%d too long), %d steps", stage.name, len(examples), dropped, len(plan))
        if len(plan) < FEW_STEPS:
            log.warning("%s: %d steps are few and may teach little; %s", stage.name, len(plan), MORE[stage.name])
        if checkpoint is not None:
            log.info("%s: going on from step %d", stage.name, start)
        with signals.defer_signals():
            try:
                trainer.fit(module, ckpt_path=checkpoint, weights_only=False)
            except SystemExit as ended:
                if isinstance(ended.__context__, KeyboardInterrupt):  # which Lightning turns into an exit
                    raise KeyboardInterrupt from None
                raise
        if trainer.global_step < len(plan):
            raise ValignError(f"{stage.name} stopped at step {trainer.global_step} of {len(plan)}; start it again.")
        held = stage.ranks.gather(_held(module, trainer))
        _save(stage, module, trainer)
    tokens = sum(examples[i].supervised for step in plan for part in step for i in part)
    found: dict[str, float] = {"validation_examples": len(held_out)} if held_out else {}
    found |= {f"validation_{name}": module.validated[name] for name in ("loss", "accuracy") if name in module.validated}
    counts = _finish(stage, trainer, len(examples), dropped, len(plan), tokens, time.time() - began, held, found)
    stage.ranks.broadcast(lambda: None)  # until the counts are written
    return counts


def _save(stage: Stage, module: TrainingModule, trainer: pl.Trainer) -> None:
    """Write ``adapter/`` or ``model/`` in one step, from the first device."""
    whole = stage.adapter["kind"] == "none"
    target = stage.folder / ("model" if whole else "adapter")
    with whole_state(module.model, keep=trainer.is_global_zero) as state:
        if trainer.is_global_zero:
            with write_folder(target) as partial:
                (save_model if whole else save_adapter)(module.model, partial, state)
    trainer.strategy.barrier()


def _held(module: TrainingModule, trainer: pl.Trainer) -> dict[str, int]:
    """Return how many numbers this process holds: parameters, and what the optimizer keeps of them."""
    inner = getattr(trainer.optimizers[0], "optimizer", trainer.optimizers[0])
    kept = [value for state in inner.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    return {
        "parameters": own_elements(list(module.model.parameters())),
        "optimizer": sum(value.numel() for value in kept if value.dim()),
    }


def _finish(
    stage: Stage,
    trainer: pl.Trainer,
    examples: int,
    dropped: int,
    steps: int,
    tokens: int,
    seconds: float,
    held: Sequence[Mapping[str, int]],
    found: Mapping[str, float],
) -> dict[str, Any]:
    """Write and return the counts; remove the checkpoints. All of that is the first process's."""
    if not trainer.is_global_zero:
        return {}
    losses = [value for _, name, value in read_curves(stage.folder / CURVES) if name == "loss"][-FINAL_STEPS:]
    counts = {
        "examples": examples,
        "dropped_too_long": dropped,
        "steps": steps,
        "supervised_tokens": tokens,
        "precision": str(stage.compute).removeprefix("torch."),
        "seconds": round(seconds, 1),
        "final_loss": sum(losses) / len(losses),
        **found,
        **({"held_by_rank": list(held)} if stage.ranks.world_size > 1 else {}),
    }
    write_json(stage.folder / COUNTS, counts)
    shutil.rmtree(stage.folder / "checkpoints", ignore_errors=True)
    return counts
