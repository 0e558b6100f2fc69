"""A teacher behind OpenAI-compatible servers: vLLM, TGI, or a hosted one."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import os
import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from valign.errors import ValignError
from valign.teachers.protocol import Completion, Request

if TYPE_CHECKING:
    from openai import AsyncOpenAI

NO_KEY = "EMPTY"
REMEDIES = {
    401: "check the key in ${key}",
    403: "check what the key in ${key} may do",
    404: "check teacher.model and teacher.base_urls",
    429: "wait, or lower teacher.concurrency",
}


class ApiTeacher:
    """A model on one or more servers that share the calls.

    Each completion is one call with a seed of its own. Openings are asked for in the prompt, so a reply need not begin
    with them. The key is read from the environment when it is needed and handed to the client alone.
    """

    def __init__(
        self,
        model: str,
        base_urls: Sequence[str],
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 64,
        timeout: float = 120.0,
        max_retries: int = 5,
    ) -> None:
        """Choose the model and its servers.

        Args:
            model: The model's name on the server, which is also the teacher's id.
            base_urls: Addresses up to and including ``/v1``.
            api_key_env: Name of the environment variable with the key; servers of one's own need none.
            concurrency: Calls under way at once, over all servers.
            timeout: Seconds before a call counts as failed.
            max_retries: Further tries of a failed call, each after a longer wait.

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

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests in their order, as many as may be under way at once."""
        return [
            list(range(i, min(i + self.concurrency, len(requests)))) for i in range(0, len(requests), self.concurrency)
        ]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete requests.

        Raises:
            ValignError: The client or the key is missing, or a call failed after all its tries.
        """
        try:
            import openai
        except ImportError:
            raise ValignError("teacher=api needs the OpenAI client: pip install 'valign[api]'.") from None
        for name in ("httpx", "httpx2", "openai"):
            logging.getLogger(name).setLevel(logging.WARNING)
        return asyncio.run(self._complete(openai, requests, self._key()))

    def _key(self) -> str:
        key = os.environ.get(self.api_key_env, "").strip()
        if key:
            return key
        for url in self.base_urls:
            if not is_local(url):
                raise ValignError(f"{without_login(url)} needs a key: set the environment variable {self.api_key_env}.")
        return NO_KEY

    async def _complete(self, openai: Any, requests: Sequence[Request], key: str) -> list[list[Completion]]:
        """Make all calls, at most ``concurrency`` at once; the first failure ends the others."""
        async with AsyncExitStack() as stack:
            clients: list[AsyncOpenAI] = [
                await stack.enter_async_context(
                    openai.AsyncOpenAI(api_key=key, base_url=url, timeout=self.timeout, max_retries=self.max_retries)
                )
                for url in self.base_urls
            ]
            slots = asyncio.Semaphore(self.concurrency)

            async def call(turn: int, request: Request, k: int) -> Completion:
                server = turn % len(clients)
                async with slots:
                    try:
                        reply = await clients[server].chat.completions.create(**self._arguments(request, k))
                    except openai.OpenAIError as error:
                        raise self._failure(error, self.base_urls[server], key) from None
                return self._completion(reply, self.base_urls[server])

            wanted = [(request, k) for request in requests for k in range(request.sampling.n)]
            tasks = [asyncio.create_task(call(turn, *one)) for turn, one in enumerate(wanted)]
            try:
                rows = iter(await asyncio.gather(*tasks))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return [[next(rows) for _ in range(request.sampling.n)] for request in requests]

    def _arguments(self, request: Request, k: int) -> dict[str, Any]:
        """Return the call for the k-th completion of a request."""
        sampling = request.sampling
        messages: list[Any] = [dict(message) for message in request.messages]
        if request.openings and request.openings[k]:
            messages[-1]["content"] += f'\n\nBegin with the words: "{request.openings[k]}"'
        return {
            "model": self.model,
            "messages": messages,
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": call_seed(sampling.seed, k),
        }

    def _completion(self, reply: Any, url: str) -> Completion:
        choices = getattr(reply, "choices", None)
        if not choices:
            raise ValignError(
                f"{without_login(url)} answered without a completion; is it an OpenAI-compatible server, "
                "and does the URL end in /v1?"
            )
        text = (choices[0].message.content or "").strip()
        tokens = reply.usage.completion_tokens if reply.usage else len(text.split())
        return Completion(text, tokens, choices[0].finish_reason == "stop")

    def _failure(self, error: Exception, url: str, key: str) -> ValignError:
        """Say which server failed and how, without the key even where the server repeats it."""
        status = getattr(error, "status_code", None)
        said = str(error).replace(key, "***") if key != NO_KEY else str(error)
        tail = "what was completed before is kept, the same command goes on from there."
        if status is None:
            return ValignError(
                f"{without_login(url)} cannot be used ({type(error).__name__}: {said.rstrip('.')}); "
                f"check that the server runs and teacher.base_urls; {tail}"
            )
        remedy = REMEDIES.get(status, "see the server's log").replace("{key}", self.api_key_env)
        return ValignError(
            f"{without_login(url)} answered with status {status} ({said[:300].rstrip('.')}); {remedy}; {tail}"
        )


def call_seed(seed: int, k: int) -> int:
    """Return the seed of a request's k-th completion: 31 bits that differ for neighbouring seeds and numbers."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{k}".encode()).digest()[:4], "big") >> 1


def is_local(url: str) -> bool:
    """Tell whether a URL points to this machine, a private address, or a host named without a domain."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal"))
    return address.is_private or address.is_loopback


def without_login(url: str) -> str:
    """Return a URL without the user name, password and query that it may hold."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
