"""The servers behind the API teacher: which one takes a call, how each fares, and what went wrong."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
LONGEST_RETRY_AFTER = 600.0
SAID = 300
SAID_AT = {"down": 1, "busy": 4}  # strike in a row at which the user hears of it
TRIED_AGAIN = (408, 409, 425)
DOWN = (502, 503, 504)
LIBRARIES = ("aiohttp", "anyio", "httpcore2", "httpx2", "openai", "ssl")
CONNECTING = ("ConnectError", "ConnectionTimeoutError", "ClientConnectorError", "ClientConnectorDNSError")


class Fault(Exception):
    """A try that failed.

    Attributes:
        text: What happened, as part of a sentence, without secrets.
        status: HTTP status, if there was one.
        kind: ``fatal`` (no use to try again), ``busy`` (too many calls), ``down`` (the server as a whole), or ``call``.
        after: Seconds that the server asks to wait.
        body: The server's message, to look for parameters that it does not know.
    """

    def __init__(
        self, text: str, kind: str, status: int | None = None, after: float | None = None, body: str = ""
    ) -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind
        self.status = status
        self.after = after
        self.body = body


class Stopped(Exception):
    """No further call is to be made, because another one has failed for good."""


@dataclass
class Server:
    """One base URL and how it fares.

    Attributes:
        url: The address without user name and password.
        client: Sends the calls.
        window: Calls that it may have under way; halved when it says that these are too many, raised as calls succeed.
        several: Whether it returns several completions for one call.
        structured: Whether it holds a reply to a JSON schema.
        limit_name: What it calls the longest completion.
        under_way: Calls sent and not answered.
        used: Calls sent in all.
        strikes: Faults of the server as a whole since its last success.
        rests_until: Time of the loop's clock before which it gets no call.
    """

    url: str
    client: Any
    window: float
    several: bool = True
    structured: bool = True
    limit_name: str = "max_tokens"
    under_way: int = 0
    used: int = 0
    strikes: int = 0
    rests_until: float = 0.0


@dataclass
class Servers:
    """Servers that share the calls: the least busy one takes the next; one that is down or asks for peace rests.

    Calls are served in the order in which they ask, so that a refused one waits behind the others and none uses up its
    tries while they have theirs.
    """

    servers: Sequence[Server]
    concurrency: int
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self) -> Server:
        """Return a server for one call, as soon as one is free; it has to be given back.

        Raises:
            Stopped: ``stop`` was called.
        """
        async with self._turn:
            while not self._stopped.is_set():
                now = asyncio.get_running_loop().time()
                ready = [s for s in self.servers if s.rests_until <= now and s.under_way < int(s.window)]
                if ready:
                    server = ready[0] if len(ready) == 1 else min(ready, key=lambda s: (s.under_way, s.used))
                    server.under_way += 1
                    server.used += 1
                    return server
                resting = [s.rests_until - now for s in self.servers if s.rests_until > now]
                self._changed.clear()
                try:
                    async with asyncio.timeout(min(resting, default=None)):
                        await self._changed.wait()
                except TimeoutError:
                    pass
        raise Stopped

    def stop(self) -> None:
        """Let no further call begin, and end all waiting."""
        self._stopped.set()
        self._changed.set()

    async def wait(self, seconds: float) -> None:
        """Wait, but no longer than until ``stop``."""
        if seconds <= 0:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass

    def give_back(self, server: Server) -> None:
        """Count a call as answered, or as failed."""
        server.under_way -= 1
        self._changed.set()

    def praise(self, server: Server) -> None:
        """Note a success."""
        server.strikes = 0
        if server.window < self.concurrency:
            server.window = min(float(self.concurrency), server.window + 1 / server.window)

    def blame(self, server: Server, fault: Fault, sent: float) -> None:
        """Let a server rest after a fault of its own; calls sent before it began to rest count no further.

        Args:
            server: The server.
            fault: What happened.
            sent: Time of the loop's clock at which the call was sent.
        """
        now = asyncio.get_running_loop().time()
        if fault.kind not in ("busy", "down") or sent < server.rests_until:
            return
        if fault.kind == "busy":
            server.window = max(1.0, server.window / 2)
        server.rests_until = now + (fault.after or pause(server.strikes))
        server.strikes += 1
        if server.strikes == SAID_AT[fault.kind]:
            log.warning("%s %s; it is tried again, after longer and longer waits", server.url, fault.text)


def pause(faults: int) -> float:
    """Return the seconds to wait after so many faults in a row: doubled each time, with a random part."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(faults, 30)) * random.uniform(0.75, 1.0)


def fault_of(error: BaseException, key: str) -> Fault:
    """Return what an exception of the client means, without the key even where the server repeats it."""
    status = getattr(error, "status_code", None)
    if status is not None:
        return _refusal(status, scrubbed(str(error), key), _retry_after(getattr(error, "response", None)))
    names = [type(cause).__name__ for cause in _causes(error)]
    if isinstance(error, TimeoutError):
        return Fault("did not answer in time", "call")
    if any(name in CONNECTING for name in names):
        return Fault(f"cannot be reached ({names[-1]})", "down")
    return Fault(f"broke off the call ({names[-1]})", "call")


def _refusal(status: int, said: str, after: float | None) -> Fault:
    """Return what a reply with an error status means."""
    text = f"answered with status {status} ({said})"
    kind = "fatal"
    if status == 429 and not re.search(r"insufficient_quota|billing", said):
        kind = "busy"
    elif status in DOWN:
        kind = "down"
    elif status in TRIED_AGAIN or status >= 500:
        kind = "call"
    if kind != "fatal" and (after or 0.0) > LONGEST_RETRY_AFTER:
        return Fault(f"{text} and asks to wait {after:.0f} s", "fatal", status)
    return Fault(text, kind, status, after, said)


def of_the_connection(error: BaseException) -> bool:
    """Tell whether an exception comes from the client or the network, and not from a mistake in this program."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in LIBRARIES


def _causes(error: BaseException) -> list[BaseException]:
    """Return an exception and what led to it, at most eight of them."""
    found = [error]
    while len(found) < 8 and (cause := found[-1].__cause__ or found[-1].__context__):
        found.append(cause)
    return found


def _retry_after(response: Any) -> float | None:
    """Return the seconds that a response asks to wait (``retry-after-ms``, or ``Retry-After`` as seconds or a date)."""
    import email.utils
    import time

    headers = getattr(response, "headers", {})
    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "")
        if re.fullmatch(r"\s*\d+(\.\d*)?\s*", value):
            return float(value)
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return None


def scrubbed(text: str, key: str) -> str:
    """Return the begin of a message as one line, without the key and without logins in URLs."""
    if key:
        text = text.replace(key, "***")
    text = re.sub(r"//[^/@\s]+@", "//", text)
    return " ".join(text.split())[:SAID].rstrip(". ")


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
