"""The data stage."""

from __future__ import annotations

NOT_HASHED = ("templates",)  # their words stand among the inputs


REPLAY = "replay.jsonl"
