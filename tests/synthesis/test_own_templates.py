"""Prompt templates of one's own, as editors and other systems save them."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from valign.core.errors import ValignError
from valign.synthesis.templates import Template, load_template

WORDS = "### system\nWrite in German.\n\n### user\nRegel: {passage}\n\nStelle eine Frage: „Warum?“\n"


def loaded(raw: bytes, folder: Path) -> Template:
    (folder / "factual.txt").write_bytes(raw)
    return load_template("factual", str(folder))


@pytest.mark.parametrize(
    "raw",
    [
        WORDS.replace("\n", "\r\n").encode(),
        WORDS.replace("\n", "\r").encode(),
        codecs.BOM_UTF8 + WORDS.encode(),
        codecs.BOM_UTF8 + WORDS.replace("\n", "\r\n").encode(),
        codecs.BOM_UTF16_LE + WORDS.replace("\n", "\r\n").encode("utf-16-le"),
    ],
    ids=["crlf", "cr", "bom", "bom-crlf", "utf16-crlf"],
)
def test_line_ends_and_byte_order_marks_change_nothing(raw: bytes, tmp_path: Path) -> None:
    """Neither the turns nor the hash, so that what the teacher has said is found again."""
    found = loaded(raw, tmp_path)
    assert [turn["role"] for turn in found.turns] == ["system", "user"]
    assert found.fill(passage="X")[1]["content"] == "Regel: X\n\nStelle eine Frage: „Warum?“"
    assert found == loaded(WORDS.encode(), tmp_path)


def test_spaces_behind_a_turns_mark_change_no_turn(tmp_path: Path) -> None:
    assert (
        loaded(WORDS.replace("system\n", "system \t\n").encode(), tmp_path).turns
        == loaded(WORDS.encode(), tmp_path).turns
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            f"Write in German.\n\n{WORDS}".encode(),
            r"factual\.txt has words above its first turn; put them under a line",
        ),
        (WORDS.encode("cp1252"), r"factual\.txt is not UTF-8 text \(byte 75\); save it as UTF-8"),
        (WORDS.encode("utf-16-le"), r"factual\.txt is binary or UTF-16 without its mark"),
    ],
    ids=["above", "cp1252", "utf16"],
)
def test_what_is_no_template_is_one_line(raw: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValignError, match=message):
        loaded(raw, tmp_path)
