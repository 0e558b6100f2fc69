"""One measurement in a process of its own: ``worker.py SPECIFICATION RESULT [--wait]``, both JSON files.

With ``--wait`` it imports what it needs, and begins when a line comes in. Measured is the training loop. valign: from
the start of the training (before DPO's reference pass) to the end of the last step. TRL: from ``on_train_begin`` to the
end of the last step, and its pass for the reference where it makes one beforehand. Loading, tokenising and saving count
on neither side; memory is the process's largest, loading included. On a GPU a step has ended when the device has made
it, and memory is that of its tensors. Where the specification says ``warm``, a training of so many steps comes first
and is not counted: libraries start, kernels are compiled.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from devices import ceiling, forget_peak, peak_mib, synchronize
from subjects import (
    ADAPTER,
    RANK,
    SETTINGS,
    draw_weights,
    encoded,
    of_length,
    rows,
    save_trained,
    supervised_tokens,
    useful_flops,
)

FINAL_STEPS = 10


class Clock:
    """The seconds between a start and the marks after it, and what the process held at the start."""

    def __init__(self) -> None:
        """Not started yet."""
        self.began = self.before = 0.0
        self.marks: list[float] = []

    def start(self) -> None:
        """Start, and note the memory in use."""
        pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
        self.before = pages * resource.getpagesize() / 2**20
        synchronize()
        self.began, self.marks = time.perf_counter(), []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Mark the end of a step, when the device has made it; valign calls it as a logger."""
        synchronize()
        self.marks.append(time.perf_counter() - self.began)

    @property
    def seconds(self) -> float:
        """From the start to the last mark."""
        return self.marks[-1]

    @property
    def each(self) -> list[float]:
        """From mark to mark; the first from the start, with what comes before the first step."""
        return [end - begin for begin, end in pairwise([0.0, *self.marks])]


def given(spec: dict[str, Any]) -> list[Any]:
    """Return the rows of a measurement."""
    if spec.get("length"):
        return of_length(spec["stage"], spec["examples"], spec["length"], spec.get("mixed", False))
    return rows(spec["stage"], spec["examples"], Path(spec["artifact"]) if spec.get("artifact") else None)


def with_valign(spec: dict[str, Any], folder: Path, rows: list[Any]) -> tuple[Clock, float, float]:
    """Train with valign; return the clock, the final loss, and the seconds that no mark has."""
    from valign.training.dpo_module import DPOModule
    from valign.training.fit import fit
    from valign.training.sft_module import SFTModule

    clock = Clock()
    module: Any = SFTModule if spec["stage"] == "sft" else DPOModule
    on_train_start: Callable[[Any], None] = module.on_train_start

    def timed(self: Any) -> None:
        if not Path(spec["adapter"]).is_file():
            save_trained(self.model, Path(spec["adapter"]))
        clock.start()
        on_train_start(self)

    stage = valign_stage(spec, folder, clock)
    # what was trained need not come back to main memory, which takes seconds a time
    with patch.object(module, "on_train_start", timed), patch.object(module, "cpu", lambda self: self):
        counts = fit(stage, rows)
    return clock, counts["final_loss"], 0.0


def valign_stage(spec: dict[str, Any], folder: Path, logger: Any) -> Any:
    """Return the stage that valign trains for a specification, in a folder that is made."""
    from valign.core.settings import make_settings
    from valign.training.settings import AdapterSettings, DPOSettings, SFTSettings, TrainerSettings
    from valign.training.stage import Stage

    folder.mkdir(parents=True, exist_ok=True)
    kind: Any = SFTSettings if spec["stage"] == "sft" else DPOSettings
    trainer = {"accelerator": spec.get("device", "cpu"), "devices": 1, "checkpoint_every": 10**9}
    return Stage(
        folder=folder,
        model=Path(spec["model"]),
        adapter=make_settings(AdapterSettings, ADAPTER),
        settings=make_settings(kind, SETTINGS[spec["stage"]] | {"batch_size": spec["batch_size"]}),
        trainer=make_settings(TrainerSettings, trainer | {"threads": spec["threads"]} | spec.get("trainer", {})),
        precision=spec["precision"],
        logger=logger,
    )


def with_trl(spec: dict[str, Any], folder: Path, rows: list[Any]) -> tuple[Clock, float, float]:
    """Train with TRL, in valign's batches and from valign's adapter; return what ``with_valign`` does."""
    from safetensors.torch import load_file
    from transformers import TrainerCallback

    clock = Clock()

    class Marks(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.log_metrics({}, 0)

    trainer, reference, examples = trl_trainer(spec, folder, rows, [Marks()])
    if trainer.model.load_state_dict(load_file(spec["adapter"]), strict=False).unexpected_keys:
        raise SystemExit(f"{spec['adapter']} is not an adapter of TRL's model")
    if not spec["options"].get("packing"):
        require_same_tokens(spec["stage"], trainer, examples)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-FINAL_STEPS:]
    return clock, sum(losses) / len(losses), reference[0]


