"""Replies of many kinds of servers, each from a process of its own: no thought, and nothing cut, passes for a text."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from odd_server import QUESTION, THOUGHT
from odd_servers import Face, ask, bodies, one

from valign.core.errors import ValignError
from valign.generation.requests import Completion
from valign.generation.thoughts import Visible, without_thoughts
from valign.teachers.api import ApiTeacher
from valign.teachers.cache import CachedTeacher, request_key
from valign.teachers.completion_store import CompletionStore
from valign.teachers.protocol import NO_COMPLETION
from valign.teachers.replay import ReplayTeacher
from valign.teachers.replies import read_choice
from valign.teachers.usage import Meter

KEY = "sk-proj-0123456789/abcdefghijklmnop"


@pytest.mark.parametrize("face", ["think", "half", "mistral", "harmony", "bare", "beside", "list", "gemini", "good"])
def test_thoughts_are_taken_off(odd: Face, face: str) -> None:
    found = one(odd(face))
    assert (found.text, found.finished) == (QUESTION, True)
    assert found.tokens == (9 if face == "good" else 10)  # where it thought, 37 characters are 10 tokens


@pytest.mark.parametrize("end", ["stop", "eos_token", "stop_sequence", "end_turn", "STOP", "COMPLETE", None])
def test_a_text_that_ended_is_finished(end: Any) -> None:
    assert read_choice({"message": {"content": "Yes."}, "finish_reason": end}).is_whole


@pytest.mark.parametrize("end", ["length", "max_tokens", "MAX_TOKENS", "model_length", "content_filter", "SAFETY"])
def test_a_text_that_broke_off_is_not(end: str) -> None:
    assert not read_choice({"message": {"content": "Yes."}, "finish_reason": end}).is_whole


def test_a_model_that_thinks_gets_room_for_it(odd: Face) -> None:
    """64 tokens are too few for 500 of thought: the call is made again with 1,024 more, later ones begin with them."""
    url = odd("thinks")
    teacher = ApiTeacher("m", [url], concurrency=1)
    assert teacher.complete([ask(n=2)]) == [[Completion(QUESTION, 10, True)] * 2]
    assert [(body["max_tokens"], body.get("n")) for body in bodies(url)] == [(64, 2), (1088, None), (1088, None)]
    assert teacher.complete([ask()])[0][0].text == QUESTION
    assert bodies(url)[3]["max_tokens"] == 1088
    assert teacher.meter.completion == 2 * 64 + 3 * 509


@pytest.mark.parametrize(("most", "sent"), [(4096, [64, 1088, 4160]), (2000, [64, 1088, 2064, 2064]), (0, [64, 64])])
def test_room_to_think_has_an_end(odd: Face, most: int, sent: list[int]) -> None:
    """3,000 tokens of thought fit into 4,096; with less there is no completion, after one more try."""
    url = odd("thinks-long")
    before = len(bodies(url))
    assert (one(url, thinking_tokens=most).text == QUESTION) == (most == 4096)
    assert [body["max_tokens"] for body in bodies(url)[before:]] == sent


def test_room_to_think_does_not_exceed_the_context(odd: Face) -> None:
    """The context of 600 has room for 64 and 256 more: it is found, and the call with no more is the last."""
    url = odd("small")
    assert one(url) == NO_COMPLETION
    assert [body["max_tokens"] for body in bodies(url)] == [64, 1088, 320, 320]


@pytest.mark.parametrize(
    ("face", "why"),
    [
        ("null", "thoughts and no answer, finish_reason length.; raise judge.thinking_tokens .the last call had 4096."),
        ("open", "thoughts and no answer, finish_reason length.; raise judge.thinking_tokens"),
        ("silent", "no text, finish_reason stop.; check the model's chat template"),
        ("empty", "an empty text, finish_reason stop.; check the model's chat template"),
        ("filtered", "no text, finish_reason content_filter.; the model, or a filter before it, declines"),
    ],
)
def test_empty_replies_end_a_run_after_two_dozen(odd: Face, tmp_path: Path, face: str, why: str) -> None:
    """Nothing is kept of them but what they took, and the same command goes on."""
    url = odd(face)
    cached = CachedTeacher(ApiTeacher("m", [url], concurrency=1, group="judge"), tmp_path / "c.sqlite")
    requests = [ask(f"p{i}") for i in range(40)]
    with pytest.raises(
        ValignError, match=f"answers without a text .24 replies, nearly in a row, the last with {why}"
    ) as e:
        cached.complete_all(requests, "test")
    assert "\n" not in str(e.value)
    assert 24 <= len(bodies(url)) <= 28
    store = CompletionStore(tmp_path / "c.sqlite")
    assert store.spent_by("m").calls == len(bodies(url))
    assert store.read([request_key("m", request) for request in requests]) == {}


def test_some_empty_replies_are_left_out_and_asked_again_another_time(odd: Face, tmp_path: Path) -> None:
    """Half of 60 stay empty, after two tries each; the others are kept, and the next run asks for the 30 alone."""
    url = odd("every-other")
    requests = [ask(f"p{i}") for i in range(60)]
    cached = CachedTeacher(ApiTeacher("m", [url], concurrency=1), tmp_path / "c.sqlite")
    rows = cached.complete_all(requests, "test")
    assert [row[0] for row in rows] == [NO_COMPLETION if i % 2 else Completion(QUESTION, 9, True) for i in range(60)]
    assert len(bodies(url)) == 90
    seeds = {body["messages"][0]["content"]: body["seed"] for body in bodies(url)}
    assert len(seeds) == 60
    CachedTeacher(ApiTeacher("m", [url], concurrency=1), tmp_path / "c.sqlite").complete_all(requests[:10], "test")
    again = [body["messages"][0]["content"] for body in bodies(url)[90:]]
    assert again == [f"p{i}" for i in (1, 1, 3, 3, 5, 5, 7, 7, 9, 9)]


def test_shares_do_not_wait_for_what_stayed_empty(odd: Face, tmp_path: Path) -> None:
    """Both shares of 40 end at once, though a half stays empty; the waiting one asks the other's empty ones itself."""
    url = odd("every-other")
    requests = [ask(f"p{i}") for i in range(40)]

    def complete(share: int) -> list[list[Completion]]:
        teacher = ApiTeacher("m", [url], concurrency=1)
        return CachedTeacher(teacher, tmp_path / "c.sqlite", share=(share, 2)).complete_all(requests, "test")

    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(complete, range(2))
    assert time.monotonic() - began < 60
    expected = [NO_COMPLETION if i % 2 else Completion(QUESTION, 9, True) for i in range(40)]
    assert [row[0] for row in first] == [row[0] for row in second] == expected


