"""One call of the API teacher: what is sent, and what is read from the reply."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from valign.core.control_tokens import break_up_control_tokens
from valign.core.records import Message
from valign.generation.requests import Completion, Request
from valign.teachers.protocol import CallResult, Job
from valign.teachers.usage import Usage, estimate_prompt_tokens, estimate_tokens


@dataclass(frozen=True)
class Call:
    """What one call asks for.

    Attributes:
        job: The request.
        numbers: Of the completions, all of which have one opening.
    """

    job: Job
    numbers: tuple[int, ...]

    @property
    def messages(self) -> list[Message]:
        """The conversation, with the opening asked for in its last turn, and control tokens broken up."""
        request = self.job.request
        messages = [
            Message(role=message["role"], content=break_up_control_tokens(message["content"]))
            for message in request.messages
        ]
        if opening := _opening(request, self.numbers[0]):
            messages[-1]["content"] += f'\n\nBegin with the words: "{opening}"'
        return messages


def _opening(request: Request, number: int) -> str:
    return request.openings[number] if request.openings else ""


def split_calls(job: Job) -> Iterator[Call]:
    """Yield a job's calls: one for all completions with the same opening."""
    groups: dict[str, list[int]] = {}
    for number in job.missing:
        groups.setdefault(_opening(job.request, number), []).append(number)
    for numbers in groups.values():
        yield Call(job, tuple(numbers))


def request_body(model: str, call: Call, max_tokens_name: str, supports_schema: bool = True) -> dict[str, Any]:
    """Return the body of a request to a server.

    Args:
        model: The model's name there.
        call: What is asked for.
        max_tokens_name: The server's name for the longest completion.
        supports_schema: Whether the server can hold a reply to a JSON schema.
    """
    sampling = call.job.request.sampling
    body = {
        "model": model,
        "messages": call.messages,
        max_tokens_name: sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": call_seed(sampling.seed, call.numbers[0]),
    }
    schema = call.job.request.schema
    if schema is not None and supports_schema:
        held = {"name": "reply", "schema": schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": held}
    return {**body, "n": len(call.numbers)} if len(call.numbers) > 1 else body


def parse_reply(call: Call, reply: Any, seconds: float) -> CallResult:
    """Read a reply.

    Args:
        call: What was asked for.
        reply: The decoded JSON.
        seconds: From sending to the whole reply.

    Raises:
        ValueError: The reply has no completions; another error where it is no reply at all.
    """
    choices = sorted(reply["choices"], key=lambda choice: choice.get("index") or 0)[: len(call.numbers)]
    texts = [_writable(choice["message"].get("content") or "").strip() for choice in choices]
    if not texts:
        raise ValueError("no choices")
    usage = reply.get("usage") or {}
    estimates = [estimate_tokens(text) for text in texts]
    completion = int(usage.get("completion_tokens") or sum(estimates))
    prompt = int(usage.get("prompt_tokens") or estimate_prompt_tokens(call.messages))
    share = completion / max(1, sum(estimates))
    tokens = [completion] if len(texts) == 1 else [round(share * estimate) for estimate in estimates]
    found = {
        number: Completion(text, count, choice.get("finish_reason") == "stop")
        for number, text, count, choice in zip(call.numbers, texts, tokens, choices, strict=False)
    }
    return CallResult(call.job.key, found, Usage(prompt, completion, seconds))


def _writable(text: str) -> str:
    """Return a text without the halves of characters (lone surrogates) that JSON allows and no file can hold."""
    return text.encode("utf-8", "replace").decode()


def call_seed(seed: int, k: int) -> int:
    """Return the seed of a request's k-th completion: 31 bits that differ for neighbouring seeds and numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{k}".encode()).digest()[:4], "big") >> 1
