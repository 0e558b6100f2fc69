"""Rows that others wrote with halves of characters, or nested too deep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from valign.core.errors import ValignError
from valign.core.files import read_jsonl


@dataclass(frozen=True)
class Row:
    """A row with a text."""

    text: str


def test_halves_of_characters_are_replaced(tmp_path: Path) -> None:
    """A whole character written as two halves stays."""
    (tmp_path / "rows.jsonl").write_text('{"text": "cut \\ud83d off"}\n{"text": "whole \\ud83d\\ude00"}\n')
    assert [row.text for row in read_jsonl(tmp_path / "rows.jsonl", Row)] == ["cut ? off", "whole \U0001f600"]


def test_deep_rows_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": ' + "[" * 100_000 + "\n")
    with pytest.raises(ValignError, match="line 1: lists or objects are nested too deep"):
        read_jsonl(tmp_path / "rows.jsonl", Row)
