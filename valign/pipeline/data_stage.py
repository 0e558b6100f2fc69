"""The data stage."""

from __future__ import annotations

NOT_HASHED = ("question_teacher", "templates")  # their id and their words stand among the inputs


REPLAY = "replay.jsonl"
