"""The API teacher against a real HTTP server in this process."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from completion_server import Server, reply

from valign.core.errors import ValignError
from valign.generation.requests import Completion, Request, Sampling, call_seed
from valign.teachers import servers
from valign.teachers.api import ApiTeacher
from valign.teachers.cache import CachedTeacher
from valign.teachers.urls import is_local, strip_login


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


KEY = "sk-fake-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(servers, "FIRST_WAIT", 0.01)


def ask(prompt: str, openings: tuple[str, ...] = (), **settings: Any) -> Request:
    return Request(({"role": "user", "content": prompt},), Sampling(**settings), openings)


def test_completions_come_back_in_order(server: Server) -> None:
    rows = ApiTeacher("m", [server.url]).complete([ask("a"), ask("long"), ask("b")])
    assert rows == [
        [Completion("re: a", 7, True)],
        [Completion("re: long", 7, False)],
        [Completion("re: b", 7, True)],
    ]
    assert set(server.paths) == {"/v1/chat/completions"}


def test_settings_and_seeds_are_sent(server: Server) -> None:
    """Two completions are one call; where the server gives one for it, the other is asked for with its own seed."""
    teacher = ApiTeacher("m", [server.url], concurrency=1)
    request = ask("a", n=2, temperature=0.7, top_p=0.9, max_new_tokens=5, seed=3)
    expected = {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}],
        "max_tokens": 5,
        "temperature": 0.7,
        "top_p": 0.9,
    }
    both = [[Completion("re: a", 7, True), Completion("re: a", 7, True)]]
    assert teacher.complete([request]) == both
    assert server.bodies == [{**expected, "n": 2, "seed": call_seed(3, 0)}]
    server.bodies.clear()
    server.reply = lambda body: reply({**body, "n": 1})
    assert teacher.complete([request, request]) == both * 2
    seeds = [call_seed(3, 0), call_seed(3, 1)]
    assert server.bodies == [
        {**expected, "n": 2, "seed": seeds[0]},
        *({**expected, "seed": seed} for seed in (seeds[1], seeds[0], seeds[1])),
    ]
    assert len({call_seed(seed, k) for seed in range(9) for k in range(9)}) == 81
    assert all(0 <= call_seed(seed, 0) < 2**31 for seed in range(99))


@pytest.mark.parametrize("status", [400, 422])
def test_server_that_refuses_several_completions_is_asked_one_by_one(server: Server, status: int) -> None:
    server.failures = [(status, "n must be 1")]
    rows = ApiTeacher("m", [server.url], concurrency=1).complete([ask("a", n=3)])
    assert [completion.text for completion in rows[0]] == ["re: a"] * 3
    assert [body.get("n") for body in server.bodies] == [3, None, None, None]


def test_reply_is_held_to_its_schema_where_the_server_can(server: Server) -> None:
    """A request without a schema sends none; a server that refuses one is not sent it again."""
    schema = {"type": "object", "properties": {"who": {"type": "string"}}}
    request = replace(ask("a"), schema=schema)
    teacher = ApiTeacher("m", [server.url], concurrency=1)
    teacher.complete([request, ask("b")])
    held = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}}
    assert [body.get("response_format") for body in server.bodies] == [held, None]
    server.bodies.clear()
    server.failures = [(400, "response_format is not supported")]
    rows = teacher.complete([request, request])
    assert [row[0].text for row in rows] == ["re: a", "re: a"]
    assert ["response_format" in body for body in server.bodies] == [True, False, False]


@pytest.mark.parametrize(
    "said",
    [
        "The provided JSON schema contains features not supported by xgrammar.",
        "Failed to initialize samplers: failed to parse grammar",
        "Invalid request",
    ],
)
def test_a_schema_is_refused_in_many_words(server: Server, said: str) -> None:
    """As vLLM and llama.cpp say it, and as a server says it that names nothing."""
    server.failures = [(400, said)]
    request = replace(ask("a"), schema={"type": "object"})
    assert ApiTeacher("m", [server.url], concurrency=1).complete([request])[0][0].text == "re: a"
    assert ["response_format" in body for body in server.bodies] == [True, False]


def test_a_prompt_that_is_too_long_is_no_refusal_of_the_schema(server: Server) -> None:
    """The call would not fit without a schema either; later ones are still held to theirs."""
    said = "This model's maximum context length is 4096 tokens, but you requested 5000."
    server.failures = [(400, said)]
    teacher = ApiTeacher("m", [server.url], concurrency=1)
    request = replace(ask("a"), schema={"type": "object"})
    with pytest.raises(ValignError, match="maximum context length"):
        teacher.complete([request])
    assert len(server.bodies) == 1


def test_newer_name_of_the_longest_completion(server: Server) -> None:
    """Both of the first calls are refused; neither is lost."""
    said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    server.failures = [(400, said), (400, said)]
    server.seconds = 0.05
    rows = ApiTeacher("m", [server.url], concurrency=2).complete([ask("a"), ask("b")])
    assert [row[0].text for row in rows] == ["re: a", "re: b"]
    assert ["max_tokens" in body for body in server.bodies] == [True, True, False, False]
    assert server.bodies[3]["max_completion_tokens"] == 64


def test_openings_are_asked_for_and_not_insisted_on(server: Server) -> None:
    server.reply = lambda body: {
        **reply(body),
        "choices": [{**reply(body)["choices"][0], "message": {"content": "No"}}],
    }
    request = ask("a", ("Yes,", ""), n=2)
    rows = ApiTeacher("m", [server.url], concurrency=1).complete([request])
    sent = [body["messages"][-1]["content"] for body in server.bodies]
    assert sent == ['a\n\nBegin with the words: "Yes,"', "a"]
    assert [completion.text for completion in rows[0]] == ["No", "No"]
    assert request.messages[0]["content"] == "a"


def test_servers_share_the_calls(server: Server) -> None:
    with Server() as second:
        threading.Thread(target=second.serve_forever, kwargs={"poll_interval": 0.01}).start()
        rows = ApiTeacher("m", [server.url, second.url]).complete([ask(f"p{i}") for i in range(6)])
        second.shutdown()
    assert [row[0].text for row in rows] == [f"re: p{i}" for i in range(6)]
    assert (len(server.bodies), len(second.bodies)) == (3, 3)


def test_no_more_calls_at_once_than_allowed(server: Server) -> None:
    server.seconds = 0.05
    teacher = ApiTeacher("m", [server.url], concurrency=3)
    assert teacher.batches([ask("a")] * 7) == [[0, 1, 2], [3, 4, 5], [6]]
    teacher.complete([ask(f"p{i}") for i in range(9)])
    assert len(server.bodies) == 9
    assert 2 <= server.most_under_way <= 3


def test_failed_calls_are_tried_again(server: Server) -> None:
    server.failures = [(503, "starting"), (429, "slowly")]
    rows = ApiTeacher("m", [server.url], max_retries=2).complete([ask("a")])
    assert rows[0][0].text == "re: a"
    assert len(server.bodies) == 3


def test_last_failure_names_status_and_server_but_not_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server repeats the key; the message, its cause and the log do not."""
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.INFO)
    server.failures = [(401, f"wrong key {KEY}")]
    teacher = ApiTeacher("m", [server.url], api_key_env="MY_KEY", max_retries=0)
    with pytest.raises(ValignError, match=rf"{re.escape(server.url)} \(model m\) answered with status 401") as caught:
        teacher.complete([ask("a")])
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert "wrong key ***" in str(caught.value)
    assert "check the key in $MY_KEY" in str(caught.value)
    assert KEY not in str(caught.value) + repr(caught.value.__cause__) + caplog.text + teacher.id + repr(vars(teacher))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "remedy"), [(404, "teacher.base_urls"), (429, "concurrency"), (500, "server's log")]
)
def test_remedy_fits_the_status(server: Server, status: int, remedy: str) -> None:
    server.failures = [(status, "no")]
    with pytest.raises(ValignError, match=f"status {status} .*{remedy}"):
        ApiTeacher("m", [server.url], max_retries=0).complete([ask("a")])


