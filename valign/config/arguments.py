"""From a composed config to plain values, of which ``make_settings`` makes the settings that the rooms take."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf


def plain(node: Any) -> dict[str, Any]:
    """Return a config node as plain dictionaries and lists."""
    resolved: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
    return resolved
