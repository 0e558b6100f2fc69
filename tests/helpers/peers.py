"""TRL's trainers on the tiny random model, with valign's tokens, batches and initial adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tiny
import torch

from valign.core.records import Preference
from valign.models.adapters import add_adapter
from valign.models.load import load_model
from valign.training.batches import PlannedBatches
from valign.training.examples import EncodedExample
from valign.training.plan import make_plan
from valign.training.supervised_logps import supervised_logps

SEED = 3


def preferences(number: int) -> list[Preference]:
    """Return pairs whose answers differ in length, and of which every other begins with the same words."""
    return [
        replace(row, chosen=f"Rule {i}: {row.chosen}", rejected=f"Rule {i}: {row.rejected}") if i % 2 else row
        for i, row in enumerate(tiny.preferences(number))
    ]


def adapted(model: Path, moved: float = 0.0) -> Any:
    """Return the model with the adapter that a training starts from; ``moved`` draws B instead of leaving it 0."""
    policy: Any = add_adapter(load_model(model, "float32")[0], **tiny.ADAPTER, seed=SEED)
    if moved:
        source = torch.Generator().manual_seed(1)
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.data = moved * torch.randn(parameter.shape, generator=source)
    return policy


def adapter_weights(policy: Any) -> dict[str, torch.Tensor]:
    """Return the trainable parameters by name."""
    return {name: p for name, p in policy.named_parameters() if p.requires_grad}


def gradients(policy: Any) -> dict[str, torch.Tensor]:
    """Return the trainable parameters' gradients by name."""
    return {name: p.grad for name, p in adapter_weights(policy).items() if p.grad is not None}


def batches(examples: Sequence[EncodedExample], settings: dict[str, Any]) -> PlannedBatches:
    """Return the batches that a training with these settings makes."""
    plan = make_plan(
        [e.length for e in examples], settings["batch_size"], settings["accumulate"], 1, settings["epochs"], SEED
    )
    return PlannedBatches(examples, plan, 0)


def token_logps(policy: Any, batch: Any) -> torch.Tensor:
    """Return valign's log-probability of each supervised token of a batch."""
    return supervised_logps(policy, batch.ids, batch.segments, batch.mask)


def arguments(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what SFTConfig and DPOConfig take for a training with valign's settings, in float32."""
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": settings["batch_size"],
        "gradient_accumulation_steps": settings["accumulate"],
        "num_train_epochs": settings["epochs"],
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": settings["schedule"],
        "warmup_steps": 0,
        "weight_decay": settings["weight_decay"],
        "max_grad_norm": settings["max_grad_norm"],
        "max_length": settings["max_length"],
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": SEED,
    }


def trainer(
    kind: str,
    model: Path,
    examples: Sequence[EncodedExample],
    policy: Any,
    folder: Path,
    settings: dict[str, Any],
    **own: Any,
) -> Any:
    """Return TRL's SFTTrainer or DPOTrainer over examples in this order, on a model of its own with equal weights.

    TRL makes the adapter itself, so that its reference is the bare model, and is then given the weights of ``policy``.
    """
    import trl
    from datasets import Dataset, disable_progress_bars
    from peft import LoraConfig

    disable_progress_bars()
    base, tokenizer = load_model(model, "float32")
    base.set_attn_implementation("sdpa")
    shared = arguments(folder, settings)
    rows = [_sft_row(e) if kind == "sft" else _dpo_row(tokenizer, e) for e in examples]
    make: Any = trl.SFTTrainer if kind == "sft" else trl.DPOTrainer
    config: Any = trl.SFTConfig if kind == "sft" else trl.DPOConfig
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=tiny.ADAPTER["rank"],
        lora_alpha=tiny.ADAPTER["alpha"],
        lora_dropout=0.0,
        target_modules=tiny.ADAPTER["target_modules"],
    )
    made = make(
        model=base,
        args=config(**shared, **own),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
    )
    state = {name: value.detach().clone() for name, value in adapter_weights(policy).items()}
    assert state.keys() == adapter_weights(made.model).keys()
    made.model.load_state_dict(state, strict=False)
    return made


def _sft_row(example: EncodedExample) -> dict[str, Any]:
    turn = example.conversations[0]
    labels = [token if kept else -100 for token, kept in zip(turn.ids, turn.mask, strict=True)]
    return {"input_ids": list(turn.ids), "labels": labels}


def _dpo_row(tokenizer: Any, example: EncodedExample) -> dict[str, str]:
    """Return a pair as plain strings, which TRL tokenises to valign's ids: the end token is TRL's to add."""
    chosen, rejected = example.conversations
    cut = chosen.prompt_length
    return {
        "prompt": tokenizer.decode(chosen.ids[:cut]),
        "chosen": tokenizer.decode(chosen.ids[cut:-1]),
        "rejected": tokenizer.decode(rejected.ids[cut:-1]),
    }


def first_batch(made: Any) -> dict[str, torch.Tensor]:
    """Return the trainer's first batch."""
    return next(iter(made.get_train_dataloader()))


def logged(made: Any, name: str) -> list[float]:
    """Return what a training logged step by step."""
    return [float(entry[name]) for entry in made.state.log_history if name in entry]
