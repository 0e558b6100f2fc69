"""Settings of the synthesis with some of their keys changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from valign.synthesis.settings import SynthesisSettings


def changed(settings: SynthesisSettings, **changes: Any) -> SynthesisSettings:
    """Return settings with other values; of a group, a mapping of those of its keys that change."""
    groups = {name: replace(getattr(settings, name), **v) for name, v in changes.items() if isinstance(v, Mapping)}
    return replace(settings, **{**changes, **groups})
