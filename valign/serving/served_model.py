"""A model behind a server of ours, asked in tokens: the prompts, and what ends an answer, are those of this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from valign.generation.requests import TOP_K, Completion, Request, call_seed
from valign.generation.written_tokens import read_completion, token_ids
from valign.models.chat_template import render_conversation
from valign.serving.token_calls import call_each, complete_tokens
from valign.serving.vllm import VllmServer

GROUP_CALLS = 4096


@dataclass
class ServedModel:
    """A base model or a LoRA module of a server; it completes requests as a ``Generator`` does.

    Attributes:
        server: The server; started when the first call is made.
        name: The model's name there.
        id: The model's id, by which completions are kept.
        load_tokenizer: Loads the model's tokenizer.
        ends: Returns the tokens that end a completion, given the tokenizer.
    """

    server: VllmServer
    name: str
    id: str
    load_tokenizer: Callable[[], Any]
    ends: Callable[[Any], list[int]]

    @cached_property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.load_tokenizer()

    @cached_property
    def end_ids(self) -> list[int]:
        """The tokens that end a completion."""
        return self.ends(self.tokenizer)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests, in their order, into what is kept at once; the server itself forms the batches."""
        groups: list[list[int]] = []
        calls = GROUP_CALLS
        for i, request in enumerate(requests):
            calls += request.sampling.n
            if calls > GROUP_CALLS:
                groups.append([])
                calls = request.sampling.n
            groups[-1].append(i)
        return groups

    def check_before(self, requests: Sequence[Request]) -> None:
        """Look whether vLLM is installed, and the model's chat template can be used; nothing is started.

        Args:
            requests: What it is about to be asked, which is not looked at.

        Raises:
            ValignError: It is not, or cannot.
        """
        self.server.require_program()
        _ = self.tokenizer

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete requests, and return the ``n`` completions of each, in order."""
        return self.complete_with_progress(requests, lambda _: None)

    def complete_with_progress(
        self, requests: Sequence[Request], report: Callable[[int], object]
    ) -> list[list[Completion]]:
        """Complete requests, and report each completion.

        Args:
            requests: Any number.
            report: Called with 1 for each.

        Returns:
            The ``n`` completions of each request, in order.

        Raises:
            ValignError: The server cannot be started, ends, or refuses a call.
        """
        _ = self.end_ids  # loaded before there are threads
        calls = [(request, number) for request in requests for number in range(request.sampling.n)]
        found = iter(call_each(self.server, self._complete, calls, report))
        return [[next(found) for _ in range(request.sampling.n)] for request in requests]

    def token_logps(
        self, rows: Sequence[Sequence[int]], report: Callable[[int], object] = lambda _: None
    ) -> list[list[float]]:
        """Return the log-probability of each token of some rows given those before it.

        Args:
            rows: Token ids, at least two each.
            report: Called with 1 for each row that is done.

        Returns:
            For each row as many values as it has tokens, but the first one.

        Raises:
            ValignError: The server cannot be started, ends, or refuses a call.
        """
        return call_each(self.server, self._logps, [(row,) for row in rows], report)

    def close(self) -> None:
        """End the server; a later call starts it again."""
        self.server.end()

    def _complete(self, request: Request, number: int) -> Completion:
        sampling = request.sampling
        prompt = list(render_conversation(self.tokenizer, request.messages).ids)
        forced: list[int] = []
        if request.openings:
            forced = token_ids(self.tokenizer, request.openings[number])[: sampling.max_new_tokens - 1]
        body: dict[str, Any] = {
            "prompt": prompt + forced,
            "max_tokens": sampling.max_new_tokens - len(forced),
            "temperature": sampling.temperature,
            "stop_token_ids": self.end_ids,
            "return_token_ids": True,
            "skip_special_tokens": False,
        }
        if sampling.temperature:
            body |= {"top_p": sampling.top_p, "top_k": TOP_K, "seed": call_seed(sampling.seed, number)}
        choice = complete_tokens(self.server, self.name, body)
        written = [int(token) for token in choice["token_ids"]]
        if choice["finish_reason"] == "stop" and (not written or written[-1] not in self.end_ids):
            written.append(self.end_ids[0])
        return read_completion(self.tokenizer, self.end_ids, forced + written)[0]

    def _logps(self, row: Sequence[int]) -> list[float]:
        choice = complete_tokens(
            self.server, self.name, {"prompt": list(row), "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
        )
        said = choice["prompt_logprobs"]
        return [float(place[str(token)]["logprob"]) for place, token in zip(said[1:], row[1:], strict=True)]
