"""``python -m valign.export run=DIR output=DIR``: the data of a run in the forms that other trainers read."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from valign.cli import main_with


def main(config: DictConfig) -> None:
    """Write Parquet files with a dataset card, and JSON lines for TRL, Axolotl and LLaMA-Factory."""
    from valign.ledger.portable import write_portable
    from valign.ledger.source import data_of_run, read_data

    data = data_of_run(Path(config.run).expanduser()) if config.run else read_data(Path(config.artifact).expanduser())
    output = Path(config.output).expanduser()
    write_portable(data, output, config.license)
    print(f"{len(data.sft)} examples and {len(data.preferences)} pairs: {output}")
    print(f"how to load them: {output / 'README.md'}")


if __name__ == "__main__":
    main_with(main, "export")
