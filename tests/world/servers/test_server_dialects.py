"""What stands between a client and a model: proxies, gateways, other servers' habits, and how they fail."""

from __future__ import annotations

import re
import ssl
from typing import Any

import pytest
from odd_server import QUESTION
from odd_servers import Face, ask, bodies, one

from valign.core.errors import ValignError
from valign.generation.requests import Completion
from valign.teachers.api import ApiTeacher
from valign.teachers.clients import secrets_of
from valign.teachers.faults import classify_error, reply_fault
from valign.teachers.preflight import read_models
from valign.teachers.replies import decode_reply


def test_a_stream_that_nobody_asked_for_is_put_together(odd: Face) -> None:
    """One that breaks off is not whole."""
    assert one(odd("stream")) == Completion(QUESTION, 10, True)
    assert one(odd("stream-cut")) == Completion(QUESTION[:9].strip(), 3, False)


def test_chunks_of_a_stream() -> None:
    """Parts, several completions, usage at the end, and an error in the middle."""
    lines = [
        'data: {"choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": [1]}}]}',
        'data:{"choices": [{"index": 0, "delta": {"content": [2]}, "finish_reason": "length"}]}',
        'data: {"choices": [], "usage": {"completion_tokens": 4}}',
        "data: [DONE]",
    ]
    assert decode_reply("\r\n".join(lines).encode()) == {
        "usage": {"completion_tokens": 4},
        "choices": [
            {"index": 1, "message": {"content": "b"}, "finish_reason": None},
            {"index": 0, "message": {"content": [1, 2]}, "finish_reason": "length"},
        ],
    }
    assert decode_reply(b'data: {"error": {"code": 500}}\n')["error"] == {"code": 500}
    assert decode_reply(b' {"a": 1}') == {"a": 1}
    with pytest.raises(ValueError, match="Expecting value"):
        decode_reply(b"data: <html>")


@pytest.mark.parametrize(("face", "calls"), [("error-busy", 2), ("error-plain", 2), ("error-seed", 2)])
def test_an_error_with_the_status_of_success_is_an_error(odd: Face, face: str, calls: int) -> None:
    """Tried again where its code or words say so; a refused parameter is left out."""
    assert one(odd(face)).text == QUESTION
    assert len(bodies(odd(face))) == calls


@pytest.mark.parametrize(
    ("face", "words", "calls"),
    [
        ("error-credit", r"status 402 \(Insufficient credits\); check the account's credit", 1),
        ("quota", r"status 429 \(This account has insufficient quota\); check the account's credit", 1),
        ("page", r"status 404 \(502 502 Bad Gateway\); check the model's name and teacher\.base_urls, which .* /v1", 1),
        ("overloaded", r"status 529 \(Overloaded\)", 2),
    ],
)
def test_how_servers_fail_is_one_line(odd: Face, face: str, words: str, calls: int) -> None:
    with pytest.raises(ValignError, match=words) as caught:
        one(odd(face))
    assert "\n" not in str(caught.value) and "<" not in str(caught.value)
    assert len(bodies(odd(face))) == calls


def test_an_error_beside_completions_is_none() -> None:
    assert reply_fault({"choices": [{}], "error": None}, ()) is None
    assert reply_fault({"choices": [{}], "error": {"code": 500}}, ()) is None
    assert reply_fault([], ()) is None
    found = reply_fault({"error": {"message": "key abcdefgh-ijk", "code": "x"}}, ["abcdefgh-ijk"])
    assert found is not None and (found.kind, found.text) == ("call", "answered with an error (key ***)")


def test_counts_of_tokens_may_be_missing(odd: Face) -> None:
    assert one(odd("no-usage")) == Completion(QUESTION, 10, True)


def test_a_query_in_the_address_goes_with_every_call(odd: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure's deployments have one; its key has a header of its own. A slash at the end changes nothing."""
    monkeypatch.setenv("MY_KEY", "k3y-of-azure")
    url = odd("place").removesuffix("/v1") + "/openai/deployments/d?api-version=2024-10-21"
    found = one(url, api_key_env="MY_KEY").text
    assert found == "/openai/deployments/d/chat/completions?api-version=2024-10-21 k3y-of-azure"
    assert one(odd("place") + "/").text == "/v1/chat/completions None"
    assert one(odd("place") + "?token=abc").text == "/v1/chat/completions?token=abc None"
    assert "s3cr3t-in-query" in secrets_of("", ["https://h/v1?api-version=2024-10-21&key=s3cr3t-in-query"])
    assert "2024-10-21" not in secrets_of("", ["https://h/v1?api-version=2024-10-21&key=s3cr3t-in-query"])


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "127.0.0.1:9", "http://me:pw@127.0.0.1:9"])
def test_servers_of_ones_own_are_not_asked_through_a_proxy(
    odd: Face, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    assert one(odd("good")).text == QUESTION
    with pytest.raises(ValignError, match="not reached through the proxy that the environment names") as caught:
        ApiTeacher("m", ["http://model.example/v1"], api_key_env="PATH", max_retries=0).complete([ask()])
    assert "pw" not in str(caught.value)


def test_an_address_of_ipv6_is_an_address() -> None:
    with pytest.raises(ValignError, match=re.escape("http://[::1]:9/v1 (model m) cannot be reached")):
        ApiTeacher("m", ["http://[::1]:9/v1"], max_retries=0).complete([ask()])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ssl.SSLCertVerificationError("self-signed certificate"), "has a certificate .*set SSL_CERT_FILE"),
        (ssl.SSLError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "does not speak https; .*http://"),
    ],
)
def test_what_https_lacks_is_said_and_not_tried_again(error: Exception, words: str) -> None:
    fault = classify_error(error, ())
    assert fault.kind == "fatal" and re.search(words, fault.text)


@pytest.mark.parametrize(("model", "there"), [("m-7b", True), ("openai/gpt", True), ("n", False), ("x[1]", True)])
def test_a_gateway_may_list_patterns(model: str, there: bool) -> None:
    data: Any = {"data": [{"id": "openai/*"}, {"id": "m*"}, {"id": "x[1]*"}]}
    assert read_models(data).has(model) is there
