"""A teacher behind OpenAI-compatible servers: vLLM, TGI, or a hosted one."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

from valign.core.errors import ValignError
from valign.generation.requests import Completion, Request
from valign.teachers.calls import Call, body_of, calls_of, part_of
from valign.teachers.protocol import Job, Part
from valign.teachers.servers import (
    Fault,
    Server,
    Servers,
    Stopped,
    fault_of,
    is_local,
    of_the_connection,
    pause,
    scrubbed,
    without_login,
)
from valign.teachers.usage import Meter, prompt_tokens

log = logging.getLogger(__name__)

NO_KEY = "EMPTY"
CONNECT_SECONDS = 10.0
KEPT = "what was completed before is kept, the same command goes on from there."
REMEDIES = {
    400: "check the settings that the server names",
    401: "check the key in ${key}",
    403: "check what the key in ${key} may do",
    404: "check the model's name and {group}.base_urls",
    429: "wait, or lower {group}.concurrency",
}


class ApiTeacher:
    """A model on one or more servers that share the calls.

    Completions of a request that begin with the same words are asked for in one call (``n``), unless the server does
    not do that; others are calls of their own, each with its own seed. Openings are asked for in the prompt, so a reply
    need not begin with them. The key is read from the environment when it is needed and handed to the client alone.

    Attributes:
        meter: What the calls have taken; other calls that count towards the limits are added to it.
    """

    def __init__(
        self,
        model: str,
        base_urls: Sequence[str],
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 64,
        timeout: float = 120.0,
        max_retries: int = 8,
        meter: Meter | None = None,
        group: str = "teacher",
    ) -> None:
        """Choose the model and its servers.

        Args:
            model: The model's name on the server, which is also the teacher's id.
            base_urls: Addresses up to and including ``/v1``.
            api_key_env: Name of the environment variable with the key; servers of one's own need none.
            concurrency: Calls under way at once, over all servers.
            timeout: Seconds that a call may take from sending to the whole reply.
            max_retries: Further tries of a failed call, each after a longer wait.
            meter: Prices and limits; by default there are none.
            group: Where these settings stand in the config, for messages.

        Raises:
            ValignError: There is no URL, or ``api_key_env`` is not the name of a variable.
        """
        if not base_urls:
            raise ValignError("teacher=api needs a server: add teacher.base_urls=[http://localhost:8000/v1].")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", api_key_env):
            raise ValignError(
                "teacher.api_key_env is not the name of an environment variable; put the key into a variable, for "
                "example OPENAI_API_KEY, and give that name."
            )
        self.id = self.model = model
        self.base_urls = tuple(base_urls)
        self.api_key_env = api_key_env
        self.concurrency = concurrency
        self.timeout = timeout
        self.max_retries = max_retries
        self.meter = meter or Meter()
        self.group = group

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests in their order, as many as may be under way at once."""
        return [
            list(range(i, min(i + self.concurrency, len(requests)))) for i in range(0, len(requests), self.concurrency)
        ]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete requests; where one fails, the others' completions are lost, so prefer ``complete_each``."""
        found: list[dict[int, Completion]] = [{} for _ in requests]
        jobs = (Job(str(i), request, tuple(range(request.sampling.n))) for i, request in enumerate(requests))
        self.complete_each(jobs, lambda part: found[int(part.key)].update(part.completions))
        return [[row[k] for k in range(len(row))] for row in found]

    def complete_each(self, jobs: Iterator[Job], done: Callable[[Part], None]) -> None:
        """Do jobs, at most ``concurrency`` calls at once, and report every finished call.

        After a failure no call is begun or tried again, and those under way are waited for.

        Raises:
            ValignError: The client or the key is missing, a call failed after all its tries, or a limit is reached.
        """
        try:
            import aiohttp  # noqa: F401
            import openai
        except ImportError:
            raise ValignError("teacher=api needs the OpenAI client: pip install 'valign[api]'.") from None
        for name in ("httpx", "httpx2", "openai", "aiohttp"):
            logging.getLogger(name).setLevel(logging.WARNING)
        asyncio.run(self._complete(openai, self._key(), jobs, done))

    def _key(self) -> str:
        key = os.environ.get(self.api_key_env, "").strip()
        if key:
            return key
        for url in self.base_urls:
            if not is_local(url) and "@" not in urlsplit(url).netloc:
                raise ValignError(f"{without_login(url)} needs a key: set the environment variable {self.api_key_env}.")
        return NO_KEY

    async def _complete(self, openai: Any, key: str, jobs: Iterator[Job], done: Callable[[Part], None]) -> None:
        async with AsyncExitStack() as stack:
            servers = []
            for url in self.base_urls:
                client = await stack.enter_async_context(_client(openai, url, key, self.concurrency, self.timeout))
                servers.append(Server(without_login(url), client, float(self.concurrency)))
            await Run(self, Servers(servers, self.concurrency), jobs, done, "" if key == NO_KEY else key).finish()

    def failure(self, fault: Fault, server: Server) -> ValignError:
        """Say in one line which server failed, how, and what to do."""
        where = f"{server.url} (model {self.model})"
        if fault.status is None and fault.kind == "malformed":
            return ValignError(
                f"{where} {fault.text}; is it an OpenAI-compatible server, and does the URL end in /v1? {KEPT}"
            )
        if fault.status is None:
            return ValignError(f"{where} {fault.text}; check that the server runs and {self.group}.base_urls; {KEPT}")
        remedy = REMEDIES.get(fault.status, "see the server's log").format(key=self.api_key_env, group=self.group)
        return ValignError(f"{where} {fault.text}; {remedy}; {KEPT}")


