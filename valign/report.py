"""``python -m valign.report runs=DIR``: the comparison page and tables of all runs in a folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from valign.cli.main import main_with


def main(config: DictConfig) -> None:
    """Write the page and the tables, and print one of them."""
    from valign.reporting.write import write_report

    runs = Path(config.runs).expanduser()
    output = Path(config.output).expanduser() if config.output else runs / "report.html"
    write_report(runs, output)


if __name__ == "__main__":
    main_with(main, "report")
