"""A teacher that is asked by files: requests out, and results in when somebody has run them as a batch."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError
from valign.generation.requests import Completion, Request
from valign.teachers.batch_results import BatchResults, find_results, read_results
from valign.teachers.calls import Call, RequestForm, request_body, split_calls
from valign.teachers.protocol import CallResult, Job
from valign.teachers.refusals import PATTERNS, REFUSALS, next_form
from valign.teachers.replies import parse_reply
from valign.teachers.usage import Meter, estimate_prompt_tokens

ID_DIGITS = 40


@dataclass(frozen=True)
class LackingCall:
    """A request whose result is not there.

    Attributes:
        line: The request as a line of a file, without its end.
        completions: How many it asks for.
        prompt: Its prompt's tokens, estimated.
        most: The most tokens that its completions can have.
    """

    line: str
    completions: int
    prompt: int
    most: int


class BatchTeacher:
    """A model whose completions are results of a batch.

    Its id is the model's name, as that of ``ApiTeacher`` is, so both have the same completions in a cache. It never
    waits: what the results have is reported, and what they lack is noted.

    Attributes:
        id: The model's name.
        folder: Where files of requests go.
        per_file: Most requests in one file.
        meter: Prices, a batch's discount taken off, and limits.
        lacking: The requests that lack a result, by custom id, in the order in which they were asked for.
    """

    def __init__(
        self,
        model: str,
        folder: Path,
        results: Path | None = None,
        meter: Meter | None = None,
        per_file: int = 50_000,
        thinking_tokens: int = 4096,
    ) -> None:
        """Choose the model and the places.

        Args:
            model: The model's name where the batch is run.
            folder: Where files of requests go.
            results: File or folder of results; by default the folder of the requests.
            meter: Prices and limits; by default there are none.
            per_file: Most requests in one file.
            thinking_tokens: Tokens that a request gets on top, once results have shown that the model thinks.
        """
        self.id = model
        self.folder = folder
        self.given = results
        self.meter = meter or Meter()
        self.per_file = per_file
        self.thinking_tokens = thinking_tokens
        self.lacking: dict[str, LackingCall] = {}

    @cached_property
    def results(self) -> BatchResults:
        """What the results hold, read once.

        Raises:
            ValignError: They cannot be read.
        """
        if self.given is None and not self.folder.is_dir():
            return BatchResults()
        return read_results(find_results(self.given or self.folder))

    @cached_property
    def form(self) -> RequestForm:
        """The form of requests that earlier results have not refused.

        Whether it takes several completions is seen for each request (``take_results``): earlier results may have them.
        """
        form = RequestForm()
        for said in self.results.refusals():
            named = {name: None for name, words in PATTERNS.items() if name != "n" and words.search(said)}
            form = form.joined(next_form(form, named, said) or form)
        return form

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Put all requests into one group."""
        return [list(range(len(requests)))] if requests else []

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Refuse: without a cache there is no key by which a result could be found."""
        raise ValignError("teacher=batch is asked by files alone; choose teacher=api for calls that are answered.")

    def complete_each(self, jobs: Iterator[Job], done: Callable[[CallResult], None]) -> None:
        """Report the calls whose results are there, and note the others.

        Args:
            jobs: Any number.
            done: Called for each result.

        Raises:
            ValignError: The results cannot be read.
        """
        for job in jobs:
            found, lacking = take_results(job, self.results)
            for result in found:
                self.meter.add(result.usage)
                done(result)
            for call in lacking:
                self.lacking[custom_id(job.key, call.numbers[0])] = self._written(call)

    def _written(self, call: Call) -> LackingCall:
        """Return a call as a request of a batch, in the form that earlier results have not refused."""
        thinking = self.thinking_tokens if self.results.thought else 0
        row = {
            "custom_id": custom_id(call.job.key, call.numbers[0]),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": request_body(self.id, call, self.form, thinking),
        }
        return LackingCall(
            json.dumps(row, ensure_ascii=False),
            len(call.numbers),
            estimate_prompt_tokens(call.messages),
            (call.job.request.sampling.max_new_tokens + thinking) * len(call.numbers),
        )


def custom_id(key: str, number: int) -> str:
    """Return the id of the request for a completion.

    Args:
        key: The cache's key of the whole request.
        number: Of the completion, from 0; of the first one where a request asks for several.
    """
    return f"{key[:ID_DIGITS]}-{number}"


def take_results(job: Job, results: BatchResults) -> tuple[list[CallResult], list[Call]]:
    """Look up what a job is missing.

    Completions with one opening are one request (``n``). Where a reply has fewer of them than were asked for, or the
    request for several was refused, the rest are requests of their own.

    Args:
        job: A request some of whose completions are missing.
        results: Of batches.

    Returns:
        What there is, and the calls that are still to be made.
    """
    found, lacking = [], []
    todo: deque[Call] = deque()
    for call in split_calls(job):
        single = _replied_before(call, results.replies) or _refused(call, results)
        todo.extend(_singly(call, call.numbers) if single else [call])
    while todo:
        call = todo.popleft()
        reply = results.replies.get(custom_id(job.key, call.numbers[0]))
        if reply is None:
            lacking.append(call)
            continue
        result = parse_reply(call, reply, 0.0).result
        found.append(result)
        todo.extendleft(reversed(_singly(call, [k for k in call.numbers if k not in result.completions])))
    return found, lacking


def _singly(call: Call, numbers: Sequence[int]) -> list[Call]:
    return [replace(call, numbers=(number,)) for number in numbers]


def _replied_before(call: Call, replies: Mapping[str, Any]) -> bool:
    """Tell whether there is a reply that should have brought these completions, too."""
    openings, missing = call.job.request.openings, call.job.missing
    return any(
        custom_id(call.job.key, k) in replies
        for k in range(call.numbers[0])
        if k not in missing and (not openings or openings[k] == openings[call.numbers[0]])
    )


def _refused(call: Call, results: BatchResults) -> bool:
    """Tell whether several completions in one request were refused."""
    fault = results.failed.get(custom_id(call.job.key, call.numbers[0]))
    return (
        len(call.numbers) > 1
        and fault is not None
        and fault.status in REFUSALS
        and PATTERNS["n"].search(fault.text) is not None
    )
