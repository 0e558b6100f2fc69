"""Makes the calls of the API teacher: many at once, again where one failed, and within the limits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from valign.core.errors import ValignError
from valign.teachers.attempts import Attempt, Trial
from valign.teachers.calls import Call, RequestForm, split_calls
from valign.teachers.empty_replies import EMPTY_TRIES, KEPT, EmptyReplies
from valign.teachers.faults import (
    CREDIT,
    LONGEST_ERROR,
    Fault,
    classify_error,
    is_connection_error,
    redact,
    reply_fault,
)
from valign.teachers.protocol import CallResult, Job
from valign.teachers.replies import Reply, decode_reply, parse_reply
from valign.teachers.servers import Server, Servers, Stopped, backoff_seconds
from valign.teachers.usage import Meter, estimate_prompt_tokens

GZIP = b"\x1f\x8b"
REMEDIES = {
    400: "check the settings that the server names",
    401: "check the key in ${key}",
    402: "check the account's credit",
    403: "check what the key in ${key} may do",
    404: "check the model's name and {group}.base_urls, which usually end in /v1",
    405: "check {group}.base_urls, which usually end in /v1",
    422: "check the settings that the server names",
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
        thinking_tokens: The most tokens that a call gets on top for a model that thinks before it answers.
        keeps_empty: Whether a text that is empty, and ended by itself, is a completion.
    """

    model: str
    api_key_env: str
    concurrency: int
    timeout: float
    max_retries: int
    group: str
    thinking_tokens: int = 0
    keeps_empty: bool = False


class CallRunner:
    """One pass over jobs: a fixed number of workers that draw calls, so that memory does not grow with the jobs."""

    def __init__(
        self,
        settings: CallSettings,
        meter: Meter,
        servers: Servers,
        jobs: Iterator[Job],
        done: Callable[[CallResult], None],
        secrets: Sequence[str],
        empties: EmptyReplies,
    ) -> None:
        """Make the state that the workers share.

        Args:
            settings: How calls are made.
            meter: Counts what the calls take, and holds the limits.
            servers: Where the calls go.
            jobs: What is to be done.
            done: Called for each finished call.
            secrets: The API key and logins, which must not stand in a message.
            empties: Counts replies without a text.
        """
        self.settings = settings
        self.meter = meter
        self.servers = servers
        self.calls = (call for job in jobs for call in split_calls(job))
        self.again: deque[Call] = deque()
        self.done = done
        self.secrets = secrets
        self.empties = empties
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
        completion = call.job.request.sampling.max_new_tokens + self.servers.thinking_tokens
        most = estimate_prompt_tokens(call.messages), completion * len(call.numbers)
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
        trials: dict[str, Trial] = {}
        while True:
            server = await self.servers.acquire()
            sent = loop.time()
            attempt = Attempt.of(call, server, trials.get(server.url))
            try:
                reply = await _send(server, attempt, self.settings, self.secrets)
                break
            except Fault as fault:
                self.servers.record_fault(server, fault, sent)
                if trial := attempt.after(server, fault):
                    trials[server.url] = trial
                    continue
                faults += 1
                if fault.kind == "fatal" or faults > self.settings.max_retries:
                    raise _failure(fault, server, self.settings) from None
                wait = (fault.retry_after or backoff_seconds(faults - 1)) if fault.kind in ("call", "malformed") else 0
            finally:
                self.servers.release(server)
            await self.servers.wait(wait)
        self.servers.record_success(server)
        if trial := trials.get(server.url):
            server.adopt(trial.steps)
        self._report(call, server, attempt, reply)

    def _report(self, call: Call, server: Server, attempt: Attempt, reply: Reply) -> None:
        """Report what a call has brought, and ask again for what it has not: alone, and with more room to think.

        Raises:
            ValignError: Hardly anything comes but empty replies.
        """
        self.meter.add(reply.result.usage)
        found = reply.result.completions
        again = reply.overrun if reply.overrun and server.widen(attempt.thinking_tokens) else ()
        kept = {number: found[number] for number in found if number not in again}
        empty = [number for number in reply.empty if number not in again]
        given_up = tuple(empty) if call.tries + 1 >= EMPTY_TRIES else ()
        self.empties.count_reply(len(kept), len(empty), reply.why, attempt.thinking_tokens)
        is_all = len(kept) == len(found) and not given_up
        self.done(reply.result if is_all else replace(reply.result, completions=kept, given_up=given_up))
        self.empties.check(f"{server.url} (model {self.settings.model})")
        came = len(found) + len(reply.empty)
        if came < len(attempt.call.numbers):
            server.form = server.form.joined(RequestForm(frozenset(["n"])))
        rest = [number for number in call.numbers if number not in kept and number not in given_up]
        for number in rest:
            self.again.append(replace(call, numbers=(number,), tries=call.tries + (number in empty)))
        self._start_workers(len(rest))


async def _send(server: Server, attempt: Attempt, settings: CallSettings, secrets: Sequence[str]) -> Reply:
    """Send a call once.

    Raises:
        Fault: There is no usable reply.
    """
    loop = asyncio.get_running_loop()
    sent = loop.time()
    try:
        async with asyncio.timeout(settings.timeout):
            content = await server.client.post("/chat/completions", attempt.body(settings.model))
    except Exception as error:
        if not is_connection_error(error):
            raise
        raise classify_error(error, secrets) from None
    try:
        data = decode_reply(content)
        if fault := reply_fault(data, secrets):
            raise fault
        return parse_reply(attempt.call, data, loop.time() - sent, settings.keeps_empty)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        beginning = redact(content[:LONGEST_ERROR].decode(errors="replace"), secrets, 60) or "nothing"
        if content.startswith(GZIP):
            beginning = "gzip, which no Content-Encoding says"
        raise Fault(f"answered without a completion ({beginning})", "malformed") from None


def _failure(fault: Fault, server: Server, settings: CallSettings) -> ValignError:
    """Say in one line which server failed, how, and what to do."""
    where = f"{server.url} (model {settings.model})"
    if fault.status is None and fault.kind == "malformed":
        return ValignError(
            f"{where} {fault.text}; is it an OpenAI-compatible server, and does the URL end in /v1? {KEPT}"
        )
    if fault.status is not None and 300 <= fault.status < 400:
        return ValignError(f"{where} {fault.text}; give the address where it is in {settings.group}.base_urls; {KEPT}")
    if fault.status is None and fault.kind == "fatal":
        return ValignError(f"{where} {fault.text}; {KEPT}")
    if fault.status is None:
        return ValignError(
            f"{where} {fault.text}; check that the server runs, and {settings.group}.base_urls, which usually "
            f"end in /v1; {KEPT}"
        )
    remedy = REMEDIES.get(402 if CREDIT.search(fault.said) else fault.status, "see the server's log")
    remedy = remedy.format(key=settings.api_key_env, group=settings.group)
    return ValignError(f"{where} {fault.text}; {remedy}; {KEPT}")
