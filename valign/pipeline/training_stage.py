"""The training stages."""

from __future__ import annotations

from pathlib import Path


def curves_by_step(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """Return a training stage's curves, from its ``curves.csv``: the quantities of each step."""
    steps: dict[int, dict[str, float]] = {}
    for line in (folder / "curves.csv").read_text(encoding="utf-8").splitlines()[1:]:
        step, quantity, value = line.split(",")
        steps.setdefault(int(step), {})[quantity] = float(value)
    return sorted(steps.items())