def test_server_that_is_not_there_is_a_message() -> None:
    with Server() as gone:
        url = gone.url
    with pytest.raises(ValignError, match=rf"{re.escape(url)} \(model m\) cannot be reached .*server runs"):
        ApiTeacher("m", [url], max_retries=0).complete([ask("a")])


def test_slow_server_is_a_message(server: Server) -> None:
    server.seconds = 0.5
    with pytest.raises(ValignError, match=r"did not answer in time; check"):
        ApiTeacher("m", [server.url], timeout=0.1, max_retries=0).complete([ask("a")])


@pytest.mark.parametrize("answer", ["<html>hello</html>", {"choices": []}, {"ok": True}])
def test_server_of_another_kind_is_a_message(server: Server, answer: Any) -> None:
    server.reply = lambda body: answer
    with pytest.raises(ValignError, match="is it an OpenAI-compatible server"):
        ApiTeacher("m", [server.url], max_retries=1).complete([ask("a")])
    assert len(server.bodies) == 2


def test_first_failure_ends_the_other_calls(server: Server) -> None:
    """One call at a time and the first fails: the other nine are never made."""
    server.failures = [(400, "no")]
    with pytest.raises(ValignError, match="status 400"):
        ApiTeacher("m", [server.url], concurrency=1, max_retries=0).complete([ask(f"p{i}") for i in range(10)])
    time.sleep(0.05)
    assert len(server.bodies) <= 2


