"""``python -m valign.export run=DIR output=DIR``: the data of a run, or its weights, for other programs."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from valign.cli.main import main_with


def main(config: DictConfig) -> None:
    """Write the training data for other trainers, or the weights for a server."""
    output = Path(config.output).expanduser()
    if config.what == "data":
        write_data(config, output)
    else:
        write_weights(config, output)


def write_data(config: DictConfig, output: Path) -> None:
    """Write Parquet files with a dataset card, and JSON lines for TRL, Axolotl and LLaMA-Factory."""
    from valign.provenance.formats import write_portable
    from valign.provenance.runs import chosen_data

    data = chosen_data(config.run, config.artifact)
    write_portable(data, output, config.license)
    print(f"{len(data.sft)} examples and {len(data.preferences)} pairs: {output}")
    print(f"how to load them: {output / 'README.md'}")


def write_weights(config: DictConfig, output: Path) -> None:
    """Write an arm's merged model, or its adapter, and say how to serve it."""
    from valign.pipeline.weights import export_weights

    name, command = export_weights(Path(config.run).expanduser(), config.arm, config.what, output, config.trust)
    print(f"{config.what} of arm {name}: {output}")
    print(f"serve it, for example: {command}")
    print(f"then evaluate with: evaluation.server.models.{name}={name}")


if __name__ == "__main__":
    main_with(main, "export")
