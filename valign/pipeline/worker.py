"""What every process of a run does of a stage, and how those that are not the first follow it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valign.core.files import from_dict, read_jsonl
from valign.core.out_of_memory import describe_out_of_memory, suggest_half
from valign.core.records import Answer, Instruction, Preference, Question
from valign.distributed.devices import own_device
from valign.evaluation.answering import answer_questions
from valign.evaluation.metric_info import Likelihoods
from valign.models.load import load_policy
from valign.pipeline.context import CACHE, Context
from valign.runs.tracking import RunLogger
from valign.training.stage import Stage


def follow(context: Context) -> None:
    """Do what the first process commands, until it ends; nothing is decided, asked or written here."""
    for name, arguments in context.ranks.commands():
        if name == "train":
            train_part(context, **arguments)
        elif name == "tax":
            tax_part(context, **arguments)
        else:
            asked = [from_dict(Question, row) for row in arguments.pop("questions")]
            answer_part(context, **arguments, questions=asked)


def train_part(
    context: Context,
    name: str,
    folder: str,
    rows: str,
    replay: str,
    before: Sequence[str],
    logger: RunLogger | None = None,
) -> dict[str, Any]:
    """Do this process's part of a training.

    Args:
        context: What is known of the run.
        name: ``sft`` or ``dpo``.
        folder: The stage's.
        rows: File of D_sft or D_pref.
        replay: File of general instructions that SFT learns beside D_sft; empty for none.
        before: Weights of the stages before it.
        logger: Receives the curves; None for none.

    Returns:
        The counts; from the first process alone.
    """
    from valign.training.fit import fit

    settings = context.settings
    base = settings.base_model
    stage = Stage(
        folder=Path(folder),
        model=context.model_path,
        initial=[Path(path) for path in before],
        adapter=settings.adapter,
        settings=settings.sft if name == "sft" else settings.dpo,
        trainer=settings.trainer,
        seed=settings.seed,
        system_prompt=base.system_prompt,
        precision=base.precision,
        quantization=base.quantization,
        trust_remote_code=base.trust_remote_code,
        logger=logger,
        ranks=context.ranks,
    )
    if name == "sft":
        return fit(stage, [row for file in (rows, replay) if file for row in read_jsonl(Path(file), Instruction)])
    return fit(stage, read_jsonl(Path(rows), Preference))


def answer_part(
    context: Context,
    arm: str,
    folder: str,
    weights: Sequence[str],
    questions: Sequence[Question],
    retrieved: Sequence[Sequence[int]],
    measure_only: bool = False,
) -> tuple[list[Answer], Likelihoods]:
    """Do this process's part of an arm's answers and likelihoods.

    Args:
        context: What is known of the run.
        arm: Name of the arm.
        folder: The stage's.
        weights: Weights of the arm's stages.
        questions: What it is asked.
        retrieved: For each question the numbers of the passages in its prompt.
        measure_only: Whether a server gives the answers, so that there are none here.

    Returns:
        What all processes found, in the first; of the others, nothing that counts.
    """
    from valign.evaluation.likelihoods import measure_likelihoods
    from valign.generation.generator import Generator

    evaluation = context.settings.evaluation
    shown = [[context.document.passages[i] for i in found] for found in retrieved]
    common: dict[str, Any] = {
        "arm": arm,
        "system": context.settings.base_model.system_prompt,
        "ranks": context.ranks,
    }
    with describe_out_of_memory(f"answering as {arm}", lambda: remedies(context)):
        model, tokenizer = load_arm(context, [Path(path) for path in weights])
        generator = Generator(model, tokenizer, f"{arm}@{Path(folder).name}", evaluation.batch_tokens)
        answers = []
        if not measure_only:
            longest = evaluation.max_new_tokens
            answers = answer_questions(
                generator, questions, shown, cache=Path(folder) / CACHE, max_new_tokens=longest, **common
            )
        return answers, measure_likelihoods(generator, questions, shown, **common)


def tax_part(context: Context, name: str, folder: str, weights: Sequence[str]) -> dict[str, Any]:
    """Do this process's part of measuring what alignment cost in general ability.

    Args:
        context: What is known of the run.
        name: Name of the model.
        folder: The stage's.
        weights: Weights of its stages; none for the base model.

    Returns:
        The counts; from the first process alone.
    """
    from valign.evaluation.tax.measure import measure_tax

    evaluation = context.settings.evaluation
    with describe_out_of_memory(f"measuring the tax of {name}", lambda: remedies(context)):
        return measure_tax(
            Path(folder),
            [Path(path) for path in weights],
            lambda paths: load_arm(context, paths),
            label=name,
            max_new_tokens=evaluation.tax.max_new_tokens,
            batch_tokens=evaluation.batch_tokens,
            system=context.settings.base_model.system_prompt,
            ranks=context.ranks,
        )


def load_arm(context: Context, weights: Sequence[Path]) -> tuple[Any, Any]:
    """Load the model that some stages have left, and its tokenizer, on this process's device."""
    base = context.settings.base_model
    device = own_device(context.settings.trainer.accelerator, context.ranks)
    kept = base.precision, base.trust_remote_code, device
    return load_policy(context.model_path, weights, *kept, quantization=base.quantization)


def remedies(context: Context) -> list[str]:
    """Say which settings lower the memory that answering takes."""
    evaluation = context.settings.evaluation
    found = [
        suggest_half("evaluation.batch_tokens", evaluation.batch_tokens),
        suggest_half("evaluation.max_new_tokens", evaluation.max_new_tokens),
    ]
    if context.settings.base_model.precision == "float32":
        found.append("set base_model.precision=bfloat16")
    return found
