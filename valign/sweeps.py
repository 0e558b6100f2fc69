"""What happens when a Hydra multirun has ended: one table and one page of all its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Comparison(Callback):
    """Compares the runs of an experiment once all jobs of a multirun have ended."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the table and write the page, if any job of the sweep finished."""
        from valign import results
        from valign.report import show

        runs = Path(config.runs).expanduser() / config.experiment_name
        if any(runs.glob(f"*/{results.RUN}")):
            show(runs, runs / results.PAGE)
