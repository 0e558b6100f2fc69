"""Results of a batch whose model thinks: no thought is a text, the next round has room, and no round is for nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from odd_server import QUESTION, THOUGHT
from odd_servers import ask

from valign.core.errors import Pending, ValignError
from valign.generation.requests import Completion, Request
from valign.teachers.batch import BatchTeacher
from valign.teachers.batch_round import stop_if_pending
from valign.teachers.cache import CachedTeacher


def ask_round(folder: Path, requests: list[Request]) -> list[list[Completion]]:
    """Ask as a stage does."""
    cached = CachedTeacher(BatchTeacher("m", folder / "batch"), folder / "c.sqlite")
    rows = cached.complete_all(requests, "test")
    stop_if_pending([cached], "aaaaaaaa")
    return rows


def asked(folder: Path) -> list[dict[str, Any]]:
    """The requests of the last round."""
    return [json.loads(line) for line in (folder / "batch" / "requests-m-aaaaaaaa.jsonl").read_text().splitlines()]


def reply(folder: Path, file: str, tokens: int, finish: str, **message: Any) -> None:
    """Write the same reply to all requests of the last round."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    body = {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": tokens}}
    lines = [{"custom_id": a["custom_id"], "response": {"status_code": 200, "body": body}} for a in asked(folder)]
    (folder / "batch" / file).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_model_that_thinks_gets_room_in_the_next_round(tmp_path: Path) -> None:
    requests = [ask(f"p{i}") for i in range(30)]
    with pytest.raises(Pending):
        ask_round(tmp_path, requests)
    assert {line["body"]["max_tokens"] for line in asked(tmp_path)} == {64}
    reply(tmp_path, "a.jsonl", 64, "length", content=None, reasoning_content=THOUGHT)
    with pytest.raises(Pending, match=r"30 failed and are asked for again: 30 \(thoughts and no answer\)"):
        ask_round(tmp_path, requests)
    assert {line["body"]["max_tokens"] for line in asked(tmp_path)} == {64 + 4096}
    reply(tmp_path, "b.jsonl", 90, "eos_token", content=f"{THOUGHT}\n</think>\n{QUESTION}")
    assert {(row[0].text, row[0].finished) for row in ask_round(tmp_path, requests)} == {(QUESTION, True)}


@pytest.mark.parametrize(
    ("finish", "tokens", "more", "words"),
    [
        (
            "length",
            4160,
            {"reasoning_content": THOUGHT},
            r"hold thoughts and no answer; raise teacher\.thinking_tokens=4096",
        ),
        ("length", 4160, {}, r"hold thoughts and no answer; raise teacher\.thinking_tokens=4096"),
        ("stop", 0, {}, "hold no text; check the model's chat template"),
    ],
)
def test_rounds_end_where_nothing_has_a_text(
    tmp_path: Path, finish: str, tokens: int, more: dict[str, str], words: str
) -> None:
    requests = [ask(f"p{i}") for i in range(30)]
    with pytest.raises(Pending):
        ask_round(tmp_path, requests)
    reply(tmp_path, "a.jsonl", tokens, finish, content=None, **more)
    with pytest.raises(ValignError, match=f"30 of 30 results of m {words}"):
        ask_round(tmp_path, requests)
