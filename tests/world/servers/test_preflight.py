"""What is found out before a teacher is paid: its server's models, their context, a short call, and the base model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from odd_servers import Face, ask, bodies

from valign.core.errors import ValignError
from valign.teachers.api import ApiTeacher
from valign.teachers.cache import CachedTeacher
from valign.teachers.clients import check_key_name
from valign.teachers.preflight import read_models


def complete(url: str, path: Path, prompt: str = "Ask a question.", **settings: Any) -> str:
    """Complete a request as a stage does."""
    teacher = ApiTeacher("m", [url], concurrency=1, max_retries=0, **settings)
    cached = CachedTeacher(teacher, path / "c.sqlite", checks_first=True)
    return cached.complete_all([ask(prompt, max_new_tokens=20)], "test")[0][0].text


def test_one_short_call_comes_first_and_none_where_all_is_cached(odd: Face, tmp_path: Path) -> None:
    url = odd("good")
    complete(url, tmp_path)
    assert [body["max_tokens"] for body in bodies(url)] == [16, 20]
    complete(url, tmp_path)
    assert len(bodies(url)) == 2


def test_a_model_that_is_not_there_costs_nothing(odd: Face, tmp_path: Path) -> None:
    url = odd("other-name")
    with pytest.raises(
        ValignError, match=r"has no model m; it lists: mistral-small, qwen; give the name that it lists"
    ):
        complete(url, tmp_path)
    assert bodies(url) == []
    teacher = ApiTeacher("mistral-smal", [url])
    with pytest.raises(ValignError, match=r"has no model mistral-smal \(did you mean 'mistral-small'\?\)"):
        teacher.check_before([])


@pytest.mark.parametrize("face", ["no-seed", "lists-nothing", "thinks"])
def test_a_server_without_a_list_is_tried(odd: Face, tmp_path: Path, face: str) -> None:
    """What it refuses, and that its model thinks, is learned from the short call."""
    assert complete(odd(face), tmp_path)
    sent = bodies(odd(face))
    assert len(sent) == (2 if face == "lists-nothing" else 3)
    assert sent[-1]["messages"][0]["content"] == "Ask a question."


@pytest.mark.parametrize(
    ("face", "words"),
    [
        ("unknown", r"status 404 \(The model `m` does not exist"),
        ("null", r"\(a short trial call, the last with thoughts and no answer.*raise teacher\.thinking_tokens"),
        ("mood", "bad mood"),
    ],
)
def test_a_server_that_will_not_do_is_one_line(odd: Face, tmp_path: Path, face: str, words: str) -> None:
    with pytest.raises(ValignError, match=words) as caught:
        complete(odd(face), tmp_path)
    assert "\n" not in str(caught.value)
    assert all(body["messages"][0]["content"] != "Ask a question." for body in bodies(odd(face)))


def test_prompts_that_do_not_fit_are_not_sent(odd: Face, tmp_path: Path) -> None:
    """The context has 64 tokens; 400 letters are 104 by estimate, three quarters of which, with 20, are too many."""
    before = len(bodies(odd("good")))
    with pytest.raises(
        ValignError, match=r"context of 64 tokens, and 1 of 1 prompts do not fit: the longest takes about 7"
    ):
        complete(odd("good"), tmp_path, "x" * 400)
    assert len(bodies(odd("good"))) == before


def test_measured_arms_have_to_be_listed_and_are_not_tried(odd: Face) -> None:
    ApiTeacher("m", [odd("good")], is_measured=True).check_before([])
    with pytest.raises(ValignError, match="has no model sft"):
        ApiTeacher("sft", [odd("good")], is_measured=True).check_before([])
    ApiTeacher("sft", [odd("cut")], is_measured=True).check_before([])
    assert bodies(odd("cut")) == []


@pytest.mark.parametrize(
    ("data", "names", "context"),
    [
        ({"data": [{"id": "m", "max_model_len": 8}]}, ("m",), 8),
        ({"models": [{"name": "m:latest"}]}, ("m:latest",), None),
        ([{"id": "m", "meta": {"n_ctx": 9}}], ("m",), 9),
        ({"data": [{"id": "models/m", "context_window": 7, "aliases": ["x"]}]}, ("models/m", "x"), 7),
        ({"data": [{"id": "m", "context_length": -4}, "odd", 5, {"id": 3}]}, ("m", "odd"), None),
        ({"data": ["m", "n"]}, ("m", "n"), None),
        ("no list", (), None),
        ({"data": None}, (), None),
    ],
)
def test_lists_of_models(data: Any, names: tuple[str, ...], context: int | None) -> None:
    found = read_models(data)
    assert (found.names, found.context("m"), found.has("m")) == (names, context, True)


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "MY_KEY", "key", "TEACHER2_KEY", "my_teacher_key"])
def test_names_of_variables(name: str) -> None:
    check_key_name("teacher.api_key_env", name)


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-0123456789abcdef",
        "hf_AbCdEfGhIjKlMnOpQrStUvWx",
        "gsk_abcdefghijklmnop",
        "0123456789abcdef0123456789abcdef",
        "a0b1c2d3e4f5a0b1c2d3e4f5",
        "AKIAIOSFODNN7EXAMPLE",
        "AIzaSyA1234567890",
        "A" * 80,
        "",
    ],
)
def test_a_key_in_place_of_a_name_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValignError, match=r"^teacher\.api_key_env is not the name") as caught:
        check_key_name("teacher.api_key_env", key)
    assert not key or key not in str(caught.value)


def test_a_name_that_is_set_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("hf_token_of_2024_for_me", "x")
    check_key_name("teacher.api_key_env", "hf_token_of_2024_for_me")


@pytest.mark.parametrize(
    ("eos", "template", "words"),
    [
        (None, "{{ messages[0].content }}", "tokenizer without an end token"),
        (2, "{{ raise_exception('Only tools here') }}", "cannot render 1 turns .user.: Only tools here"),
        (2, "{{ messages | length }} {{ messages[0].content }}", "renders a prompt differently"),
    ],
)
def test_a_base_model_that_will_not_do(
    monkeypatch: pytest.MonkeyPatch, eos: int | None, template: str, words: str
) -> None:
    """The template is run by transformers' own renderer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from valign.pipeline import base_check

    plain = Tokenizer(models.WordLevel({"?": 0, "Yes": 1, "</s>": 2}, unk_token="?"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="?", eos_token="</s>" if eos else None)
    tokenizer.chat_template = template
    monkeypatch.setattr(base_check, "load_config", lambda *_: SimpleNamespace(model_type="llama"))
    monkeypatch.setattr(base_check, "load_tokenizer", lambda *_: tokenizer)
    base = SimpleNamespace(model="m", trust_remote_code=False, system_prompt=None)
    context: Any = SimpleNamespace(model_path="m", settings=SimpleNamespace(base_model=base))
    with pytest.raises(ValignError, match=words) as caught:
        base_check.check_base_model(context)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-abc\n123", '"sk-abc"', "Bearer sk-abc", "sk-abc\u201d", "sk\tabc"])
def test_what_cannot_be_a_key_is_one_line(odd: Face, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(ValignError, match=r"the key in \$MY_KEY holds a space, a quotation mark, a line end") as caught:
        ApiTeacher("m", [odd("good")], api_key_env="MY_KEY").check_before([])
    assert "abc" not in str(caught.value) and "\n" not in str(caught.value)


def test_line_ends_around_a_key_are_no_part_of_it(odd: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a key read from a file has them."""
    monkeypatch.setenv("MY_KEY", " sk-abc\r\n")
    place = odd("place").removesuffix("/v1") + "/d?api-version=1"
    found = ApiTeacher("m", [place], api_key_env="MY_KEY").complete([ask()])[0][0]
    assert found.text.endswith(" sk-abc")
