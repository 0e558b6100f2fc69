"""What training stages have left, as one LoRA adapter in a folder that other programs read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from valign.core.files import write_json
from valign.models.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_adapter_config
from valign.models.stacked_adapters import MATRIX, StackedAdapter

SERVED_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # what vllm serve --max-lora-rank takes


def write_lora(folder: Path, weights: Sequence[Path], changes: Mapping[str, Any]) -> int:
    """Write the adapters of some stages as one, and return its rank, the sum of theirs.

    Args:
        folder: Is there, and empty.
        weights: The stages' ``adapter/`` folders, in order; of several, each is plain LoRA of linear layers.
        changes: Values of the adapter's config in place of the first stage's.

    Raises:
        ValignError: Several adapters do not become one.
    """
    configs = [read_adapter_config(each) for each in weights]
    rank = sum(config["r"] for config in configs)
    changed: dict[str, Any] = {}
    if len(weights) == 1:
        shutil.copyfile(weights[0] / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    else:
        from safetensors.torch import save_file

        stacked = StackedAdapter.read(weights)
        save_file(stacked.tensors(), folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
        same = all(config["target_modules"] == configs[0]["target_modules"] for config in configs)
        layers = {} if same else {"target_modules": list(stacked.layers)}
        changed = {"r": rank, "lora_alpha": rank, **layers}
    write_json(folder / ADAPTER_CONFIG, configs[0] | changed | dict(changes))
    return rank


def adapted_modules(folder: Path) -> list[str]:
    """Return the names of the layers that a written adapter changes, without what they lie in, such as ``q_proj``."""
    from safetensors import safe_open

    with safe_open(folder / ADAPTER_WEIGHTS, "pt") as file:
        found = [MATRIX.fullmatch(key) for key in file.keys()]  # noqa: SIM118  (no mapping)
    return sorted({match["layer"].rpartition(".")[2] for match in found if match})
