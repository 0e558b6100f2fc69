"""One call of the API teacher, and what is sent for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from valign.core.control_tokens import break_up_control_tokens
from valign.core.records import Message
from valign.generation.requests import Request, call_seed
from valign.models.chat_template import fold_system
from valign.teachers.protocol import Job

INSIDE = 0.01


@dataclass(frozen=True)
class Call:
    """What one call asks for.

    Attributes:
        job: The request.
        numbers: Of the completions, all of which have one opening.
        tries: How often they were asked for before, and came back empty.
    """

    job: Job
    numbers: tuple[int, ...]
    tries: int = 0

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


@dataclass(frozen=True)
class RequestForm:
    """How a server wants to be asked.

    Attributes:
        left_out: Parameters that are not sent, ``n``, ``response_format`` and the system turn among them.
        max_tokens_name: The name of its parameter for the longest completion.
        inside: Parameters whose values are kept off the end of their range.
    """

    left_out: frozenset[str] = frozenset()
    max_tokens_name: str = "max_tokens"
    inside: frozenset[str] = frozenset()

    def joined(self, other: RequestForm) -> RequestForm:
        """Return a form that keeps to both."""
        name = self.max_tokens_name if other.max_tokens_name == "max_tokens" else other.max_tokens_name
        return RequestForm(self.left_out | other.left_out, name, self.inside | other.inside)


def request_body(model: str, call: Call, form: RequestForm, thinking_tokens: int = 0) -> dict[str, Any]:
    """Return the body of a request to a server.

    Args:
        model: The model's name there.
        call: What is asked for.
        form: How the server wants to be asked.
        thinking_tokens: Tokens that the model may take on top, to think before it answers.
    """
    sampling = call.job.request.sampling
    least, largest = INSIDE if "temperature" in form.inside else 0.0, 1 - INSIDE if "top_p" in form.inside else 1.0
    body = {
        "model": model,
        "messages": fold_system(call.messages) if "system" in form.left_out else call.messages,
        form.max_tokens_name: sampling.max_new_tokens + thinking_tokens,
        "temperature": max(least, sampling.temperature),
        "top_p": min(largest, sampling.top_p),
        "seed": call_seed(sampling.seed, call.numbers[0], call.tries),
    }
    schema = call.job.request.schema
    if schema is not None:
        held = {"name": "reply", "schema": schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": held}
    if len(call.numbers) > 1:
        body["n"] = len(call.numbers)
    return {name: value for name, value in body.items() if name not in form.left_out}
