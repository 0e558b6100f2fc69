"""What happens around a Hydra multirun: its launcher is checked before, and one table and one page come after."""

from __future__ import annotations

import atexit
import logging
import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from valign.cli.slurm import check_launcher
from valign.core.errors import ValignError
from valign.core.files import write_text
from valign.core.text import hide_logins
from valign.runs import layout

NOTES = "multirun.yaml"  # Hydra's, with all overrides


class HideLogins(logging.Filter):
    """Leaves the logins of URLs out of what Hydra says of its jobs."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and keep it."""
        record.msg = hide_logins(str(record.msg))
        return True


def mask_notes(folder: Path) -> None:
    """Take the logins of URLs out of the file in which Hydra notes a multirun's overrides."""
    file = folder / NOTES
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    if (masked := hide_logins(text)) != text:
        write_text(file, masked)


class SweepCallback(Callback):
    """Checks the launcher before a multirun, and compares the runs of the experiment after it.

    What Hydra prints and notes of the multirun is without the logins of URLs, from its first job on.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Exit with one line where the jobs cannot be launched; Hydra would turn an exception into a warning."""
        try:
            check_launcher(OmegaConf.to_container(config.hydra.launcher, resolve=False))  # type: ignore[arg-type]
        except ValignError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
        logging.getLogger("hydra._internal.core_plugins.basic_launcher").addFilter(HideLogins())
        atexit.register(mask_notes, Path(config.hydra.sweep.dir))

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Mask the notes: Hydra has written them by now."""
        mask_notes(Path(config.hydra.sweep.dir))

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
