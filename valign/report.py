"""``python -m valign.report runs=DIR``: the comparison page and tables of all runs in a folder."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from valign.cli.main import main_with


def main(config: DictConfig) -> None:
    """Write the page and the tables, and print one of them."""
    runs = Path(config.runs).expanduser()
    output = Path(config.output).expanduser() if config.output else runs / "report.html"
    show(runs, output)


def show(runs: Path, output: Path) -> None:
    """Compare the runs in a folder."""
    from valign import studies
    from valign.runs import layout

    folders = [f for f in layout.run_folders(runs) if "evaluations" not in f.relative_to(runs).parts]
    studies.write_page(folders, output)
    studies.write_tables(folders, output)
    print("\n" + studies.table(folders))
    print(f"\nreport: {output}")


if __name__ == "__main__":
    main_with(main, "report")