def test_local_server_needs_no_key_and_a_hosted_one_does(server: Server) -> None:
    ApiTeacher("m", [server.url]).complete([ask("a")])
    assert server.headers[0]["authorization"] == "Bearer EMPTY"
    with pytest.raises(ValignError, match=r"https://api\.example\.com/v1 needs a key: .*OPENAI_API_KEY"):
        ApiTeacher("m", [server.url, "https://api.example.com/v1"]).complete([ask("a")])
    assert len(server.bodies) == 1


def test_login_in_the_url_is_sent_and_not_shown(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """``me:p@w`` in base 64 is bWU6cEB3; it takes the key's place."""
    caplog.set_level(logging.DEBUG)
    url = server.url.replace("http://", "http://me:p%40w@")
    assert ApiTeacher("m", [url]).complete([ask("a")])[0][0].text == "re: a"
    assert server.headers[0]["authorization"] == "Basic bWU6cEB3"
    server.failures = [(403, f"{url} is not for you")]
    with pytest.raises(ValignError, match="status 403") as caught:
        ApiTeacher("m", [url]).complete([ask("a")])
    assert not re.search("p%40w|p@w|bWU6cEB3", str(caught.value) + caplog.text)


def test_key_in_place_of_its_variable_is_not_repeated() -> None:
    with pytest.raises(ValignError, match="not the name of an environment variable") as caught:
        ApiTeacher("m", ["http://localhost/v1"], api_key_env=KEY)
    assert KEY not in str(caught.value)
    with pytest.raises(ValignError, match="needs a server"):
        ApiTeacher("m", [])


def test_missing_client_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valign.teachers.clients.find_spec", lambda name: None if name == "truststore" else name)
    with pytest.raises(ValignError, match=r"pip install 'valign\[api\]'"):
        ApiTeacher("m", ["http://localhost/v1"]).complete([ask("a")])


def test_cached_calls_need_neither_server_nor_key(server: Server, tmp_path: Path) -> None:
    first = CachedTeacher(ApiTeacher("m", [server.url]), tmp_path / "cache.sqlite")
    rows = first.complete_all([ask("a", n=2)], "test")
    second = CachedTeacher(ApiTeacher("m", ["https://api.example.com/v1"]), tmp_path / "cache.sqlite")
    assert second.complete_all([ask("a", n=2)], "test") == rows
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://192.168.0.7:80/v1", True),
        ("http://gpu01:8000/v1", True),
        ("http://box.local/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://8.8.8.8/v1", False),
        ("https://localhost.example.com/v1", False),
    ],
)
def test_what_counts_as_local(url: str, local: bool) -> None:
    assert is_local(url) is local


def test_login_and_query_are_left_out_of_messages() -> None:
    assert strip_login("https://me:pw@host:8/v1?key=1") == "https://host:8/v1"
