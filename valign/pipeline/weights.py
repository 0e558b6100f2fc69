"""The weights of a run's arm, for other programs."""

from __future__ import annotations

import logging
import shlex
from dataclasses import replace
from pathlib import Path

from valign.core.errors import ValignError, first_line
from valign.core.files import read_json
from valign.distributed.devices import device_of
from valign.models import export
from valign.models.load import load_tokenizer
from valign.models.lora_folder import SERVED_RANKS
from valign.models.precision import resolve_precision
from valign.models.terms import describe_base
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.finished_run import trained_run
from valign.pipeline.recipes import Arm, recipe_arms
from valign.pipeline.training_stage import trained_weights
from valign.reporting.card import alignment_card
from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.study import compare_runs
from valign.runs.layout import RUN
from valign.synthesis.dataset import DATA_STAGE, FUNNEL, read_source

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
    card = model_card(run, context, artifacts, arms[name], what)
    template = str(load_tokenizer(path, base.trust_remote_code).chat_template)
    thoughtless = NO_THOUGHTS if "enable_thinking" in template else ""
    if what == "model":
        device = device_of(context.settings.trainer.accelerator)
        share = export.write_model(
            output,
            path,
            weights,
            resolve_precision(base.precision, device),
            card,
            quantization=base.quantization,
            device=device if base.quantization else "cpu",
            trust_remote_code=base.trust_remote_code,
        )
        _say_share(share, output)
        return name, f"vllm serve {shlex.quote(str(output))} --served-model-name {name}{thoughtless}"
    if base.quantization:
        raise ValignError(f"an adapter trained on {base.quantization} is right on those weights alone; use what=model.")
    rank = export.write_adapter(output, str(path), weights, card)
    most = next((r for r in SERVED_RANKS if r >= rank), rank)
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


def model_card(run: Path, context: Context, artifacts: Artifacts, arm: Arm, what: str) -> str:
    """Return the alignment card of an arm's weights; before the arm has answered, without evidence.

    Args:
        run: The run's folder.
        context: What is known of it.
        artifacts: Its stages.
        arm: The arm.
        what: What is exported: ``model`` or ``adapter``.

    Raises:
        ValignError: What the run left of its evaluation is damaged.
    """
    if isinstance(context.model_path, str):
        export.fetch_terms(context.model_path)
    try:
        comparison = compare_runs([run]) if (run / RUN).is_file() else _unmeasured(context, artifacts)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValignError(
            f"{run} has scores or answers that its card cannot be written from ({first_line(error)}); evaluate it "
            f"again, or delete its {RUN} for a card without evidence."
        ) from None
    if arm.name not in [result.arm for result in comparison.arms]:
        unasked = ArmResult(arm.name, {"arm": arm.name, "n": 0, "metrics": {}}, [], [], arm.stages)
        comparison = replace(comparison, arms=[*comparison.arms, unasked])
    base = describe_base(context.settings.base_model.model, context.model_path)
    return alignment_card(replace(comparison, base_model=base), arm.name, what)


def _unmeasured(context: Context, artifacts: Artifacts) -> Comparison:
    """Return what is known of a run that has trained and not yet answered."""
    data = artifacts.find_pinned(DATA_STAGE)
    source = (read_source(data) if data else None) or context.document
    return Comparison(
        source.title,
        context.settings.experiment_name,
        source.sha256,
        list(source.passages),
        [],
        funnel=read_json(data / FUNNEL) if data else None,
        config=context.noted,
        artifacts=artifacts.hashes,
        document_name=source.name,
    )
