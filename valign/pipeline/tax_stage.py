"""The alignment tax: the general ability of a model, measured to be compared with the base model's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valign.core.files import to_dict
from valign.core.out_of_memory import describe_out_of_memory
from valign.core.store import digest
from valign.evaluation.tax.items import everyday_tasks, general_texts
from valign.pipeline.arm_model import answering_remedies, load_arm
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context


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
    with describe_out_of_memory(f"measuring the tax of {name}", lambda: answering_remedies(context)):
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


def measures_tax(context: Context) -> bool:
    """Tell whether general ability is measured; that takes the whole model in this process."""
    return context.settings.evaluation.tax.measure and (context.server is None or context.server.measures_likelihoods)


def tax_stage(context: Context, artifacts: Artifacts, stages: Sequence[str], weights: Sequence[Path]) -> Path:
    """Measure the general ability of the model that some stages have left.

    Args:
        context: What is known of the run.
        artifacts: Where the stage is built or found.
        stages: What was trained; nothing for the base model.
        weights: The weights of these stages.

    Returns:
        A folder with ``values.jsonl``.
    """
    name = "_".join(stages) or "base"
    config = {
        "max_new_tokens": context.settings.evaluation.tax.max_new_tokens,
        **context.stored_as,
        "system_prompt": context.settings.base_model.system_prompt,
    }
    inputs = {
        "base_model": context.model_id,
        "weights": digest([folder.parent.name for folder in weights]),
        "items": digest([to_dict(item) for item in (*general_texts(), *everyday_tasks())]),
    }

    def fill(folder: Path) -> dict[str, Any]:
        part: dict[str, Any] = {"name": name, "folder": str(folder), "weights": [str(path) for path in weights]}
        context.ranks.command("tax", **part)
        return tax_part(context, **part)

    return artifacts.build("tax", config, inputs, fill, f"tax/{name}")
