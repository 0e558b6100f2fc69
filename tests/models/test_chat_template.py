"""Rendering: what is supervised, and where a system prompt goes with templates that have no place for it."""

from __future__ import annotations

from typing import Any

import pytest

from valign.core.errors import ValignError
from valign.core.records import Message
from valign.models.chat_template import render_conversation
from valign.models.random_model import byte_tokenizer

REJECTS_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}"
    "{% elif m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
)
FOLDS_INTO_LAST_USER = (
    "{% if messages[0]['role'] == 'system' %}{% set system, turns = messages[0]['content'], messages[1:] %}"
    "{% else %}{% set system, turns = '', messages %}{% endif %}"
    "{% for m in turns %}{% if m['role'] == 'user' %}{{ '[INST] ' }}"
    "{% if loop.last and system %}{{ system + '\n\n' }}{% endif %}{{ m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + '<|im_end|>' }}{% endif %}{% endfor %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe nice.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def turns(*contents: str, system: str = "") -> list[Message]:
    roles = ("user", "assistant") * len(contents)
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    return messages + [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]


def tokenizer_with(template: str | None = None) -> Any:
    tokenizer = byte_tokenizer()
    if template:
        tokenizer.chat_template = template
    return tokenizer


def parts(tokenizer: Any, messages: list[Message]) -> tuple[str, str]:
    """Return the text that is not supervised and the text that is."""
    rendered = render_conversation(tokenizer, messages)
    assert len(rendered.ids) == len(rendered.mask) and sorted(rendered.mask) == list(rendered.mask)
    cut = rendered.prompt_length
    return tokenizer.decode(rendered.ids[:cut]), tokenizer.decode(rendered.ids[cut:])


def test_answer_and_end_token_are_supervised_and_nothing_else() -> None:
    """The line break that ChatML puts behind the end token is not part of what the model has to produce."""
    prompt, answer = parts(tokenizer_with(), turns("Hi?", "Yo."))
    assert prompt == "<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\n"
    assert answer == "Yo.<|im_end|>"


def test_only_the_last_answer_is_supervised() -> None:
    prompt, answer = parts(tokenizer_with(), turns("A?", "B.", "C?", "D."))
    assert "B.<|im_end|>" in prompt
    assert answer == "D.<|im_end|>"


def test_prompt_for_generation_is_the_prompt_of_training() -> None:
    tokenizer = tokenizer_with()
    trained = render_conversation(tokenizer, turns("Hi?", "Yo.", system="Rules."))
    opened = render_conversation(tokenizer, turns("Hi?", system="Rules."))
    assert opened.ids == trained.ids[: trained.prompt_length]
    assert sum(opened.mask) == 0


def test_default_system_message_is_the_same_in_training_and_generation() -> None:
    tokenizer = tokenizer_with(DEFAULT_SYSTEM)
    prompt, _ = parts(tokenizer, turns("Hi?", "Yo."))
    assert prompt.startswith("<|im_start|>system\nBe nice.<|im_end|>\n<|im_start|>user")
    assert tokenizer.decode(render_conversation(tokenizer, turns("Hi?")).ids) == prompt


@pytest.mark.parametrize("template", [REJECTS_SYSTEM, FOLDS_INTO_LAST_USER])
def test_system_prompt_is_folded_into_the_first_user_turn(template: str) -> None:
    tokenizer = tokenizer_with(template)
    prompt, answer = parts(tokenizer, turns("A?", "B.", "C?", "D.", system="Rules."))
    assert prompt == "[INST] Rules.\n\nA? [/INST] B.<|im_end|>[INST] C? [/INST]"
    assert answer == " D.<|im_end|>"


def test_template_without_an_end_token_gets_one() -> None:
    template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    assert parts(tokenizer_with(template), turns("Hi?", "Yo.")) == ("user: Hi?\n", "assistant: Yo.\n<|im_end|>")


def test_template_that_changes_the_prompt_is_refused() -> None:
    template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(ValignError, match="renders a prompt differently"):
        render_conversation(tokenizer_with(template), turns("Hi?", "Yo."))
