"""Parameters that servers refuse, in their dialects: left out from then on where that helps, and else left alone."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
from odd_server import QUESTION
from odd_servers import Face, ask, bodies, one

from valign.core.errors import ValignError
from valign.generation.requests import Request, Sampling
from valign.teachers.api import ApiTeacher
from valign.teachers.calls import RequestForm
from valign.teachers.faults import redact, server_fields, server_words
from valign.teachers.refusals import TOO_LONG, next_form

SENT = {"temperature": 0.6, "top_p": 0.9, "seed": 5, "max_tokens": 64, "n": 2, "response_format": {}}


@pytest.mark.parametrize(
    ("face", "left_out"),
    [
        ("no-temperature", {"temperature"}),
        ("samplers", {"top_p"}),
        ("no-top-p", {"top_p"}),
        ("no-seed", {"seed"}),
        ("no-seed-nested", {"seed"}),
        ("no-seed-list", {"seed"}),
        ("no-seed-plain", {"seed"}),
        ("several", {"seed", "top_p", "temperature"}),
        ("no-n", {"n"}),
    ],
)
def test_refused_parameters_are_left_out_from_then_on(
    odd: Face, face: str, left_out: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A line for each, with the server's own words; a later pass of the same teacher begins without them."""
    url = odd(face)
    teacher = ApiTeacher("m", [url], concurrency=1)
    assert [found.text for found in teacher.complete([ask(n=2)])[0]] == [QUESTION] * 2
    refused = len(left_out)
    assert [left_out & set(body) for body in bodies(url)[refused:]] == [set()] * (2 if face == "no-n" else 1)
    before = len(bodies(url))
    assert teacher.complete([ask("again")])[0][0].text == QUESTION
    assert len(bodies(url)) == before + 1
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == refused
    assert all(url in line and "from now on (it says: " in line for line in lines)


def test_the_name_of_the_longest_completion(odd: Face) -> None:
    """Told by the server, or found where it forbids the older one and says no more."""
    for face in ("completion-tokens", "tokens-forbidden"):
        assert one(odd(face)).text == QUESTION
        assert [("max_tokens" in b, b.get("max_completion_tokens")) for b in bodies(odd(face))] == [
            (True, None),
            (False, 64),
        ]


def test_only_the_end_of_a_range_is_refused(odd: Face) -> None:
    """Greedy decoding becomes nearly greedy; other temperatures are sent as they are."""
    url = odd("positive")
    teacher = ApiTeacher("m", [url], concurrency=1)
    teacher.complete([ask(temperature=0.0)])
    teacher.complete([ask(temperature=0.6)])
    assert [body["temperature"] for body in bodies(url)] == [0.0, 0.01, 0.6]


@pytest.mark.parametrize(("face", "calls"), [("no-schema", 2), ("mute", 2)])
def test_a_schema_is_given_up(odd: Face, face: str, calls: int) -> None:
    url = odd(face)
    request = replace(ask(), schema={"type": "object"})
    assert ApiTeacher("m", [url]).complete([request])[0][0].text == QUESTION
    assert ["response_format" in body for body in bodies(url)] == [True, False]


@pytest.mark.parametrize(
    ("face", "words", "calls"),
    [("too-long", "maximum context length is 32 tokens", 1), ("mood", "bad mood", 2), ("deep-error", "status 400", 2)],
)
def test_a_call_refused_for_another_reason_switches_nothing_off(
    odd: Face, face: str, words: str, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is shown in the server's words. One that names nothing is tried one by one first, which is no use."""
    url = odd(face)
    teacher = ApiTeacher("m", [url], concurrency=1)
    with pytest.raises(ValignError, match=words) as caught:
        teacher.complete([ask(n=2)])
    assert "\n" not in str(caught.value)
    assert len(bodies(url)) == calls
    assert [server.form for server in teacher._known.values()] == [RequestForm()]
    assert not caplog.records


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"error": {"message": "Unrecognized request argument supplied: seed"}}, "seed"),
        ({"error": {"message": "litellm.UnsupportedParamsError: m does not support parameters: ['top_p']"}}, "top_p"),
        ({"detail": [{"loc": ["body", "temperature"], "msg": "Input should be less than 1"}]}, "temperature"),
        ({"error": "unexpected keyword argument 'seed'"}, "seed"),
        ({"error": {"message": "Additional properties are not allowed ('top_p' was unexpected)"}}, "top_p"),
        ({"message": {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}}, "seed"),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": '{"msg": "no `seed` here"}'}}}, "seed"),
        ({"error": {"message": "Failed to initialize samplers: failed to parse grammar"}}, "response_format"),
        ({"error": {"message": "best_of must be 1"}}, "n"),
        ({"error": {"message": "Invalid value", "param": "response_format.json_schema"}}, "response_format"),
    ],
)
def test_dialects_of_refusal(data: Any, name: str) -> None:
    form = next_form(RequestForm(), SENT, server_words(data), server_fields(data))
    assert form is not None
    assert form.left_out == {name}


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
        "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 500 `max_new_tokens`",
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000",
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "max_tokens is too large: 20000. This model supports at most 16384 completion tokens",
    ],
)
def test_a_prompt_that_is_too_long_is_told_from_a_refusal(words: str) -> None:
    assert TOO_LONG.search(words)
    assert next_form(RequestForm(), SENT, words) is None


