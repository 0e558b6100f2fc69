"""What a training shows while it runs: its curves, on disk and in the logger, and a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from valign.core.files import append_text, write_text
from valign.core.progress import ProgressBar, progress
from valign.runs.tracking import ignore_lost_logger
from valign.training.stage import MetricsLogger

CURVES_FILE = "curves.csv"


class Curves(pl.Callback):
    """Writes what every step reports to ``curves.csv`` (step, name, value), and to the logger.

    Steps are counted from 1. Rows of steps after the one that a resumed training starts from are dropped.

    Args:
        folder: The stage's folder.
        stage: Name that goes before the logger's metrics, for example ``sft``.
        start: Steps made before.
        logger: Gets every step's metrics; None for none.
    """

    def __init__(self, folder: Path, stage: str, start: int, logger: MetricsLogger | None = None) -> None:
        self.path, self.stage, self.start, self.logger = folder / CURVES_FILE, stage, start, logger

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keep the rows of the steps made before, or begin the file."""
        if not trainer.is_global_zero:
            return
        kept = [row for row in read_curves(self.path) if row[0] <= self.start]
        write_text(self.path, "step,name,value\n" + "".join(_line(*row) for row in kept))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write one step's report."""
        if pl_module.report is None or not batch.is_last or not trainer.is_global_zero:
            return
        rows = (_line(trainer.global_step, name, value) for name, value in pl_module.report.items())
        append_text(self.path, "".join(rows))
        if self.logger:
            metrics = {f"{self.stage}/{name}": value for name, value in pl_module.report.items()}
            with ignore_lost_logger(self.stage, f"{self.path} goes on"):
                self.logger.log_metrics(metrics, step=trainer.global_step)
                return
            self.logger = None


def _line(step: int, name: str, value: float) -> str:
    return f"{step},{name},{value:.9g}\n"


def read_curves(path: Path) -> list[tuple[int, str, float]]:
    """Return a file's (step, name, value); a last line that was cut off is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]
    cells = [line.split(",") for line in lines if line.endswith("\n")]
    return [(int(step), name, float(value)) for step, name, value in cells]


class TrainingProgress(pl.Callback):
    """Shows how far the training is, and the time that is left.

    Args:
        stage: Name of the stage.
        total: Optimizer steps.
        start: Steps made before.
    """

    def __init__(self, stage: str, total: int, start: int) -> None:
        self.stage, self.total, self.start = stage, total, start
        self.bar: ProgressBar | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Open the bar on the first device."""
        if self.bar is None and trainer.is_global_zero:
            self.bar = progress(self.total - self.start, self.stage, "steps")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the bar on by one step."""
        if self.bar is not None and batch.is_last:
            self.bar.update()

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
