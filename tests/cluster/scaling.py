"""Takes the large experiments to their last stage in as many ranks as asked for: ``scaling.py RANKS FOLDER NAMES``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import scaled
from hydra import compose, initialize_config_dir

from valign.cli.main import config_folder
from valign.config import run_identity
from valign.distributed.join import connect
from valign.pipeline.context import Context

QUIET = "trainer.deepspeed.zero_optimization.overlap_comm=false"  # CPU ranks have no streams


def main() -> None:
    """Go through the experiments; the first process writes what each has found."""
    run_identity.register_config()
    world, folder, names = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    with connect(world, 300) as ranks, initialize_config_dir(str(config_folder()), version_base="1.3"):
        for name in names:
            overrides = scaled.on_cpu(name, folder / "base", world)
            composed = compose("config", [*overrides, *([QUIET] if "70b" in name else [])])
            found = scaled.go_to_last_stage(Context.of(composed, ranks), folder / name)
            if ranks.is_first:
                counts = {**found["counts"], "answers": [answer.answer for answer in found["answers"]]}
                (folder / name / "found.json").write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
