"""``python -m valign.chat runs=DIR``: ask the arms of the runs in a folder, side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from valign.cli.main import main_with
from valign.config.earlier_versions import today

if TYPE_CHECKING:
    from valign.generation.generator import Generator


def main(config: DictConfig) -> None:
    """Read a question a line and print every arm's answer, until the input ends."""
    from valign.evaluation.answering import conversation
    from valign.evaluation.arm_names import arm_label
    from valign.generation.requests import Request, Sampling

    generators, system = load(Path(config.runs).expanduser())
    print(f"arms: {', '.join(arm_label(name) for name in generators)}. One question a line; Ctrl-D ends.")
    for line in sys.stdin:
        if not line.strip():
            continue
        request = Request(conversation(line.strip(), (), system), Sampling(max_new_tokens=120))
        for name, generator in generators.items():
            print(f"\n[{arm_label(name)}] {generator.complete([request])[0][0].text}", flush=True)
        print()


def load(runs: Path) -> tuple[dict[str, Generator], str | None]:
    """Load the arms that answer from memory, each once."""
    from valign.core.files import read_json
    from valign.distributed.devices import device_of
    from valign.generation.generator import Generator
    from valign.models.load import policy
    from valign.pipeline.artifacts import Pipeline, pinned_by
    from valign.runs import layout

    generators: dict[str, Generator] = {}
    system = None
    for folder in layout.run_folders(runs):
        trained = OmegaConf.load(folder / "config.yaml")
        assert isinstance(trained, DictConfig)
        trained = today(trained)
        details = read_json(folder / layout.RUN)
        pipeline = Pipeline(trained, pinned=pinned_by(details))
        system = pipeline.system_prompt
        for arm in details["arms"]:
            if arm["retrieval"] or arm["name"] in generators:
                continue
            base = trained.base_model
            weights = pipeline.adapters(arm["stages"])
            device = device_of(trained.trainer.accelerator)
            kept = base.precision, base.trust_remote_code, device
            model, tokenizer = policy(pipeline.model[0], weights, *kept, quantization=base.get("quantization"))
            generators[arm["name"]] = Generator(model, tokenizer, arm["name"])
    return generators, system


if __name__ == "__main__":
    main_with(main, "chat")
