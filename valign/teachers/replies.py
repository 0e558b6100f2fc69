"""What a server's reply holds: texts without thoughts, whether they are whole, and what they took."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from valign.generation.requests import Completion
from valign.generation.thoughts import unwrapped, without_thoughts
from valign.teachers.calls import Call
from valign.teachers.protocol import CallResult
from valign.teachers.turn_marks import plain_text
from valign.teachers.usage import Usage, estimate_prompt_tokens, estimate_tokens, plausible_count

# Names that servers give to the end of a text that is not whole; every other one is an end by itself.
_TOO_LONG = re.compile(r"length|max.*token|token_?limit|window_exceeded|truncat|^limit$", re.I)
_BROKEN = re.compile(
    r"filter|safety|recitation|block|prohibited|abort|error|cancel|incomplete|insufficient|refusal|sensitive|spii|language"
    r"|guardrail|malformed|time_?(?:out|limit)|preempt|interrupt|partial|not_?finished|pause|^other$",
    re.I,
)
THOUGHT_FIELDS = (
    *("reasoning_content", "reasoning", "reasoning_text", "reasoning_details"),
    *("thinking", "thinking_blocks", "thinking_content", "thoughts"),
)
TEXT_PARTS = ("text", "output_text", None)
_THOUGHT = re.compile(r"think|thought|reason", re.I)


@dataclass(frozen=True)
class Choice:
    """One completion of a reply.

    Attributes:
        text: Without thoughts.
        has_thoughts: Whether the model thought first, in its text or beside it.
        end: The server's name for how it ended; empty where it names none.
        is_text: Whether there was a text at all, if an empty one.
        is_open: Whether it broke off inside a thought.
    """

    text: str
    has_thoughts: bool
    end: str
    is_text: bool
    is_open: bool

    @property
    def is_cut(self) -> bool:
        """Whether the longest completion cut it off."""
        return self.is_open or _TOO_LONG.search(self.end) is not None

    @property
    def is_whole(self) -> bool:
        """Whether it ended by itself."""
        return not self.is_cut and _BROKEN.search(self.end) is None


@dataclass(frozen=True)
class Reply:
    """A reply to one call.

    Attributes:
        result: The completions that have a text, and what the call took.
        empty: Numbers of the completions that have none.
        overrun: Numbers of those whose model thought until it was cut off, with a text or without.
        why: How the last empty one ended, as part of a sentence.
    """

    result: CallResult
    empty: tuple[int, ...] = ()
    overrun: tuple[int, ...] = ()
    why: str = ""


def decode_reply(content: bytes) -> Any:
    """Decode a reply: JSON, or the chunks of a stream, which some servers send although none was asked for.

    Raises:
        ValueError: It is neither.
    """
    if not content.lstrip().startswith((b"data:", b"event:", b":")):
        return json.loads(content)
    lines = (line.removeprefix(b"data:").strip() for line in content.splitlines() if line.startswith(b"data:"))
    found = [line for line in lines if line]
    chunks = [json.loads(line) for line in found if line != b"[DONE]"]
    return _joined([chunk for chunk in chunks if isinstance(chunk, Mapping)], b"[DONE]" in found)


def _joined(chunks: Sequence[Mapping[str, Any]], is_done: bool) -> dict[str, Any]:
    """Put the chunks of a stream together as the reply that it stands for; one that broke off is not whole."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        whole |= {name: value for name, value in chunk.items() if name in ("usage", "error", "status") and value}
        for part in chunk.get("choices") or ():
            number = plausible_count(part.get("index")) or 0
            choice = choices.setdefault(number, {"index": number, "message": {}, "finish_reason": None})
            for name, text in (part.get("delta") or part.get("message") or {}).items():
                if name == "content" or name in THOUGHT_FIELDS:
                    before = choice["message"].get(name)
                    is_joined = isinstance(text, str | list) and type(before) is type(text)
                    choice["message"][name] = before + text if is_joined else text or before
            choice["finish_reason"] = part.get("finish_reason") or choice["finish_reason"]
    for choice in choices.values():
        choice["finish_reason"] = choice["finish_reason"] or (None if is_done else "incomplete")
    return {**whole, "choices": list(choices.values())}


