"""The weights of a run's arm, for other programs."""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

from valign.core.errors import ValignError
from valign.distributed.devices import device_of
from valign.models import export
from valign.models.load import load_tokenizer
from valign.models.precision import resolve_precision
from valign.pipeline.finished_run import trained_run
from valign.pipeline.recipes import recipe_arms
from valign.pipeline.training_stage import trained_weights

log = logging.getLogger(__name__)

LEAST_SHARE = 0.95
NO_THOUGHTS = """ --default-chat-template-kwargs '{"enable_thinking": false}'"""
"""How a server is told to render a template as it was trained, where the template knows thoughts."""


def export_weights(run: Path, arm: str | None, what: str, output: Path, is_trusted: bool = False) -> tuple[str, str]:
    """Write the weights of an arm of a run that has trained.

    Args:
        run: The run's folder.
        arm: Name of the arm; None for the last.
        what: ``model`` for the merged model, ``adapter`` for one adapter of all stages.
        output: Where they go; no folder is there yet.
        is_trusted: Whether the run's config may run code that comes with its model.

    Returns:
        The arm's name, and a command that serves the weights.

    Raises:
        ValignError: There is no such arm, or its adapter is right on quantized weights alone.
    """
    context, artifacts = trained_run(run, is_trusted)
    base, path = context.settings.base_model, context.model_path
    arms = {each.name: each for each in recipe_arms(context.settings.recipe.stages, False)}
    name = arm or list(arms)[-1]
    if name not in arms:
        raise ValignError(f"arm={name}: {run} has only: {', '.join(arms)}.")
    weights = trained_weights(context, artifacts, arms[name].stages)
    template = str(load_tokenizer(path, base.trust_remote_code).chat_template)
    thoughtless = NO_THOUGHTS if "enable_thinking" in template else ""
    if what == "model":
        device = device_of(context.settings.trainer.accelerator)
        share = export.write_model(
            output,
            path,
            weights,
            resolve_precision(base.precision, device),
            quantization=base.quantization,
            device=device if base.quantization else "cpu",
            trust_remote_code=base.trust_remote_code,
        )
        _say_share(share, output)
        return name, f"vllm serve {shlex.quote(str(output))} --served-model-name {name}{thoughtless}"
    if base.quantization:
        raise ValignError(f"an adapter trained on {base.quantization} is right on those weights alone; use what=model.")
    rank = export.write_adapter(output, str(path), weights)
    most = next((r for r in export.SERVED_RANKS if r >= rank), rank)
    served = f"vllm serve {shlex.quote(str(path))}{thoughtless} --generation-config vllm --enable-lora"
    return name, f"{served} --max-lora-rank {most} --lora-modules {shlex.quote(f'{name}={output}')}"


def _say_share(share: float | None, output: Path) -> None:
    """Print how much of what was trained is left in the weights, where it is not all."""
    if share is None or share > 0.9995:
        return
    line = f"{output}: {100 * share:.1f}% of what was trained is left after rounding to the weights' precision"
    if share < LEAST_SHARE:
        log.warning("%s; the arm was measured unrounded, and what=adapter keeps all of it", line)
    else:
        log.info("%s", line)
