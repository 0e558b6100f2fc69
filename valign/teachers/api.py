"""A teacher behind OpenAI-compatible servers: vLLM, TGI, or a hosted one."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import unquote, urlsplit

from valign.core.errors import ValignError
from valign.generation.requests import Completion, Request
from valign.teachers.call_runner import CallRunner, CallSettings
from valign.teachers.protocol import CallResult, Job
from valign.teachers.servers import Server, Servers
from valign.teachers.urls import is_local, strip_login
from valign.teachers.usage import Meter

NO_KEY = "EMPTY"
CONNECT_SECONDS = 10.0


class ApiTeacher:
    """A model on one or more servers that share the calls.

    Completions of a request that begin with the same words are asked for in one call (``n``), unless the server does
    not do that; others are calls of their own, each with its own seed. Openings are asked for in the prompt, so a reply
    need not begin with them. The key is read from the environment when it is needed and handed to the client alone.

    Attributes:
        id: The model's name on the server.
        base_urls: Addresses of the servers.
        settings: How calls are made.
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
            concurrency: The largest number of calls in flight, over all servers.
            timeout: Seconds that a call may take from sending to the whole reply.
            max_retries: Retries of a failed call, each after a longer wait.
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
        self.id = model
        self.base_urls = tuple(base_urls)
        self.settings = CallSettings(model, api_key_env, concurrency, timeout, max_retries, group)
        self.meter = meter or Meter()

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests in their order, as many as may be in flight at once."""
        size = self.settings.concurrency
        return [list(range(i, min(i + size, len(requests)))) for i in range(0, len(requests), size)]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete requests; where one fails, the others' completions are lost, so prefer ``complete_each``."""
        found: list[dict[int, Completion]] = [{} for _ in requests]
        jobs = (Job(str(i), request, tuple(range(request.sampling.n))) for i, request in enumerate(requests))
        self.complete_each(jobs, lambda result: found[int(result.key)].update(result.completions))
        return [[row[k] for k in range(len(row))] for row in found]

    def complete_each(self, jobs: Iterator[Job], done: Callable[[CallResult], None]) -> None:
        """Do jobs, at most ``concurrency`` calls at once, and report every finished call.

        After a failure no call is begun or tried again, and those in flight are waited for.

        Args:
            jobs: Any number; those not yet needed are not drawn.
            done: Called for each finished call.

        Raises:
            ValignError: The client or the key is missing, a call failed after all its retries, or a limit is reached.
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
        key = os.environ.get(self.settings.api_key_env, "").strip()
        if key:
            return key
        for url in self.base_urls:
            if not is_local(url) and "@" not in urlsplit(url).netloc:
                raise ValignError(
                    f"{strip_login(url)} needs a key: set the environment variable {self.settings.api_key_env}."
                )
        return NO_KEY

    async def _complete(self, openai: Any, key: str, jobs: Iterator[Job], done: Callable[[CallResult], None]) -> None:
        s = self.settings
        async with AsyncExitStack() as stack:
            servers = []
            for url in self.base_urls:
                client = await stack.enter_async_context(_client(openai, url, key, s.concurrency, s.timeout))
                servers.append(Server(strip_login(url), client, float(s.concurrency)))
            secret = "" if key == NO_KEY else key
            await CallRunner(s, self.meter, Servers(servers, s.concurrency), jobs, done, secret).run()


def _client(openai: Any, url: str, key: str, concurrency: int, timeout: float) -> Any:
    """Return a client that keeps its connections open and never retries by itself."""
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
