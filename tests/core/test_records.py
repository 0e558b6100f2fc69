"""Records and their JSONL form: what goes out comes back, and a bad line is named with its file and number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from valign.core.errors import ValignError
from valign.core.files import from_dict, read_jsonl, to_dict, write_jsonl
from valign.core.records import Answer, Instruction, Original, Passage, Preference, Provenance, Question

ORIGIN = Provenance("nine days", 10, 19, "question", "0123456789abcdef", "tiny@1", {"temperature": 0.5})
QUESTION = {"question_id": "q1", "clause": "d/1", "question": "How long?", "reference": "Nine days."}
ROWS: list[Any] = [
    Passage("d/1", ("Code", "Fog"), "Kept nine days.", 3, 18),
    Passage("d/2", ("Code",), "Page two.", 20, 29, 2),
    Instruction("sft-1", ("d/1",), "question", "How long — “kept”?", "Nine days.\n", ORIGIN, {"relevance": 0.5}),
    Preference("pref-1", ("d/1", "d/2"), "claim", "Is it?", "Yes.", "No.", "verdict", ORIGIN),
    Question("q1", "d/1", "How long?", "Nine days.", (("nine days", "9 days"), ("fog",)), "yes"),
    Question("q1", "d/1", "How long?", "Nine days.", original=Original((("ten days",),), "no")),
    Answer("q1", "d/1", "How long?", "Nine days.", "Ten.", "rag", original=Original((), "yes")),
    Answer("q1", "d/1", "How long?", "Nine days.", "Ten\u2028or\u2029so\x85.", "rag"),
    Answer("q1", "d/1", "How long?", "Nine days.", "Ten.", "rag", retrieved=("d/1",), tokens=3, finished=False),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_what_is_written_is_read_back(row: Any, tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "rows.jsonl"
    assert write_jsonl(file, [row, row]) == 2
    assert read_jsonl(file, type(row)) == [row, row]
    assert from_dict(type(row), json.loads(json.dumps(to_dict(row)))) == row


def test_lines_hold_plain_json_and_no_part_file_stays(tmp_path: Path) -> None:
    """Letters beyond ASCII are written as they are; blank lines of a hand-written file do not count."""
    file = tmp_path / "rows.jsonl"
    write_jsonl(file, [{"a": "é"}])
    assert file.read_bytes() == '{"a": "é"}\n'.encode()
    assert [f.name for f in tmp_path.iterdir()] == ["rows.jsonl"]
    file.write_text(f"\n{json.dumps(QUESTION)}\n\n")
    assert [q.question_id for q in read_jsonl(file, Question)] == ["q1"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    write_jsonl(file, [{"a": 1}])
    with pytest.raises(TypeError):
        write_jsonl(file, [{"a": 2}, {"a": object()}])
    assert file.read_text() == '{"a": 1}\n'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"refrence": "x"}, "unknown key 'refrence'"),
        ({"clause": None}, "'clause' must be text, not NoneType"),
        ({"question": 3}, "'question' must be text, not int"),
        ({"facts": "nine days"}, "'facts' must be a list of lists"),
        ({"facts": ["nine days"]}, "'facts' must be a list of lists"),
        ({"facts": [[]]}, "'facts' must be a list of lists"),
        ({"original": "no"}, "'original' must be a JSON object, not str"),
        ({"verdict": "maybe"}, "'verdict' must be \"yes\", \"no\" or null, not 'maybe'"),
    ],
)
def test_a_bad_value_is_named_with_file_and_line(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps(QUESTION) + "\n" + json.dumps({**QUESTION, **change}) + "\n")
    with pytest.raises(ValignError) as error:
        read_jsonl(file, Question)
    assert str(error.value).startswith(f"{file}, line 2: {words}")
    assert "\n" not in str(error.value)


def test_a_bad_original_is_named_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    for original, words in (({"fact": []}, "unknown key 'fact'"), ({"verdict": "maybe"}, "'verdict' must be")):
        file.write_text(json.dumps({**QUESTION, "original": original}) + "\n")
        with pytest.raises(ValignError, match=f"own.jsonl, line 1, original: {words}"):
            read_jsonl(file, Question)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps({"question_id": "q1", "clause": "d/1"}))
    with pytest.raises(ValignError, match=r"own\.jsonl, line 1: key 'question' is missing; add it"):
        read_jsonl(file, Question)


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        ({**to_dict(ORIGIN), "author": "x"}, "line 1, provenance: unknown key 'author'"),
        ({"quote": "nine"}, "line 1, provenance: key 'start' is missing"),
        ({**to_dict(ORIGIN), "start": "ten"}, "line 1, provenance: 'start' must be a whole number, not str"),
        ("the code", "line 1: 'provenance' must be a JSON object, not str"),
    ],
)
def test_a_bad_provenance_is_named_with_file_and_line(provenance: Any, words: str, tmp_path: Path) -> None:
    file = tmp_path / "sft.jsonl"
    file.write_text(json.dumps({**to_dict(ROWS[2]), "provenance": provenance}))
    with pytest.raises(ValignError) as error:
        read_jsonl(file, Instruction)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{'a': 1}", "line 1: not a JSON object on one line"),
        (b'[{"a": 1},', "line 1: not a JSON object on one line"),
        (b'\xef\xbb\xbf{"a": 1}', "line 1: unknown key 'a'"),
        (b"[1, 2]", "line 1: a JSON object is expected, not list"),
        (b'{"question_id": "\xff"}', "is not UTF-8 text (byte 17)"),
    ],
)
def test_a_file_that_is_not_jsonl(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_bytes(content)
    with pytest.raises(ValignError) as error:
        read_jsonl(file, Question)
    assert words in str(error.value)
    assert str(file) in str(error.value)


def test_a_missing_file_and_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(ValignError, match="does not exist"):
        read_jsonl(tmp_path / "none.jsonl", Question)
    with pytest.raises(ValignError, match="is a folder, not a JSONL file"):
        read_jsonl(tmp_path, Question)
