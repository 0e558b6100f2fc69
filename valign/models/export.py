"""Weights of a run for other programs: the merged model, or its adapters as one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.core.files import new_folder, read_json, write_json
from valign.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, save_model
from valign.models.load import load_policy

if TYPE_CHECKING:
    import torch

SERVED_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vllm serve --max-lora-rank takes


def write_model(
    output: Path, base: Path | str, weights: Sequence[Path], precision: str | torch.dtype, **options: Any
) -> None:
    """Write a model with what its stages trained merged in, and its tokenizer, in Hugging Face format.

    Its generation settings are greedy decoding up to the tokenizer's end token, as the arms answer.

    Args:
        output: The folder; empty or not there.
        base: The base model, as ``valign.models.load.load_policy`` takes it.
        weights: What each stage has left, in order.
        precision: Of the weights: ``auto``, ``float32`` or ``bfloat16``, or the dtype itself.
        **options: Other keyword arguments of ``load_policy``.

    Raises:
        ValignError: The folder is not empty or cannot be written, or the model cannot be loaded.
    """
    from transformers import GenerationConfig

    with new_folder(output) as folder:
        model, tokenizer = load_policy(base, weights, precision, **options)
        ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
        model.generation_config = GenerationConfig(bos_token_id=tokenizer.bos_token_id, **ids)
        save_model(model, folder)
        tokenizer.save_pretrained(folder)


def write_adapter(output: Path, base: str, weights: Sequence[Path]) -> int:
    """Write what the stages trained as one LoRA adapter for the base model, and return its rank.

    Adapters of several stages become one: the sum of the updates s_i B_i A_i is [s_1 B_1, s_2 B_2] [A_1; A_2], where
    s_i is alpha / rank. The base is not loaded.

    Args:
        output: The folder; empty or not there.
        base: Name or folder of the base model, noted in the adapter's config.
        weights: What each stage has left, in order.

    Raises:
        ValignError: There is no adapter, a stage trained every weight, or the folder is not empty or not writable.
    """
    if not weights:
        raise ValignError("arm=base has no adapter; serve the base model itself, or use what=model.")
    whole = [folder for folder in weights if not (folder / ADAPTER_CONFIG).is_file()]
    if whole:
        raise ValignError(f"{whole[0]} has every weight trained and no adapter; use what=model.")
    configs = [read_json(folder / ADAPTER_CONFIG) for folder in weights]
    rank = sum(int(config["r"]) for config in configs)
    with new_folder(output) as folder:
        if len(weights) == 1:
            shutil.copyfile(weights[0] / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
            alpha = configs[0]["lora_alpha"]
        else:
            _write_sum(folder / ADAPTER_WEIGHTS, weights, [config["lora_alpha"] / config["r"] for config in configs])
            alpha = rank
        write_json(
            folder / ADAPTER_CONFIG, configs[0] | {"r": rank, "lora_alpha": alpha, "base_model_name_or_path": base}
        )
    return rank


def _write_sum(file: Path, weights: Sequence[Path], scales: Sequence[float]) -> None:
    """Write adapters side by side: A matrices stacked in rows, B matrices, scaled, in columns."""
    import torch
    from safetensors.torch import load_file, save_file

    parts = [load_file(folder / ADAPTER_WEIGHTS) for folder in weights]
    if any(set(part) != set(parts[0]) for part in parts):
        raise ValignError("the stages' adapters are on different layers; use what=model.")
    summed = {}
    for name in parts[0]:
        own = [part[name].float() for part in parts]
        below = ".lora_A." in name
        scaled = own if below else [scale * matrix for scale, matrix in zip(scales, own, strict=True)]
        summed[name] = torch.cat(scaled, 0 if below else 1).contiguous()
    save_file(summed, file, metadata={"format": "pt"})
