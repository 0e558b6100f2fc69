"""What is known of a run before any stage: its config, document and model."""

from __future__ import annotations

CACHE = "completions.sqlite"