def parse_reply(call: Call, reply: Any, seconds: float, keeps_empty: bool = False) -> Reply:
    """Read a reply.

    Args:
        call: What was asked for.
        reply: The decoded JSON.
        seconds: From sending to the whole reply.
        keeps_empty: Whether a text that is empty, and ended by itself, is a completion.

    Raises:
        ValueError: The reply has no completions; another error where it is no reply at all.
    """
    found = sorted(reply["choices"], key=lambda one: plausible_count(one.get("index")) or 0)[: len(call.numbers)]
    if not found:
        raise ValueError("no choices")
    usage = reply.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    choices = read_all_choices(found, usage)
    estimates = [estimate_tokens(choice.text) for choice in choices]
    completion = plausible_count(usage.get("completion_tokens")) or sum(estimates)
    prompt = plausible_count(usage.get("prompt_tokens")) or estimate_prompt_tokens(call.messages)
    tokens = _tokens(choices, estimates, completion)
    most = call.job.request.sampling.max_new_tokens
    kept, empty, overrun, why = {}, [], [], ""
    for number, choice, count in zip(call.numbers, choices, tokens, strict=False):
        if choice.has_thoughts and choice.is_cut:
            overrun.append(number)
        unsaid_cut = not choice.end and count >= most
        if choice.text or (keeps_empty and choice.is_text and choice.is_whole and not choice.has_thoughts):
            kept[number] = Completion(choice.text, count, choice.is_whole and not unsaid_cut)
        else:
            empty.append(number)
            why = _why_empty(choice)
    result = CallResult(call.job.key, kept, Usage(prompt, completion, seconds))
    return Reply(result, tuple(empty), tuple(overrun), why)


def read_all_choices(found: Sequence[Mapping[str, Any]], usage: Mapping[str, Any]) -> list[Choice]:
    """Read the choices of a reply, whose model may have thought without showing it.

    It has where the server counts tokens for that, or where a choice was cut off before its first word.

    Args:
        found: The choices.
        usage: What the server counts.
    """
    details = usage.get("completion_tokens_details")
    is_hidden = isinstance(details, Mapping) and bool(plausible_count(details.get("reasoning_tokens")))
    choices = [read_choice(one) for one in found]
    return [
        replace(choice, has_thoughts=choice.has_thoughts or is_hidden or (choice.is_cut and not choice.text))
        for choice in choices
    ]


def read_choice(choice: Mapping[str, Any]) -> Choice:
    """Read one choice of a chat completion.

    Raises:
        KeyError: It has no message; another error where it is no choice at all.
    """
    message = choice["message"] or {}
    text, is_text, is_thinking = _content(message.get("content"))
    visible = without_thoughts(plain_text(text))
    is_beside = is_thinking or any(message.get(name) for name in THOUGHT_FIELDS)
    end = "refusal" if message.get("refusal") else choice.get("finish_reason")
    end = "" if end is None else str(end)
    said = unwrapped(visible.text) if is_beside else visible.text
    return Choice(said, is_beside or visible.has_thoughts, end, is_text, visible.is_open)


def _content(content: Any) -> tuple[str, bool, bool]:
    """Return a message's text, whether it has one at all, and whether some of its parts are thoughts."""
    if isinstance(content, str):
        return content, True, False
    if isinstance(content, Mapping):
        return json.dumps(content, ensure_ascii=False), True, False
    if not isinstance(content, Sequence):
        return "", False, False
    texts, is_thinking = [], False
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, Mapping):
            is_thought = bool(part.get("thought") or _THOUGHT.search(str(part.get("type"))))
            is_thinking = is_thinking or is_thought
            text = part.get("text")
            text = text.get("value") if isinstance(text, Mapping) else text
            if part.get("type") in TEXT_PARTS and isinstance(text, str) and not is_thought:
                texts.append(text)
    return "".join(texts), bool(texts), is_thinking


def _tokens(choices: Sequence[Choice], estimates: Sequence[int], completion: int) -> list[int]:
    """Return each text's tokens: the server's count where it counts that text alone, else a share or an estimate."""
    if any(choice.has_thoughts for choice in choices):
        return list(estimates)
    if len(choices) == 1:
        return [completion]
    share = completion / max(1, sum(estimates))
    return [round(share * estimate) for estimate in estimates]


def _why_empty(choice: Choice) -> str:
    end = f", finish_reason {choice.end}" if choice.end else ""
    if choice.has_thoughts:
        return f"thoughts and no answer{end}"
    return f"{'an empty text' if choice.is_text else 'no text'}{end}"
