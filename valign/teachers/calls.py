"""One call of the API teacher: what is sent, and what is read from the reply."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from valign.core.records import Message
from valign.generation.requests import Completion, Request
from valign.teachers.protocol import Job, Part
from valign.teachers.usage import Usage, estimate_tokens, prompt_tokens


@dataclass(frozen=True)
class Call:
    """Completions of one request that one call asks for, all of them with one opening."""

    job: Job
    numbers: tuple[int, ...]

    @property
    def messages(self) -> list[Message]:
        """The conversation, with the opening asked for in its last turn."""
        request = self.job.request
        messages = [message.copy() for message in request.messages]
        if opening := _opening(request, self.numbers[0]):
            messages[-1]["content"] += f'\n\nBegin with the words: "{opening}"'
        return messages


def _opening(request: Request, number: int) -> str:
    return request.openings[number] if request.openings else ""


def calls_of(job: Job) -> Iterator[Call]:
    """Yield a job's calls: one for all completions with the same opening."""
    groups: dict[str, list[int]] = {}
    for number in job.missing:
        groups.setdefault(_opening(job.request, number), []).append(number)
    for numbers in groups.values():
        yield Call(job, tuple(numbers))


def body_of(model: str, call: Call, limit_name: str, structured: bool = True) -> dict[str, Any]:
    """Return what is sent to a server that calls the longest completion ``limit_name``.

    A reply is held to its JSON schema where the server is ``structured``.
    """
    sampling = call.job.request.sampling
    body = {
        "model": model,
        "messages": call.messages,
        limit_name: sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": call_seed(sampling.seed, call.numbers[0]),
    }
    schema = call.job.request.schema
    if schema is not None and structured:
        held = {"name": "reply", "schema": schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": held}
    return {**body, "n": len(call.numbers)} if len(call.numbers) > 1 else body


def part_of(call: Call, reply: Any, seconds: float) -> Part:
    """Read a reply; raises an error of any kind where it is not one."""
    choices = sorted(reply["choices"], key=lambda choice: choice.get("index") or 0)[: len(call.numbers)]
    texts = [(choice["message"].get("content") or "").strip() for choice in choices]
    if not texts:
        raise ValueError("no choices")
    usage = reply.get("usage") or {}
    estimates = [estimate_tokens(text) for text in texts]
    completion = int(usage.get("completion_tokens") or sum(estimates))
    prompt = int(usage.get("prompt_tokens") or prompt_tokens(call.messages))
    share = completion / max(1, sum(estimates))
    tokens = [completion] if len(texts) == 1 else [round(share * estimate) for estimate in estimates]
    found = {
        number: Completion(text, count, choice.get("finish_reason") == "stop")
        for number, text, count, choice in zip(call.numbers, texts, tokens, choices, strict=False)
    }
    return Part(call.job.key, found, Usage(prompt, completion, seconds))


def call_seed(seed: int, k: int) -> int:
    """Return the seed of a request's k-th completion: 31 bits that differ for neighbouring seeds and numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{k}".encode()).digest()[:4], "big") >> 1
