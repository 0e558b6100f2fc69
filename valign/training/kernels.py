"""What needs a GPU and a package of its own: asked for by name, refused in one line where it is not there."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from valign.errors import ValignError
from valign.training.padding import FLASH


def require_packages(trainer: Mapping[str, Any], device: str) -> None:
    """Refuse options of the trainer for which the device or a package is missing.

    Args:
        trainer: May have attention.
        device: ``cpu`` or ``cuda``.

    Raises:
        ValignError: One of them cannot be used here.
    """
    if trainer.get("attention") == FLASH:
        _require(f"trainer.attention={FLASH}", "flash_attn", "flash-attn", device)


def _require(setting: str, module: str, package: str, device: str) -> None:
    if device != "cuda":
        raise ValignError(f"{setting} needs a GPU; choose trainer=gpu, or leave it out.")
    if importlib.util.find_spec(module) is None:
        raise ValignError(f"{setting} needs the package {package}: pip install {package}.")
