"""What happens around a Hydra multirun: its launcher is checked before, and one table and one page come after."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from valign.cli.slurm import check_launcher
from valign.core.errors import ValignError
from valign.runs import layout


class SweepCallback(Callback):
    """Checks the launcher before a multirun, and compares the runs of the experiment after it."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Exit with one line where the jobs cannot be launched; Hydra would turn an exception into a warning."""
        try:
            check_launcher(OmegaConf.to_container(config.hydra.launcher, resolve=False))  # type: ignore[arg-type]
        except ValignError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_code)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the table and write the page, if any job of the sweep finished."""
        from valign.reporting.write import write_report

        runs = Path(config.runs).expanduser() / config.experiment_name
        if any(runs.glob(f"*/{layout.RUN}")):
            write_report(runs, runs / layout.PAGE)
            found = {f: layout.validation_error(f) for f in layout.run_folders(runs)}
            errors = {folder: error for folder, error in found.items() if error is not None}
            if errors:
                best = min(errors, key=lambda folder: errors[folder])
                print(f"\nlowest validation error of {len(errors)} runs: {errors[best]:.4f} ({best.name})")
