"""Documents are read in a process of its own: one that never ends or fills memory is one line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from valign.core.errors import ValignError
from valign.documents.limits import call_limited
from valign.documents.read import parse_document, read_document


def test_a_file_is_read_as_its_bytes_are(tmp_path: Path) -> None:
    (tmp_path / "rules.md").write_text("# Rules\n\n## Swans\n\nNobody feeds the swans.\n", encoding="utf-8")
    read = read_document(tmp_path / "rules.md", "rules")
    assert read == parse_document((tmp_path / "rules.md").read_bytes(), "rules", suffix="md")
    (tmp_path / "empty.docx").write_bytes(b"PK")
    with pytest.raises(ValignError, match=r"^\S+empty\.docx "):
        read_document(tmp_path / "empty.docx", "empty")


def test_what_takes_too_long_or_too_much_is_one_line() -> None:
    began = time.monotonic()
    with pytest.raises(ValignError, match=r"^slow\.pdf cannot be read in 1 s, which no ordinary document takes"):
        call_limited(time.sleep, 600, where="slow.pdf", seconds=1)
    assert time.monotonic() - began < 60
    with pytest.raises(ValignError, match=r"^huge\.docx takes more than 0\.2 GB of memory to be read"):
        call_limited(bytearray, 10**10, where="huge.docx", memory=200 * 2**20)
    with pytest.raises(ValignError, match=r"^crash\.pdf cannot be read: its reader ended with code 3"):
        call_limited(os._exit, 3, where="crash.pdf")


def test_a_reader_that_was_taken_over_hands_back_no_code() -> None:
    """Only plain values and records come back, and a bug keeps its traceback."""
    with pytest.raises(Exception, match=r"is no record"):
        call_limited(Path, "there", where="evil.pdf")
    with pytest.raises(RuntimeError, match=r"odd\.txt: the reader failed[\s\S]*ValueError"):
        call_limited(int, "x", where="odd.txt")