class Run:
    """One pass over jobs: a fixed number of workers that draw calls, so that memory does not grow with the jobs."""

    def __init__(
        self, teacher: ApiTeacher, servers: Servers, jobs: Iterator[Job], done: Callable[[Part], None], key: str
    ) -> None:
        """Make the workers' common state.

        Args:
            teacher: Settings and meter.
            servers: Where the calls go.
            jobs: What is to be done.
            done: Called for each finished call.
            key: What must not stand in a message.
        """
        self.teacher = teacher
        self.servers = servers
        self.calls = (call for job in jobs for call in calls_of(job))
        self.again: deque[Call] = deque()
        self.done = done
        self.key = key
        self.failure: ValignError | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.metered = 0
        self.freed = asyncio.Event()

    async def finish(self) -> None:
        """Work until everything is done or has failed; where this is cancelled, the calls under way are, too."""
        try:
            self._grow(self.teacher.concurrency)
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

    def _grow(self, count: int) -> None:
        """Start workers; one that finds nothing to do ends."""
        for _ in range(min(count, self.teacher.concurrency - len(self.tasks))):
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
        """Make a call within the limits, once those under way leave room for it."""
        meter = self.teacher.meter
        if not meter.limited:
            await self._try(call)
            return
        most = prompt_tokens(call.messages), call.job.request.sampling.max_new_tokens * len(call.numbers)
        while not meter.reserve(*most):
            if self.failure:
                return
            if not self.metered:
                raise meter.stop(*most)
            self.freed.clear()
            await self.freed.wait()
        self.metered += 1
        try:
            await self._try(call)
        finally:
            self.metered -= 1
            meter.release(*most)
            self.freed.set()

    async def _try(self, call: Call) -> None:
        """Make a call until it succeeds or may not be tried again, and report it."""
        faults = 0
        loop = asyncio.get_running_loop()
        while True:
            server = await self.servers.take()
            sent = loop.time()
            asked = call if server.several else replace(call, numbers=call.numbers[:1])
            body = body_of(self.teacher.model, asked, server.limit_name, server.structured)
            try:
                part = await self._ask(server, asked, body)
                break
            except Fault as fault:
                self.servers.blame(server, fault, sent)
                if _adapt(server, body, fault):
                    continue
                faults += 1
                if fault.kind == "fatal" or faults > self.teacher.max_retries:
                    raise self.teacher.failure(fault, server) from None
                wait = (fault.after or pause(faults - 1)) if fault.kind in ("call", "malformed") else 0.0
            finally:
                self.servers.give_back(server)
            await self.servers.wait(wait)
        self.servers.praise(server)
        self.teacher.meter.add(part.usage)
        self.done(part)
        rest = call.numbers[len(part.completions) :]
        if rest:
            server.several = server.several and len(part.completions) == len(asked.numbers)
            self.again.extend(replace(call, numbers=(k,)) for k in rest)
            self._grow(len(rest))

    async def _ask(self, server: Server, call: Call, body: dict[str, Any]) -> Part:
        """Send a call once.

        Raises:
            Fault: There is no usable reply.
        """
        loop = asyncio.get_running_loop()
        sent = loop.time()
        try:
            async with asyncio.timeout(self.teacher.timeout):
                content = await _post(server.client, body)
        except Exception as error:
            if not of_the_connection(error):
                raise
            raise fault_of(error, self.key) from None
        try:
            return part_of(call, json.loads(content), loop.time() - sent)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            begin = scrubbed(content[:60].decode(errors="replace"), self.key) or "nothing"
            raise Fault(f"answered without a completion ({begin})", "malformed") from None


def _client(openai: Any, url: str, key: str, concurrency: int, timeout: float) -> Any:
    """Return a client that keeps its connections and tries nothing again by itself."""
    import httpx2

    parts = urlsplit(url)
    headers = {}
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    limits = httpx2.Limits(max_connections=concurrency, max_keepalive_connections=concurrency, keepalive_expiry=15.0)
    times = httpx2.Timeout(None, connect=min(CONNECT_SECONDS, timeout))
    http = openai.DefaultAioHttpClient(limits=limits, timeout=times)
    return openai.AsyncOpenAI(
        api_key=key, base_url=url, timeout=times, max_retries=0, default_headers=headers, http_client=http
    )


async def _post(client: Any, body: dict[str, Any]) -> bytes:
    """Send one chat completion and return the reply's bytes, past the client's models of it, which cost time."""
    import httpx2

    unsent = {"idempotency_key": "none"}  # no header carries it, and without one the client draws a UUID for each call
    response = await client.post("/chat/completions", body=body, cast_to=httpx2.Response, options=unsent)
    content: bytes = response.content
    return content


def _adapt(server: Server, body: dict[str, Any], fault: Fault) -> bool:
    """Ask a server in another way from now on where it refused a parameter that has another form."""
    if fault.status not in (400, 422):
        return False
    if "max_tokens" in body and "max_completion_tokens" in fault.body:
        log.info("%s wants max_completion_tokens instead of max_tokens", server.url)
        server.limit_name = "max_completion_tokens"
        return True
    if "response_format" in body:
        log.info("%s takes no JSON schema; replies are parsed as they come", server.url)
        server.structured = False
        return True
    if "n" in body:
        log.info("%s takes no call for several completions; asking for them one by one", server.url)
        server.several = False
        return True
    return False
