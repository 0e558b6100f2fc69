"""Reference log-probabilities of DPO: computed once before the first step, kept in the stage's folder."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch

from valign.core.errors import ValignError
from valign.core.files import write_atomically
from valign.core.progress import progress
from valign.distributed.ranks import Ranks
from valign.training.batches import PlannedBatches
from valign.training.checkpoints import is_asked_to_stop, stop
from valign.training.dpo_module import DPOModule
from valign.training.fused_projections import zero_adapters_left_out


def reference_logps(module: DPOModule, folder: Path, ranks: Ranks) -> Mapping[str, tuple[float, float]]:
    """Return the reference's summed log-probabilities (chosen, rejected) by example id.

    They are computed with the model as it is now, in the batches and by the code path of training, so that the first
    margins are exactly zero, under the strategy of the training. The first process keeps every device's part.

    Those of an attempt that was stopped before its first checkpoint count only where the same devices go on: with
    others, batches and rounding would be others too. A signal ends the pass after a step, whose pairs are kept.

    Args:
        module: The DPO module on its device, inside a fit.
        folder: Where ``reference-<rank>.npz`` are kept.
        ranks: The run's processes.

    Raises:
        ValignError: The training has begun and the file is gone.
        Interrupted: A signal asked for an end.
    """
    needed = {
        batches.examples[i].example_id
        for batches in (module.own_batches(), module.held_out_batches())
        if batches is not None
        for step in batches.plan
        for part in step
        for i in part
    }
    by = _computed_by(module)
    found = ranks.broadcast(lambda: _read(folder, None if module.start else by))
    if needed <= set(found):
        return found
    if module.start > 0:
        raise ValignError(f"{folder}/reference-*.npz is missing or incomplete; delete {folder} to begin again.")
    parts = ranks.gather(_compute(module, found))
    if ranks.is_first:
        parts[0] = found | parts[0]
        for other in folder.glob("reference-*.npz"):  # of more devices, perhaps
            other.unlink()
    for rank, part in enumerate(parts):
        _write(folder / f"reference-{rank}.npz", part, by)
    kept = ranks.broadcast(lambda: _read(folder, by))
    if needed <= set(kept):
        return kept
    stop(module.trainer, f"{len(needed & set(kept))} of {len(needed)} pairs of the reference are kept")
    return reference_logps(module, folder, ranks)


def _computed_by(module: DPOModule) -> str:
    """Say what computes: how many devices of which kind, and in which precision."""
    device = torch.device(module.device)
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{module.trainer.world_size} x {kind}, {module.compute_dtype}"


def _compute(module: DPOModule, known: Container[str]) -> dict[str, tuple[float, float]]:
    """Compute the part of this device, of what is held out too, as far as it is not known, or until a signal."""
    held_out = module.held_out_batches()
    with zero_adapters_left_out(module.model):
        found = _compute_batches(module, module.own_batches(), known)
        return found if held_out is None else found | _compute_batches(module, held_out, known)


def _compute_batches(
    module: DPOModule, batches: PlannedBatches, known: Container[str]
) -> dict[str, tuple[float, float]]:
    """Go through this device's batches until every example has been seen; what is found is read once, at the end."""
    names: list[str] = []
    sums: list[torch.Tensor] = []
    unseen = {i for step in batches.plan for part in step for i in part if batches.examples[i].example_id not in known}
    shown = progress(len(unseen), "reference", "pairs") if module.trainer.is_global_zero else nullcontext()
    with shown as bar:
        for step in range(len(batches.plan)):
            if not unseen or is_asked_to_stop(module.trainer):
                break
            new = unseen & {i for part in batches.plan[step] for i in part}
            if not new:
                continue
            unseen -= new
            for index in range(step * batches.gradient_accumulation, (step + 1) * batches.gradient_accumulation):
                if (planned := batches[index]).is_idle:
                    continue
                batch = module.to_device(planned)
                with torch.no_grad():
                    sums.append(torch.stack(module.pair_logps(batch), 1))
                names += batch.example_ids
            if bar is not None:
                bar.update(len(new))
    found: dict[str, tuple[float, float]] = {}
    for name, (chosen, rejected) in zip(names, torch.cat(sums).tolist() if sums else (), strict=True):
        found.setdefault(name, (chosen, rejected))
    return found


def _write(path: Path, logps: Mapping[str, tuple[float, float]], by: str) -> None:
    values = np.array(list(logps.values()), dtype=np.float64)
    with write_atomically(path) as partial, partial.open("wb") as file:
        np.savez(file, ids=np.array(list(logps)), logps=values, by=np.array(by))


def _read(folder: Path, by: str | None) -> dict[str, tuple[float, float]]:
    """Read what was kept, of one kind of devices or of any."""
    found: dict[str, tuple[float, float]] = {}
    for path in sorted(folder.glob("reference-*.npz")):
        with np.load(path, allow_pickle=False) as file:
            if by is not None and str(file["by"]) != by:
                continue
            pairs = zip(file["ids"].tolist(), file["logps"].tolist(), strict=True)
            found.update({example: (chosen, rejected) for example, (chosen, rejected) in pairs})
    return found
