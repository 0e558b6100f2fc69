"""A teacher behind OpenAI-compatible servers: vLLM, TGI, or a hosted one."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import TypeVar
from urllib.parse import urlsplit

from valign.core.errors import LimitReached, ValignError
from valign.generation.requests import Completion, Request
from valign.teachers.call_runner import CallRunner, CallSettings
from valign.teachers.clients import Client, check_key_name, require_client, secrets_of
from valign.teachers.empty_replies import EmptyReplies
from valign.teachers.preflight import TRIAL, ModelList, check_fit, list_models
from valign.teachers.protocol import NO_COMPLETION, CallResult, Job
from valign.teachers.servers import Server, Servers
from valign.teachers.urls import is_local, strip_login
from valign.teachers.usage import Meter

NO_KEY = "EMPTY"
Result = TypeVar("Result")


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
        thinking_tokens: int = 4096,
        is_measured: bool = False,
        key: str | None = None,
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
            thinking_tokens: The most tokens that a call gets on top for a model that thinks before it answers.
            is_measured: Whether what it says is measured, as it is: an empty answer is one, and nothing is tried first.
            key: The key, of servers that this process has started; None for that in the environment.

        Raises:
            ValignError: There is no URL, or ``api_key_env`` is not the name of a variable.
        """
        if not base_urls:
            raise ValignError("teacher=api needs a server: add teacher.base_urls=[http://localhost:8000/v1].")
        check_key_name(f"{group}.api_key_env", api_key_env)
        self.id = model
        self.base_urls = tuple(base_urls)
        self.settings = CallSettings(
            model, api_key_env, concurrency, timeout, max_retries, group, thinking_tokens, is_measured
        )
        self.meter = meter or Meter()
        self.empties = EmptyReplies(group)
        self._key = key
        self._known: dict[str, Server] = {}
        self._checked = False
        self._context: int | None = None

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests in their order, as many as may be in flight at once."""
        size = self.settings.concurrency
        return [list(range(i, min(i + size, len(requests)))) for i in range(0, len(requests), size)]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete requests; where one fails, the others' completions are lost, so prefer ``complete_each``."""
        found: list[dict[int, Completion]] = [{} for _ in requests]
        jobs = (Job(str(i), request, tuple(range(request.sampling.n))) for i, request in enumerate(requests))
        self.complete_each(jobs, lambda result: found[int(result.key)].update(result.completions))
        return [
            [row.get(k, NO_COMPLETION) for k in range(r.sampling.n)] for row, r in zip(found, requests, strict=True)
        ]

    def check_before(self, requests: Sequence[Request]) -> None:
        """Look, once, whether the servers have the model and whether it answers; and each time whether requests fit.

        Servers of one's own have to list the model, where they list models at all. Of hosted ones, which list not all
        that they take, a short trial call decides. Where answers are measured, there is no trial.

        Args:
            requests: What it is about to be asked.

        Raises:
            ValignError: The model is not there, says nothing, or has too short a context.
        """
        where = f"{strip_login(self.base_urls[0])} (model {self.id})"
        if self._checked:
            check_fit(where, self._context, requests)
            return
        listed = asyncio.run(self._connected(_list, self._key or _read_key(self.settings, self.base_urls)))
        lacking = {url: found for url, found in listed.items() if not found.has(self.id)}
        for url, found in lacking.items():
            if self.settings.keeps_empty or is_local(url):
                raise ValignError(f"{url} {found.describe_lack(self.id)}; give the name that it lists.")
        contexts = [found.context(self.id) for found in listed.values()]
        self._context = min((context for context in contexts if context), default=None)
        check_fit(where, self._context, requests)
        if not self.settings.keeps_empty:
            _try_out(self, lacking)
        self._checked = True

    def complete_each(self, jobs: Iterator[Job], done: Callable[[CallResult], None]) -> None:
        """Do jobs, at most ``concurrency`` calls at once, and report every finished call.

        After a failure no call is begun or tried again, and those in flight are waited for.

        Args:
            jobs: Any number; those not yet needed are not drawn.
            done: Called for each finished call.

        Raises:
            ValignError: The client or the key is missing, a call failed after all its retries, or a limit is reached.
        """
        key = self._key or _read_key(self.settings, self.base_urls)
        secrets = secrets_of("" if key == NO_KEY else key, self.base_urls)

        async def call(servers: Sequence[Server]) -> None:
            shared = Servers(servers, self.settings.concurrency)
            await CallRunner(self.settings, self.meter, shared, jobs, done, secrets, self.empties).run()

        with _rare_collections():
            asyncio.run(self._connected(call, key))

    async def _connected(self, work: Callable[[Sequence[Server]], Awaitable[Result]], key: str) -> Result:
        """Do something with the servers, whose clients are closed after it; what was learned of them is kept.

        Raises:
            ValignError: The client is missing.
        """
        require_client(self.settings.group)
        logging.getLogger("aiohttp").setLevel(logging.WARNING)
        s = self.settings
        async with AsyncExitStack() as stack:
            servers = []
            for url in self.base_urls:
                client = await stack.enter_async_context(Client(url, key, s.concurrency, s.timeout))
                server = Server(strip_login(url), client, float(s.concurrency), most_thinking_tokens=s.thinking_tokens)
                self._known[url] = server.like(self._known.get(url))
                servers.append(server)
            return await work(servers)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect garbage less often in the block: by default it takes a twentieth of the time of 2,000 calls a second."""
    before = gc.get_threshold()
    gc.set_threshold(20_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _read_key(settings: CallSettings, urls: Sequence[str]) -> str:
    """Return the key from the environment; servers of one's own, and those with a login in the URL, need none."""
    key = os.environ.get(settings.api_key_env, "").strip()
    if key:
        _check_key(settings.api_key_env, key)
        return key
    for url in urls:
        if not is_local(url) and "@" not in urlsplit(url).netloc:
            raise ValignError(f"{strip_login(url)} needs a key: set the environment variable {settings.api_key_env}.")
    return NO_KEY


def _check_key(name: str, key: str) -> None:
    """Refuse what cannot be a key, without repeating it: a header holds no line ends, and quotes come from a file.

    Raises:
        ValignError: It cannot.
    """
    if not re.fullmatch(r"[!#-&(-~]+", key):
        raise ValignError(
            f"the key in ${name} holds a space, a quotation mark, a line end or a letter that is not ASCII; set the "
            "variable to the key alone, without 'Bearer'."
        )


def _try_out(teacher: ApiTeacher, lacking: Mapping[str, ModelList]) -> None:
    """Make a short call, which has to bring a text.

    Args:
        teacher: Who is called.
        lacking: Servers that do not list its model, for the message.

    Raises:
        ValignError: It fails, or brings none.
    """
    try:
        found = teacher.complete([TRIAL])[0][0]
    except LimitReached:
        raise
    except ValignError as error:
        said = "".join(f" {url} {models.describe_lack(teacher.id)}." for url, models in lacking.items())
        raise ValignError(f"{error}{said}") from None
    if not found.text:
        where = f"{strip_login(teacher.base_urls[0])} (model {teacher.id})"
        raise teacher.empties.error(where, "a short trial call")


async def _list(servers: Sequence[Server]) -> dict[str, ModelList]:
    """Ask all servers for their models."""
    found = await asyncio.gather(*(list_models(server.client) for server in servers))
    return {server.url: models for server, models in zip(servers, found, strict=True)}
