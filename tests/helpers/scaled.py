"""The large experiments, each with a tiny random Mistral on CPU ranks, from D_sft to the last arm's answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny
import torch

from valign.core.files import write_jsonl
from valign.documents.shipped import shipped_questions
from valign.models.huggingface import quiet_transformers
from valign.models.random_model import byte_tokenizer
from valign.pipeline.answer_stage import answer_part
from valign.pipeline.context import Context
from valign.pipeline.training_stage import train_part

ROWS = 34  # an optimizer step of 32, and a little more
SMALL = ["sft.epochs=1", "sft.max_length=256", "dpo.max_length=256", "evaluation.max_new_tokens=4", "adapter.rank=4"]


def write_tiny_mistral(folder: Path) -> Path:
    """Write a Mistral of two layers with random weights (fixed seed) and a tokenizer of single bytes."""
    from transformers import MistralConfig, MistralForCausalLM

    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = byte_tokenizer()
        config = MistralConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=448,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=1,
            sliding_window=None,
            eos_token_id=tokenizer.eos_token_id,
        )
        model: Any = MistralForCausalLM(config)
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def on_cpu(name: str, base: Path, ranks: int) -> list[str]:
    """Return what makes an experiment run here: the tiny model, CPU ranks, short rows; its strategy stays."""
    own = [f"+experiment={name}", f"base_model.model={base}", "trainer.accelerator=cpu", "trainer.threads=1"]
    return [*own, f"trainer.devices={ranks}", "trainer.num_nodes=1", *SMALL]


def go_to_last_stage(context: Context, folder: Path) -> dict[str, Any]:
    """Train SFT and DPO on a few rows and let the last arm answer two questions, as every process of a run does.

    Args:
        context: What is known of the run.
        folder: Of the rows and of the stages.

    Returns:
        In the first process what the stages counted, the answers and the likelihoods; in others nothing that counts.
    """
    rows: dict[str, Sequence[Any]] = {"sft": tiny.instructions(ROWS), "dpo": tiny.preferences(ROWS)}
    counts, weights = {}, list[str]()
    for stage in context.settings.recipe.stages:
        place = folder / stage
        place.mkdir(parents=True, exist_ok=True)
        file = folder / f"{stage}-{context.ranks.rank}.jsonl"
        write_jsonl(file, rows[stage])
        counts[stage] = train_part(context, stage, str(place), str(file), "", list(weights))
        weights.append(str(place / "adapter"))
    (folder / "answers").mkdir(exist_ok=True)
    questions = shipped_questions("udhr")[:2]
    answers, likely = answer_part(context, "sft_dpo", str(folder / "answers"), weights, questions, [[], []])
    return {"counts": counts, "answers": answers, "likely": likely, "weights": weights}
