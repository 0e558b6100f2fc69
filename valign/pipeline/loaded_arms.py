"""The arms of finished runs, loaded to be talked to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from valign.pipeline.arm_model import load_arm
from valign.pipeline.artifacts import Artifacts, pinned_by
from valign.pipeline.finished_run import arms_of_run, context_of_run
from valign.pipeline.training_stage import trained_weights
from valign.runs.layout import run_folders

if TYPE_CHECKING:
    from valign.generation.generator import Generator


def load_arms(runs: Path, is_trusted: bool = False) -> tuple[dict[str, Generator], str | None]:
    """Load the arms of the runs in a folder that look nothing up, each once.

    Args:
        runs: The folder.
        is_trusted: Whether the runs' configs may run code that comes with their models.

    Returns:
        The arms by name, and the system prompt before every conversation.
    """
    from valign.generation.generator import Generator

    arms: dict[str, Generator] = {}
    system = None
    for folder in run_folders(runs):
        context, (details, asked) = context_of_run(folder, is_trusted), arms_of_run(folder)
        artifacts = Artifacts(context.store, pinned_by(details))
        system = context.settings.base_model.system_prompt
        for arm in asked:
            if arm.retrieval or arm.name in arms:
                continue
            weights = trained_weights(context, artifacts, arm.stages)
            model, tokenizer = load_arm(context, weights)
            arms[arm.name] = Generator(model, tokenizer, arm.name)
    return arms, system
