"""The training stages: SFT and DPO, each on top of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from valign.core.files import read_jsonl
from valign.core.records import Instruction, Preference
from valign.core.store import digest, file_digest
from valign.distributed.devices import free_devices
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.data_stage import data_stage, replay_stage
from valign.runs.tracking import RunLogger, ignore_lost_logger
from valign.synthesis.dataset import PREFERENCES, SFT
from valign.training.stage import Stage

# of a stage's settings: replayed rows are an input, and how a step is cut into batches changes its rounding alone
NOT_IN_HASH = ("replay", "replay_file", "batch_tokens")


def train_stages(
    context: Context, artifacts: Artifacts, data: Path | None, stages: Sequence[str], logger: RunLogger | None = None
) -> list[Path]:
    """Train what is not trained yet.

    Args:
        context: What is known of the run.
        artifacts: Where the stages are built or found.
        data: The data stage's folder; None where no data were written.
        stages: ``sft``, ``dpo`` or both, in order; none for the base model.
        logger: Receives the curves, also of a stage that was trained earlier, once in a run; None for none.

    Returns:
        The weights of each stage, in order: the folder of an adapter, or of a whole model.
    """
    weights: list[Path] = []
    for i in range(len(stages)):
        assert data is not None
        folder = _train(context, artifacts, data, tuple(stages[: i + 1]), weights, logger)
        weights = [*weights, next(f for f in (folder / "adapter", folder / "model") if f.is_dir())]
    return weights


def trained_weights(context: Context, artifacts: Artifacts, stages: Sequence[str]) -> list[Path]:
    """Return the weights of some stages of a run, which asks for its data only where something was trained on them."""
    return train_stages(context, artifacts, data_stage(context, artifacts), stages) if stages else []


def _train(
    context: Context,
    artifacts: Artifacts,
    data: Path,
    path: tuple[str, ...],
    before: Sequence[Path],
    logger: RunLogger | None,
) -> Path:
    """Train the last stage of a path on top of those before it."""
    name, key = path[-1], "_".join(path)
    if pinned := artifacts.find_pinned(name, key):
        return pinned
    settings = context.settings
    rows = data / (SFT if name == "sft" else PREFERENCES)
    replay = replay_stage(context, artifacts, data) if name == "sft" else None
    chosen = asdict(settings.sft if name == "sft" else settings.dpo)
    config = {
        "stage": name,
        "settings": {key: value for key, value in chosen.items() if key not in NOT_IN_HASH},
        "adapter": asdict(settings.adapter),
        "seed": settings.seed,
        **context.stored_as,
        "system_prompt": settings.base_model.system_prompt,
    }
    inputs = {
        "base_model": context.model_id,
        "data": file_digest(rows),
        **({"replay": file_digest(replay)} if replay else {}),
        "before": digest([folder.parent.name for folder in before]),
    }
    is_first_use, is_built = key not in artifacts.hashes, False

    def fill(folder: Path) -> dict[str, Any]:
        nonlocal is_built
        is_built = True
        part = {
            "name": name,
            "folder": str(folder),
            "rows": str(rows),
            "replay": str(replay or ""),
            "before": [str(path) for path in before],
        }
        context.ranks.command("train", **part)
        return train_part(context, **part, logger=logger)  # type: ignore[arg-type]

    folder = artifacts.build(name, config, inputs, fill, key)
    if logger and is_first_use and not is_built:
        with ignore_lost_logger(name, f"its curves are in {folder}"):
            for step, values in curves_by_step(folder):
                logger.log_metrics({f"{name}/{quantity}": value for quantity, value in values.items()}, step)
    return folder


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
        learned = [row for file in (rows, replay) if file for row in read_jsonl(Path(file), Instruction)]
        counts = fit(stage, learned)
    else:
        counts = fit(stage, read_jsonl(Path(rows), Preference))
    free_devices()  # the next model is loaded beside what is left of this one
    return counts


def curves_by_step(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Return a training stage's curves, from its ``curves.csv``: the quantities of each step."""
    steps: dict[int, dict[str, float]] = {}
    for line in (folder / "curves.csv").read_text(encoding="utf-8").splitlines()[1:]:
        step, quantity, value = line.split(",")
        steps.setdefault(int(step), {})[quantity] = float(value)
    return sorted(steps.items())
