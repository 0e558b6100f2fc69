"""``python -m valign.export run=DIR output=DIR``: the data of a run, or its weights, for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from valign.cli.main import main_with
from valign.core.errors import ValignError


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
    from valign.provenance.runs import data_of_run
    from valign.synthesis.dataset import read_data

    data = data_of_run(Path(config.run).expanduser()) if config.run else read_data(Path(config.artifact).expanduser())
    write_portable(data, output, config.license)
    print(f"{len(data.sft)} examples and {len(data.preferences)} pairs: {output}")
    print(f"how to load them: {output / 'README.md'}")


def write_weights(config: DictConfig, output: Path) -> None:
    """Write an arm's merged model, or its adapter, and say how to serve it."""
    from valign.distributed.devices import device_of
    from valign.models import export
    from valign.models.precision import resolve_precision
    from valign.pipeline.recipes import arms_of
    from valign.pipeline.run import trained_run

    pipeline = trained_run(Path(config.run).expanduser())
    arms = {arm.name: arm for arm in arms_of(pipeline.config.recipe.stages, False)}
    name = config.arm or list(arms)[-1]
    if name not in arms:
        raise ValignError(f"arm={name}: {config.run} has only: {', '.join(arms)}.")
    base, trained = pipeline.config.base_model, pipeline.adapters(arms[name].stages)
    quantization = base.get("quantization")
    if config.what == "model":
        device = device_of(pipeline.config.trainer.accelerator)
        precision = resolve_precision(base.precision, device)
        place = device if quantization else "cpu"
        options: dict[str, Any] = {
            "quantization": quantization,
            "device": place,
            "trust_remote_code": base.trust_remote_code,
        }
        export.write_model(output, pipeline.model[0], trained, precision, **options)
        command = f"vllm serve {output} --served-model-name {name}"
    elif quantization:
        raise ValignError(f"an adapter trained on {quantization} is right on those weights alone; use what=model.")
    else:
        rank = export.write_adapter(output, str(pipeline.model[0]), trained)
        most = next((r for r in export.SERVED_RANKS if r >= rank), rank)
        command = (
            f"vllm serve {pipeline.model[0]} --generation-config vllm --enable-lora --max-lora-rank {most} "
            f"--lora-modules {name}={output}"
        )
    print(f"{config.what} of arm {name}: {output}")
    print(f"serve it, for example: {command}")
    print(f"then evaluate with: evaluation.server.models.{name}={name}")


if __name__ == "__main__":
    main_with(main, "export")
