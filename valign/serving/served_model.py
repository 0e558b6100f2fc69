"""A model behind a server of ours, asked in tokens: the prompts, and what ends an answer, are those of this process."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from valign.core.errors import ValignError
from valign.core.text import one_line
from valign.generation.requests import TOP_K, Completion, Request, call_seed
from valign.generation.written_tokens import read_completion, token_ids
from valign.models.chat_template import render_conversation
from valign.serving.child import DEATH_SECONDS, DIRECT
from valign.serving.vllm import VllmServer

CALLS_AT_ONCE = 128
GROUP_CALLS = 4096
CALL_SECONDS = 1800.0
"""The longest time without a word of a call that waits and is computed; a dead server is noticed at once."""
ERROR_SHOWN = 300
Result = TypeVar("Result")


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
        calls = [(request, number) for request in requests for number in range(request.sampling.n)]
        found = iter(self._each(self._complete, calls, report))
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
        return self._each(self._logps, [(row,) for row in rows], report)

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
        choice = self._ask(body)
        written = [int(token) for token in choice["token_ids"]]
        if choice["finish_reason"] == "stop" and (not written or written[-1] not in self.end_ids):
            written.append(self.end_ids[0])
        return read_completion(self.tokenizer, self.end_ids, forced + written)[0]

    def _logps(self, row: Sequence[int]) -> list[float]:
        choice = self._ask({"prompt": list(row), "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0})
        said = choice["prompt_logprobs"]
        return [float(place[str(token)]["logprob"]) for place, token in zip(said[1:], row[1:], strict=True)]

    def _each(
        self, call: Callable[..., Result], arguments: Sequence[tuple[Any, ...]], report: Callable[[int], object]
    ) -> list[Result]:
        """Make calls, many at once, and return what they bring in their order."""
        self.server.start()
        _ = self.end_ids  # loaded before there are threads
        pool = ThreadPoolExecutor(CALLS_AT_ONCE)
        try:
            futures: list[Future[Result]] = [pool.submit(call, *each) for each in arguments]
            for future in as_completed(futures):
                future.result()
                report(1)
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            self.server.end()  # the threads, which Python waits for at its end, wait for replies
            raise
        finally:
            pool.shutdown(wait=False)

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send one call and return its choice.

        Raises:
            ValignError: The server has ended, does not answer, or refuses the call.
        """
        where = f"{self.server.group}: vllm"
        call = urllib.request.Request(
            f"{self.server.url}/completions",
            json.dumps({"model": self.name, **body}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.server.key}"},
        )
        try:
            with DIRECT.open(call, timeout=CALL_SECONDS) as reply:
                choice: dict[str, Any] = json.load(reply)["choices"][0]
                return choice
        except urllib.error.HTTPError as error:
            said = one_line(_message(error))[:ERROR_SHOWN].rstrip(".")
            self.server.require_running(DEATH_SECONDS)
            raise ValignError(f"{where} refuses a call (status {error.code}): {said}; {self._log}") from None
        except (ValueError, KeyError, IndexError, TypeError):
            raise ValignError(f"{where} answers without a completion; {self._log}") from None
        except OSError as error:
            self.server.require_running(DEATH_SECONDS)
            said = one_line(str(getattr(error, "reason", error)))
            raise ValignError(f"{where} does not answer ({said}); {self._log}") from None

    @property
    def _log(self) -> str:
        return f"its log: {self.server.child.log}"


def _message(error: urllib.error.HTTPError) -> str:
    """Return what a server says of a call that it refuses."""
    try:
        text = error.read().decode(errors="replace")
        found = json.loads(text)
        return str(found["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return error.reason or "nothing"