def trl_trainer(
    spec: dict[str, Any], folder: Path, rows: list[Any], callbacks: list[Any]
) -> tuple[Any, list[float], list[Any]]:
    """Return TRL's trainer for a specification, the seconds of its reference pass, a list of one, and the examples."""
    import torch
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer

    stage, bfloat16 = spec["stage"], spec["precision"] == "bfloat16"
    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    examples, _ = encoded(stage, tokenizer, rows, spec["batch_size"])
    model = AutoModelForCausalLM.from_pretrained(
        spec["model"], dtype=torch.bfloat16 if bfloat16 else torch.float32, attn_implementation=spec["attention"]
    )
    lora = LoraConfig(task_type="CAUSAL_LM", r=RANK, lora_alpha=2 * RANK, lora_dropout=0.0, target_modules="all-linear")
    config: Any = trl.SFTConfig if stage == "sft" else trl.DPOConfig
    make, reference = (trl.SFTTrainer, [0.0]) if stage == "sft" else timed_dpo_trainer(trl)
    trainer = make(
        model=model,
        args=config(**trl_settings(spec, folder)),
        train_dataset=Dataset.from_list([trl_row(stage, tokenizer, e) for e in examples]),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=callbacks,
    )
    return trainer, reference, examples


def timed_dpo_trainer(trl: Any) -> tuple[Any, list[float]]:
    """Return DPOTrainer with its pass for the reference timed, and the seconds of it, a list of one."""
    seconds = [0.0]

    class Timed(trl.DPOTrainer):
        def compute_ref_log_probs(self, *arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = super().compute_ref_log_probs(*arguments, **named)
            seconds[0] += time.perf_counter() - began
            return result

    return Timed, seconds


def trl_settings(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what SFTConfig or DPOConfig takes for valign's settings; gradient checkpointing, on by default, is off."""
    settings = SETTINGS[spec["stage"]]
    own = {"beta": settings["beta"]} if spec["stage"] == "dpo" else {}
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": spec["batch_size"],
        "num_train_epochs": 1,
        "learning_rate": settings["learning_rate"],
        "lr_scheduler_type": settings["schedule"],
        "weight_decay": settings["weight_decay"],
        "max_grad_norm": settings["max_grad_norm"],
        "max_length": settings["max_length"],
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "bf16": spec["precision"] == "bfloat16",
        "gradient_checkpointing": False,
        "use_cpu": spec.get("device", "cpu") == "cpu",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 0,
        **own,
        **spec["options"],
    }


def trl_row(stage: str, tokenizer: Any, example: Any) -> dict[str, Any]:
    """Return an example as TRL takes it: ids and labels in SFT, strings in DPO."""
    first = example.conversations[0]
    if stage == "sft":
        labels = [token if kept else -100 for token, kept in zip(first.ids, first.mask, strict=True)]
        return {"input_ids": list(first.ids), "labels": labels}
    cut = first.prompt_length
    return {
        "prompt": tokenizer.decode(first.ids[:cut]),
        "chosen": tokenizer.decode(first.ids[cut:-1]),
        "rejected": tokenizer.decode(example.conversations[1].ids[cut:-1]),
    }


def require_same_tokens(stage: str, trainer: Any, examples: list[Any]) -> None:
    """Stop if TRL's tokens are not valign's.

    Raises:
        SystemExit: They differ.
    """
    for row, example in zip(trainer.train_dataset, examples, strict=True):
        sides = ("chosen_ids", "rejected_ids")
        found = [row["input_ids"]] if stage == "sft" else [row["prompt_ids"] + row[side] for side in sides]
        if found != [list(c.ids) for c in example.conversations]:
            raise SystemExit(f"TRL tokenises {example.example_id} in another way")


def measured(spec: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make one measurement."""
    import torch

    torch.set_num_threads(spec["threads"])
    if spec["engine"] == "ceiling":
        on_gpu = spec.get("device", "cpu") != "cpu"
        return {"ceiling": ceiling(spec.get("device", "cpu"))} | (
            {"device": torch.cuda.get_device_name()} if on_gpu else {}
        )
    if spec.get("drawn"):
        draw_weights("cuda" if spec["device"] == "gpu" else "cpu")
    train, rows, held = with_valign if spec["engine"] == "valign" else with_trl, given(spec), 0.0
    if spec.get("warm"):
        train(spec, folder / "warm", rows[: spec["warm"] * spec["batch_size"]])
        held = forget_peak()
    clock, loss, beforehand = train(spec, folder / "timed", rows)
    peak = peak_mib() - held
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    examples, _ = encoded(spec["stage"], tokenizer, rows, spec["batch_size"])
    return {
        "seconds": clock.seconds + beforehand,
        "step_seconds": clock.each,
        "examples": len(examples),
        "tokens": sum(len(c.ids) for e in examples for c in e.conversations),
        "supervised_tokens": supervised_tokens(examples),
        "flops": useful_flops(spec["stage"], examples, AutoConfig.from_pretrained(spec["model"])),
        "final_loss": loss,
        "peak_mib": peak,
        "start_mib": clock.before,
    }


def import_early(spec: dict[str, Any]) -> None:
    """Import what a measurement takes longest to import; no device is touched."""
    names = {
        "valign": ["valign.training.fit", "peft"],
        "trl": ["trl.trainer.sft_trainer", "trl.trainer.dpo_trainer", "datasets", "peft", "valign.training.examples"],
    }
    liger = "liger" in json.dumps(spec)
    for name in ("torch", "transformers", *names.get(spec["engine"], ()), *(["liger_kernel.transformers"] * liger)):
        importlib.import_module(name)


if __name__ == "__main__":
    specification, result = map(Path, sys.argv[1:3])
    wanted = json.loads(specification.read_text(encoding="utf-8"))
    if "--wait" in sys.argv:
        import_early(wanted)
        sys.stdin.readline()
    line = measured(wanted, result.with_suffix(""))
    result.write_text(json.dumps(line), encoding="utf-8")