def test_an_empty_answer_of_a_served_arm_is_its_answer(odd: Face) -> None:
    """It is measured as it is; one that was all thought, or no text at all, is none."""
    assert one(odd("empty"), is_measured=True) == Completion("", 9, True)
    assert one(odd("silent"), is_measured=True) == NO_COMPLETION
    assert one(odd("open"), is_measured=True) == NO_COMPLETION


@pytest.mark.parametrize("face", ["deep", "moved", "deep-error", "echo-good"])
def test_strange_replies_are_one_line(odd: Face, face: str) -> None:
    with pytest.raises(ValignError) as caught:
        one(odd(face))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_calls_are_not_sent_on_to_another_server(odd: Face) -> None:
    with pytest.raises(
        ValignError, match=r"sends calls on to http://127\.0\.0\.1:9/v1/chat/completions; give the addr"
    ) as e:
        one(odd("moved"))
    assert "me:pw" not in str(e.value)


@pytest.mark.parametrize(("face", "counted"), [("huge", 10), ("negative", 10), ("good", 9)])
def test_counts_of_tokens_are_plausible(odd: Face, tmp_path: Path, face: str, counted: int) -> None:
    """A count that cannot be is replaced by the estimate, one for four of 37 characters, also at a limit."""
    meter = Meter(max_tokens=10_000)
    cached = CachedTeacher(ApiTeacher("m", [odd(face)], meter=meter), tmp_path / "c.sqlite")
    assert cached.complete_all([ask()], "test")[0][0].tokens == counted
    assert (meter.prompt, meter.completion) == (50, counted)


