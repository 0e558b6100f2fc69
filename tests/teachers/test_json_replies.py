"""JSON in replies: every sort of wrapping and damage, and what is left of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from valign.teachers.json_replies import read_items, read_object

ONE = {"number": 1, "question": "Who?", "answer": "The keeper, {at} [dusk]."}
TWO = {"number": 2, "question": "May I?", "answer": 'No. "Never," she said, \\ not once.'}
WHOLE = json.dumps({"items": [ONE, TWO]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WHOLE, [ONE, TWO]),
        (json.dumps([ONE, TWO]), [ONE, TWO]),
        (json.dumps(ONE), [ONE]),
        (f"{json.dumps(ONE)}\n{json.dumps(TWO)}\n", [ONE, TWO]),
        (f"Here you are {{as asked}}:\n```json\n{WHOLE}\n```\nDone.", [ONE, TWO]),
        (f"<think>I might say {json.dumps(TWO)}.</think>{json.dumps([ONE])}", [ONE]),
        (f'{{"items": [{json.dumps(ONE)}, {json.dumps(TWO)},],}}', [ONE, TWO]),
        (WHOLE[: WHOLE.index('"May')], [ONE]),
        (WHOLE[:-2], [ONE, TWO]),
        (WHOLE[:-6], [ONE]),
        (f'{{"items": [{json.dumps(ONE)} {json.dumps(TWO)}]}}', [ONE, TWO]),
        (f'{{"items": [{{"number": 1, "question": "He said "no" to me?"}}, {json.dumps(TWO)}]}}', [TWO]),
        (json.dumps({"1": {"question": "Who?"}, "2": {"question": "When?"}}),
         [{"number": "1", "question": "Who?"}, {"number": "2", "question": "When?"}]),
        (json.dumps({"result": {"list": [ONE]}, "note": {"count": 1}}), [ONE]),
        ('{"question": "Two\nlines?"}', [{"question": "Two\nlines?"}]),
        ("{\u201cquestion\u201d: \u201cCurly?\u201d}", [{"question": "Curly?"}]),
        ("[{'number': 1, 'question': 'Quoted as Python does?', 'verdict': None}]",
         [{"number": 1, "question": "Quoted as Python does?", "verdict": None}]),
        ('{"items": []}', []),
        ("I cannot do that.", []),
        ("", []),
        ("{" * 5000, []),
        ('{"a":' * 3000, []),
        ("null", []),
    ],
)  # fmt: skip
def test_items_of_a_reply(text: str, expected: list[dict[str, Any]]) -> None:
    assert read_items(text, ("question",)) == expected


@pytest.mark.parametrize("cut", range(0, len(WHOLE), 7))
def test_a_list_that_breaks_off_keeps_its_whole_items(cut: int) -> None:
    """Wherever the reply ends, what is returned is the beginning of the list and nothing that was not written whole."""
    found = read_items(WHOLE[:cut], ("question", "answer"))
    written = [item for item in (ONE, TWO) if json.dumps(item) in WHOLE[:cut]]
    assert found == written


def test_the_first_object_with_a_key_is_taken() -> None:
    assert read_object('{"x": 1} then {"names": ["a",], "x": 2}', ("names",)) == {"names": ["a"], "x": 2}
    assert read_object('{"x": {"names": []}}', ("names",)) == {"names": []}
    assert read_object("[1, 2]", ("names",)) is None
