"""Teachers' replies, damaged and wrapped in every way: items come out, thoughts do not, nothing fails or hangs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fuzzed import EDITS, Edits, damaged, fuzzing, within_limits
from hypothesis import example, given
from hypothesis import strategies as st

from valign.generation.thoughts import without_thoughts
from valign.synthesis.judge_replies import find_letters
from valign.synthesis.reply_forms import CASES, text_of
from valign.teachers.json_replies import read_items, read_object
from valign.teachers.replies import read_choice
from valign.teachers.turn_marks import plain_text

KEYS = {"number", "question"}
LONG = {
    "braces": "{" * 60_000,
    "objects": '{"a":' * 40_000,
    "escaped quotes": '"' + '\\"' * 60_000,
    "commas": "," * 60_000,
    "lists": '{"a":' + "[" * 60_000,
    "spaces behind a thought": "<think>x</think>a" + " " * 60_000 + "b",
    "marks of the end": "<think>x</think>" + "<|end|>" * 20_000 + "x",
    "opening marks": "<think " * 20_000,
    "channels": "<|channel|>" * 20_000 + "x",
    "blocks of details": '<details type="reasoning">' * 10_000,
    "details without a type": "<details " + "type=" * 40_000,
    "names of marks": "<" + "a-" * 60_000 + "think>",
    "marks that are escaped": "&lt;think " * 20_000,
    "answers that do not end": "<think>x</think>" + "<answer>" * 20_000,
    "ends of answers": "<think>x</think><answer>" + "</answer> " * 20_000 + "b",
    "ends of turns": "<|end|> " * 30_000 + "<|start|>",
    "beginnings of turns": "<|im_start|>" + " " * 60_000 + "b",
    "Granite's words": "Here is my thought process: " * 10_000,
    "nested as deep as is read": '{"a":' + "[" * 960 + "]" * 960 + "}",
    "brackets of Python": "{'a':" + "(" * 5_000 + "}",
}
ODD = [
    "{[1]: 2}",  # a list as a key was a TypeError
    "{'question': 0x" + "f" * 5_000 + ", 'number': 1}",  # more digits than Python writes out
    '{"question": "\\ud83d", "number": 1}',
    '{"number": ' + "9" * 5_000 + "}",
    "{'a': 1, **b}",
    "<think>{}</think></think>{",
    "<think>{'question': 'thought', 'number': 1}</think>Well.",
]
REPLY = (
    '<think>\nA {"question": "thought"}?</think>Here:\n```json\n{"items": [{"number": 1, "question": "Who?", '
    "\"verdict\": \"yes\",}, {'number': 2, 'question': 'Why?'}]}\n```\nB. (C) clause A"
)


def read_all(reply: str) -> list[dict[str, Any]]:
    """Read a reply in every way there is."""
    with within_limits():
        items = read_items(reply, KEYS)
        for item in [*items, read_object(reply, ["decides", "a"]) or {}]:
            assert all("\n" not in text_of(value) for value in item.values())
        letters = find_letters(reply, "decides", "ABC")
        assert letters is None or set(letters) <= set("ABC")
        visible = without_thoughts(reply)
        plain_text(reply)
        assert not (visible.has_thoughts and visible.text != visible.text.strip())
    return items


@pytest.mark.parametrize("name", LONG)
def test_no_reply_takes_long(name: str) -> None:
    assert read_all(LONG[name]) == []


@pytest.mark.parametrize("reply", ODD)
def test_odd_replies_are_read(reply: str) -> None:
    assert not any(text_of(item.get("question")) == "thought" for item in read_all(reply))


def check_damaged(edits: Edits) -> None:
    read_all(damaged(REPLY.encode(), edits).decode("utf-8", "replace"))


def test_damaged_replies_are_read() -> None:
    assert [item["question"] for item in read_all(REPLY)] == ["Who?"]
    fuzzing(60)(given(EDITS)(check_damaged))()


@pytest.mark.slow
def test_many_damaged_replies_are_read() -> None:
    fuzzing(4000)(given(EDITS)(check_damaged))()


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<>\u201c\u201d\u201e"), max_size=30)
ITEMS = st.lists(st.fixed_dictionaries({"number": st.integers(1, 99), "question": TEXT, "answer": TEXT}), max_size=4)
MARKS = [
    ("<think>", "</think>"), ("", "</think>"), ("<thinking>\n", "</thinking>\n"), ("[THINK]", "[/THINK]"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"), ("", ""),
    ("<|START_THINKING|>", "<|END_THINKING|>"), ("<|channel>thought\n", "<channel|>"),
    ("&lt;think&gt;", "&lt;/think&gt;"),
    ('<details type="reasoning">', "</details>"), ("Here is my thought process: ", "Here is my response:"),
]  # fmt: skip


def check_wrapped(items: list[dict[str, Any]], marks: tuple[str, str], shape: str, prose: str, comma: bool) -> None:
    """A reply with these items is read as these items, whatever stands around them."""
    told = json.dumps(items, ensure_ascii=False) if shape != "lines" else "\n".join(map(json.dumps, items))
    if shape == "wrapped":
        told = json.dumps({"note": "see below", "items": items})
    if shape == "numbered":
        told = json.dumps({str(item["number"]): item for item in items})
        items = list({str(item["number"]): item for item in items}.values())
    if comma and shape == "wrapped":
        told = told.removesuffix("}") + ",}"
    thought = 'Kale thought: {"number": 0, "question": "thought"}' if marks[1] else ""
    reply = f"{marks[0]}{thought}{marks[1]}{prose}\n```json\n{told}\n```\n{prose}"
    with within_limits():
        assert read_items(reply, KEYS) == items
        assert "Kale" not in without_thoughts(reply).text
        choice = read_choice({"message": {"content": reply}, "finish_reason": "stop"})
    assert "Kale" not in choice.text
    assert choice.is_whole


WRAPPED = {
    "items": ITEMS,
    "marks": st.sampled_from(MARKS),
    "shape": st.sampled_from(["list", "lines", "wrapped", "numbered"]),
    "prose": st.sampled_from(["", "Here are the items:", "A note [1], (2) and 5 > 3."]),
    "comma": st.booleans(),
}


def test_items_come_out_of_what_is_around_them() -> None:
    fuzzing(60)(given(**WRAPPED)(check_wrapped))()


@pytest.mark.slow
def test_items_come_out_of_much_that_is_around_them() -> None:
    fuzzing(2000)(given(**WRAPPED)(check_wrapped))()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*KEYS, "text", "type"]) | TEXT, inner),
    max_leaves=12,
)


@fuzzing(100)
@example(content=[{"type": "text", "text": None}], end=7)
@given(content=JSON, end=JSON)
def test_any_content_is_a_choice_or_an_error_that_is_known(content: Any, end: Any) -> None:
    """The client takes these errors for a reply that is none."""
    try:
        choice = read_choice({"message": {"content": content}, "finish_reason": end})
    except (ValueError, TypeError, KeyError, AttributeError):
        assert not isinstance(content, str | dict | None)
        return
    choice.text.encode()


def test_an_item_of_any_kind_is_text_or_nothing() -> None:
    values: list[Any] = [True, 1.5, None, [1], {}, "a\nb", 10**5_000]
    assert [text_of(value) for value in values] == [
        "True", "1.5", "", "", "", "a b", "",
    ]  # fmt: skip
    assert set(CASES.schema["properties"]["items"]["items"]["required"]) >= KEYS
