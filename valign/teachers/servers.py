"""The servers behind the API teacher: which one takes a call, and how each one fares."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from valign.teachers.faults import Fault

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
WARN_AT = {"down": 1, "busy": 4}  # the fault in a row of which the user is told


class Stopped(Exception):
    """No further call is to be made, because another one has failed for good."""


@dataclass
class Server:
    """One base URL and how it fares.

    Attributes:
        url: The address without user name and password.
        client: Sends the calls.
        window: The number of calls that it may have in flight; halved when it says that these are too many, raised
            as calls succeed.
        supports_n: Whether it returns several completions for one call.
        supports_schema: Whether it holds a reply to a JSON schema.
        max_tokens_name: The name of its parameter for the longest completion.
        in_flight: Calls sent and not answered.
        calls: Calls sent in all.
        faults_in_a_row: Faults of the server as a whole since its last success.
        blocked_until: Time of the event loop's clock, in seconds, before which it gets no call.
    """

    url: str
    client: Any
    window: float
    supports_n: bool = True
    supports_schema: bool = True
    max_tokens_name: str = "max_tokens"
    in_flight: int = 0
    calls: int = 0
    faults_in_a_row: int = 0
    blocked_until: float = 0.0


@dataclass
class Servers:
    """Servers that share the calls: the least busy one takes the next.

    A server that is down or overloaded gets no call for a while. Calls are served in the order in which they ask, so
    that one that was refused waits behind the others, and none uses up its retries while the others have theirs.
    """

    servers: Sequence[Server]
    concurrency: int
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    async def acquire(self) -> Server:
        """Return a server for one call as soon as one is free; ``release`` has to follow.

        Raises:
            Stopped: ``stop`` was called.
        """
        async with self._turn:
            while not self._stopped.is_set():
                now = asyncio.get_running_loop().time()
                ready = [s for s in self.servers if s.blocked_until <= now and s.in_flight < int(s.window)]
                if ready:
                    server = ready[0] if len(ready) == 1 else min(ready, key=lambda s: (s.in_flight, s.calls))
                    server.in_flight += 1
                    server.calls += 1
                    return server
                waits = [s.blocked_until - now for s in self.servers if s.blocked_until > now]
                self._changed.clear()
                try:
                    async with asyncio.timeout(min(waits, default=None)):
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

    def release(self, server: Server) -> None:
        """Count a call as no longer in flight."""
        server.in_flight -= 1
        self._changed.set()

    def record_success(self, server: Server) -> None:
        """Raise a server's window by one call in as many successes as it has calls in flight."""
        server.faults_in_a_row = 0
        if server.window < self.concurrency:
            server.window = min(float(self.concurrency), server.window + 1 / server.window)

    def record_fault(self, server: Server, fault: Fault, sent: float) -> None:
        """Block a server for a while after a fault of its own; those of calls sent before that do not block it longer.

        Args:
            server: The server.
            fault: What happened.
            sent: Time of the event loop's clock, in seconds, at which the call was sent.
        """
        now = asyncio.get_running_loop().time()
        if fault.kind not in ("busy", "down") or sent < server.blocked_until:
            return
        if fault.kind == "busy":
            server.window = max(1.0, server.window / 2)
        server.blocked_until = now + (fault.retry_after or backoff_seconds(server.faults_in_a_row))
        server.faults_in_a_row += 1
        if server.faults_in_a_row == WARN_AT[fault.kind]:
            log.warning("%s %s; it is tried again, after longer and longer waits", server.url, fault.text)


def backoff_seconds(faults: int) -> float:
    """Return the seconds to wait after so many faults in a row: doubled each time, with a random part."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(faults, 30)) * random.uniform(0.75, 1.0)
