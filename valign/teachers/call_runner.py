"""Makes the calls of the API teacher: many at once, again where one failed, and within the limits."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from valign.core.errors import ValignError
from valign.teachers.calls import Call, parse_reply, request_body, split_calls
from valign.teachers.faults import Fault, classify_error, is_connection_error, redact
from valign.teachers.protocol import CallResult, Job
from valign.teachers.servers import Server, Servers, Stopped, backoff_seconds
from valign.teachers.usage import Meter, estimate_prompt_tokens

log = logging.getLogger(__name__)

# What servers say of a prompt or completion that does not fit; without a schema it would not fit either.
TOO_LONG = re.compile(r"context (?:length|size|window)|too (?:long|many tokens)|max_(?:model_len|total_tokens)", re.I)
KEPT = "what was completed before is kept, the same command goes on from there."
REMEDIES = {
    400: "check the settings that the server names",
    401: "check the key in ${key}",
    403: "check what the key in ${key} may do",
    404: "check the model's name and {group}.base_urls",
    429: "wait, or lower {group}.concurrency",
}


@dataclass(frozen=True)
class CallSettings:
    """How calls are made.

    Attributes:
        model: The model's name on the server.
        api_key_env: Name of the environment variable with the key, for messages.
        concurrency: The largest number of calls in flight, over all servers.
        timeout: Seconds that a call may take from sending to the whole reply.
        max_retries: Retries of a failed call.
        group: Where these settings stand in the config, for messages.
    """

    model: str
    api_key_env: str
    concurrency: int
    timeout: float
    max_retries: int
    group: str


class CallRunner:
    """One pass over jobs: a fixed number of workers that draw calls, so that memory does not grow with the jobs."""

    def __init__(
        self,
        settings: CallSettings,
        meter: Meter,
        servers: Servers,
        jobs: Iterator[Job],
        done: Callable[[CallResult], None],
        key: str,
    ) -> None:
        """Make the state that the workers share.

        Args:
            settings: How calls are made.
            meter: Counts what the calls take, and holds the limits.
            servers: Where the calls go.
            jobs: What is to be done.
            done: Called for each finished call.
            key: The API key, which must not stand in a message.
        """
        self.settings = settings
        self.meter = meter
        self.servers = servers
        self.calls = (call for job in jobs for call in split_calls(job))
        self.again: deque[Call] = deque()
        self.done = done
        self.key = key
        self.failure: ValignError | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.metered = 0
        self.freed = asyncio.Event()

    async def run(self) -> None:
        """Work until everything is done or a call has failed; where this is cancelled, the calls in flight are, too.

        Raises:
            ValignError: A call failed after all its retries, or a limit is reached.
        """
        try:
            self._start_workers(self.settings.concurrency)
            while self.tasks:
                ended, _ = await asyncio.wait(self.tasks, return_when=asyncio.FIRST_COMPLETED)
                self.tasks -= ended
                for task in ended:
                    task.result()
        finally:
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
        if self.failure:
            raise self.failure

    def _start_workers(self, count: int) -> None:
        """Start workers, as many as there may be; one that finds nothing to do ends."""
        for _ in range(min(count, self.settings.concurrency - len(self.tasks))):
            self.tasks.add(asyncio.create_task(self._work()))

    async def _work(self) -> None:
        while not self.failure:
            call = self.again.popleft() if self.again else next(self.calls, None)
            if call is None:
                return
            try:
                await self._metered(call)
            except Stopped:
                return
            except ValignError as error:
                self.failure = self.failure or error
                self.servers.stop()
                self.freed.set()

    async def _metered(self, call: Call) -> None:
        """Make a call within the limits, once those in flight leave room for it."""
        if not self.meter.limited:
            await self._try(call)
            return
        most = estimate_prompt_tokens(call.messages), call.job.request.sampling.max_new_tokens * len(call.numbers)
        while not self.meter.reserve(*most):
            if self.failure:
                return
            if not self.metered:
                raise self.meter.limit_error(*most)
            self.freed.clear()
            await self.freed.wait()
        self.metered += 1
        try:
            await self._try(call)
        finally:
            self.metered -= 1
            self.meter.release(*most)
            self.freed.set()

    async def _try(self, call: Call) -> None:
        """Make a call until it succeeds or may not be tried again, and report it."""
        faults = 0
        loop = asyncio.get_running_loop()
        while True:
            server = await self.servers.acquire()
            sent = loop.time()
            asked = call if server.supports_n else replace(call, numbers=call.numbers[:1])
            body = request_body(self.settings.model, asked, server.max_tokens_name, server.supports_schema)
            try:
                result = await self._send(server, asked, body)
                break
            except Fault as fault:
                self.servers.record_fault(server, fault, sent)
                if _adapt(server, body, fault):
                    continue
                faults += 1
                if fault.kind == "fatal" or faults > self.settings.max_retries:
                    raise _failure(fault, server, self.settings) from None
                wait = (fault.retry_after or backoff_seconds(faults - 1)) if fault.kind in ("call", "malformed") else 0
            finally:
                self.servers.release(server)
            await self.servers.wait(wait)
        self.servers.record_success(server)
        self.meter.add(result.usage)
        self.done(result)
        rest = call.numbers[len(result.completions) :]
        if rest:  # the server has returned fewer completions than it was asked for, or was asked for one
            server.supports_n = server.supports_n and len(result.completions) == len(asked.numbers)
            self.again.extend(replace(call, numbers=(k,)) for k in rest)
            self._start_workers(len(rest))

    async def _send(self, server: Server, call: Call, body: dict[str, Any]) -> CallResult:
        """Send a call once.

        Raises:
            Fault: There is no usable reply.
        """
        loop = asyncio.get_running_loop()
        sent = loop.time()
        try:
            async with asyncio.timeout(self.settings.timeout):
                content = await _post(server.client, body)
        except Exception as error:
            if not is_connection_error(error):
                raise
            raise classify_error(error, self.key) from None
        try:
            return parse_reply(call, json.loads(content), loop.time() - sent)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            beginning = redact(content[:60].decode(errors="replace"), self.key) or "nothing"
            raise Fault(f"answered without a completion ({beginning})", "malformed") from None


def _failure(fault: Fault, server: Server, settings: CallSettings) -> ValignError:
    """Say in one line which server failed, how, and what to do."""
    where = f"{server.url} (model {settings.model})"
    if fault.status is None and fault.kind == "malformed":
        return ValignError(
            f"{where} {fault.text}; is it an OpenAI-compatible server, and does the URL end in /v1? {KEPT}"
        )
    if fault.status is None:
        return ValignError(f"{where} {fault.text}; check that the server runs and {settings.group}.base_urls; {KEPT}")
    remedy = REMEDIES.get(fault.status, "see the server's log")
    remedy = remedy.format(key=settings.api_key_env, group=settings.group)
    return ValignError(f"{where} {fault.text}; {remedy}; {KEPT}")


async def _post(client: Any, body: dict[str, Any]) -> bytes:
    """Send one chat completion and return the reply's bytes; the client's models of it would cost time."""
    import httpx2

    unsent = {"idempotency_key": "none"}  # no header carries it, and without one the client draws a UUID for each call
    response = await client.post("/chat/completions", body=body, cast_to=httpx2.Response, options=unsent)
    content: bytes = response.content
    return content


def _adapt(server: Server, body: dict[str, Any], fault: Fault) -> bool:
    """Send the calls of a server in another form from now on where it refused a parameter that has one."""
    if fault.status not in (400, 422):
        return False
    if "max_tokens" in body and "max_completion_tokens" in fault.body:
        log.info("%s wants max_completion_tokens instead of max_tokens", server.url)
        server.max_tokens_name = "max_completion_tokens"
        return True
    if "response_format" in body and not TOO_LONG.search(fault.body):
        log.info("%s takes no JSON schema; replies are parsed as they come", server.url)
        server.supports_schema = False
        return True
    if "n" in body:
        log.info("%s takes no call for several completions; asking for them one by one", server.url)
        server.supports_n = False
        return True
    return False