def test_secrets_are_left_out_in_every_spelling() -> None:
    """A part of eight characters is enough; a shorter word is hidden where it is whole."""
    key = "sk-proj-0123/abcd+efgh"
    for shown in (key, key[:12], key[5:14], "sk-proj-0123\\/abcd+efgh", "sk-proj-0123%2Fabcd%2Befgh"):
        left = redact(f"wrong: {shown}!", (key,))
        assert left.startswith("wrong: ***")
        assert not any(key[i : i + 8] in left for i in range(len(key) - 7))
    assert redact("at http://me:p@w@host/v1 by pw1", ("pw1",)) == "at http://host/v1 by ***"
    assert redact("x" * 50 + key, (key,), 55) == "x" * 50 + "***"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Only one completion choice is allowed", "n"),
        ("Multiple candidates is not enabled for this model", "n"),
        ("Unable to submit request because it must have a candidateCount value of 1.", "n"),
        ("Range of n should be [1, 1]", "n"),
        ("At body -> n: Extra inputs are not permitted", "n"),
        ("JSON schema conversion failed: Unrecognized schema: {}", "response_format"),
        ("The provided JSON schema contains features not supported by xgrammar.", "response_format"),
        ("invalid temperature: only 1 is allowed for this model", "temperature"),
        ("Malformed input request: #: extraneous key [seed] is not permitted, please reformat.", "seed"),
        ("Argument not supported on this model: seed", "seed"),
        ("System role not supported", "system"),
        ("Developer instruction is not enabled for models/gemma-3-27b-it", "system"),
        ("Only user and assistant roles are supported!", "system"),
    ],
)
def test_more_words_of_refusals(words: str, name: str) -> None:
    body = {**SENT, "messages": [{"role": "system", "content": "Obey."}, {"role": "user", "content": "May I?"}]}
    assert next_form(RequestForm(), body, words) == RequestForm(left_out=frozenset([name]))


@pytest.mark.parametrize(
    "words",
    [
        "litellm.ContextWindowExceededError: litellm.BadRequestError",
        "`inputs` must have less than 3072 tokens. Given: 5000",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
        "Range of input length should be [1, 30720]",
        "Input length 5000 exceeds the maximum allowed length 4096",
        "Prompt too large",
    ],
)
def test_more_words_for_what_is_too_long(words: str) -> None:
    assert next_form(RequestForm(), SENT, words) is None


def test_a_system_turn_that_is_refused_stands_before_the_question(odd: Face, caplog: pytest.LogCaptureFixture) -> None:
    url = odd("no-system")
    told = Request(({"role": "system", "content": "Obey."}, {"role": "user", "content": "May I?"}), Sampling(64))
    teacher = ApiTeacher("m", [url], concurrency=1)
    assert teacher.complete([told, told])[0][0].text == QUESTION
    assert [[turn["content"] for turn in body["messages"]] for body in bodies(url)] == [
        ["Obey.", "May I?"],
        ["Obey.\n\nMay I?"],
        ["Obey.\n\nMay I?"],
    ]
    assert "takes no system turn; its words stand before the first question from now on" in caplog.text
    assert ApiTeacher("m", [url]).complete([ask()])[0][0].text == QUESTION


@pytest.mark.parametrize(("face", "name"), [("param-500", "n"), ("param-404", "seed")])
def test_a_parameter_refused_with_another_status(odd: Face, face: str, name: str) -> None:
    """llama.cpp says 500, and OpenRouter that none of its hosts takes it."""
    url = odd(face)
    teacher = ApiTeacher("m", [url], concurrency=1)
    assert [one.text for one in teacher.complete([ask(n=2)])[0]] == [QUESTION] * 2
    assert [name in body for body in bodies(url)][:2] == [True, False]


def test_a_parameter_is_not_left_out_where_a_server_merely_fails(odd: Face) -> None:
    with pytest.raises(ValignError, match="status 500"):
        one(odd("seed-500"))
    assert all("seed" in body for body in bodies(odd("seed-500")))


def test_each_refusal_is_shown_with_its_own_words(odd: Face, caplog: pytest.LogCaptureFixture) -> None:
    """As of OpenAI's models that think, which refuse one parameter after the other."""
    ApiTeacher("m", [odd("several")], concurrency=1).complete([ask()])
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 3
    for line, name in zip(said, ("seed", "top_p", "temperature"), strict=True):
        assert f"takes no {name};" in line and f"Unsupported parameter: '{name}'" in line