def test_halves_of_characters_are_replaced(odd: Face, tmp_path: Path) -> None:
    """In a reply, and in a recording."""
    cached = CachedTeacher(ApiTeacher("m", [odd("surrogate")]), tmp_path / "c.sqlite")
    assert cached.complete_all([ask()], "test")[0][0].text == "What is the limit ? for gifts?"
    request = ask("Is it \ud83d?")
    line = {**request.to_dict(), "completions": [{"text": "Yes \ude00.", "tokens": 2, "finished": True}]}
    (tmp_path / "r.jsonl").write_text(json.dumps(line))
    replayed = CachedTeacher(ReplayTeacher(tmp_path / "r.jsonl"), tmp_path / "c.sqlite")
    assert replayed.complete_all([request], "test")[0][0].text == "Yes ?."


def test_thoughts_in_recordings_and_old_caches_are_taken_off(tmp_path: Path) -> None:
    request = ask()
    said = [Completion(f"<think>{THOUGHT}</think>{QUESTION}", 40, True)]
    line = {**request.to_dict(), "completions": [{"text": said[0].text, "tokens": 40, "finished": True}]}
    (tmp_path / "r.jsonl").write_text(json.dumps(line))
    replayed = CachedTeacher(ReplayTeacher(tmp_path / "r.jsonl"), tmp_path / "c.sqlite")
    assert replayed.complete_all([request], "test") == [[Completion(QUESTION, 10, True)]]
    CompletionStore(tmp_path / "old.sqlite").write({"k": said, "o": [replace(said[0], text="<think>Well")]})
    found = CompletionStore(tmp_path / "old.sqlite").read(["k", "o"])
    assert (found["k"][0].text, found["o"][0]) == (QUESTION, Completion("", 0, False))


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("Plain text.", Visible("Plain text.")),
        ("The analysis is short.", Visible("The analysis is short.")),
        ("<think>a<think>b</think>c</think>Yes.", Visible("Yes.", True)),
        ("<THINKING >a</thinking>Yes. <think>b</think>No.", Visible("Yes. No.", True)),
        ("<think>a</think>Yes. <think>and", Visible("Yes.", True, True)),
        ("<think>\n\n</think>\n\nYes.", Visible("Yes.", True)),
        ("a</think>\n<answer>Yes.</answer>", Visible("Yes.", True)),
        ("\u25c1think\u25b7a\u25c1/think\u25b7Yes.", Visible("Yes.", True)),
        ("<|channel|>final<|message|>Yes.<|return|>", Visible("Yes.", True)),
        ("analysisThe user wants", Visible("", True, True)),
        ("<seed:think>a</seed:think>Yes.", Visible("Yes.", True)),
        ("<think>" * 20_000 + "a", Visible("", True, True)),
    ],
    ids=range(12),
)
def test_marks_of_thoughts(text: str, visible: Visible) -> None:
    assert without_thoughts(text) == visible


def test_no_part_of_the_key_is_shown(odd: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server repeats the header: in an error, and at the end of the 60 characters that a reply is shown with."""
    monkeypatch.setenv("MY_KEY", KEY)
    for face, status in (("echo", "status 401 .unauthorised: Bearer ...."), ("echo-good", "without a completion")):
        with pytest.raises(ValignError, match=status) as caught:
            one(odd(face), api_key_env="MY_KEY")
        assert not any(KEY[i : i + 8] in str(caught.value) for i in range(len(KEY) - 7)), caught.value
        with pytest.raises(ValignError, match=status.replace("Bearer", "Basic")) as caught:
            one(odd(face, "me:p%40ssword@"))
        for part in ("p%40ss", "p@ss", "bWU6cEBz"):
            assert part not in str(caught.value)
