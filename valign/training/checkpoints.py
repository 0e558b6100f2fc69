"""Checkpoints of a training: written, found and removed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from valign.core.disk import describe_disk_errors
from valign.core.errors import Interrupted, ValignError
from valign.distributed import signals

CHECKPOINT = re.compile(r"^step-(\d+)\.ckpt$")


def latest_checkpoint(folder: Path) -> tuple[int, Path | None]:
    """Return the step and path of the last complete checkpoint, or 0 and None."""
    found = [(int(m.group(1)), path) for path in folder.glob("step-*") if (m := CHECKPOINT.match(path.name))]
    return max(found, default=(0, None), key=lambda pair: pair[0])


def remove_path(path: Path) -> None:
    """Remove a file or a folder; what is not there is no error."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_asked_to_stop(trainer: pl.Trainer) -> bool:
    """Tell whether any process of a training received a signal; every process has to ask at the same place."""
    own = signals.received() is not None
    return bool(trainer.strategy.reduce_boolean_decision(own, all=False)) if trainer.world_size > 1 else own


def stop(trainer: pl.Trainer, done: str) -> None:
    """End a training that a signal has asked to end, or go on where another handler of that signal takes over.

    Args:
        trainer: What trains.
        done: What is saved, in words.

    Raises:
        Interrupted: No other handler takes over.
    """
    received = signals.received()
    said = f"{received.name if received is not None else 'a signal to another process'}: {done}"
    owned = signals.is_owned()
    if trainer.world_size > 1:  # where one process's handler takes over, those without a signal go on as well
        owned = bool(trainer.strategy.reduce_boolean_decision(owned, all=False))
    if signals.pass_on(said) or owned:
        return
    if trainer.is_global_zero and received != signal.SIGINT:  # now: SLURM may kill while a logger still closes
        print(said, file=sys.stderr, flush=True)
    raise Interrupted(f"{said}; the same command goes on from there.", received == signal.SIGINT)


class Checkpoints(pl.Callback):
    """Saves every ``every`` optimizer steps, under a name that only a complete checkpoint has; keeps the last.

    Where a signal has asked the process to stop, a checkpoint is saved after the step, and the training ends. It goes
    on where another handler of that signal takes over, as submitit's does with SIGTERM; SLURM then kills the process.

    Args:
        folder: Where they go, one ``step-<n>.ckpt`` at a time.
        every: Optimizer steps between two.
        total: Steps of the training; nothing is saved after the last, whose result is the trained model.
    """

    def __init__(self, folder: Path, every: int, total: int) -> None:
        self.folder, self.every, self.total = folder, every, total

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save after every ``every`` steps, and after a step during which a signal was received.

        Raises:
            Interrupted: Any process received a signal.
        """
        step = trainer.global_step
        if not batch.is_last or step >= self.total:
            return
        stopping = is_asked_to_stop(trainer)
        if stopping or step % self.every == 0:
            self.save(trainer, step)
        if stopping:
            stop(trainer, f"saved step {step} of {self.total}")

    def save(self, trainer: pl.Trainer, step: int) -> None:
        """Write a checkpoint and remove the one before it.

        Raises:
            ValignError: The disk is full; the checkpoint before stays.
        """
        part, whole = self.folder / f"step-{step:07d}.part", self.folder / f"step-{step:07d}.ckpt"
        try:
            with describe_disk_errors(whole):
                trainer.save_checkpoint(part)
        except ValignError:
            if trainer.is_global_zero:
                remove_path(part)  # half of it; the checkpoint before stays
            raise
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            remove_path(whole)
            os.replace(part, whole)
            for other in self.folder.glob("step-*"):
                if other != whole:
                    remove_path(other)
        trainer.strategy.barrier()
