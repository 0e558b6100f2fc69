"""The servers behind the API teacher: which one takes a call, and how each one fares."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from valign.teachers.calls import RequestForm
from valign.teachers.clients import Client
from valign.teachers.faults import Fault, first_words
from valign.teachers.refusals import describe_change

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
FIRST_THINKING, THINKING_FACTOR = 1024, 4
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
        form: How it wants to be asked.
        thinking_tokens: Tokens that calls get on top, since its model thinks before it answers.
        most_thinking_tokens: The most that they may get.
        in_flight: Calls sent and not answered.
        calls: Calls sent in all.
        faults_in_a_row: Faults of the server as a whole since its last success.
        blocked_until: Time of the event loop's clock, in seconds, before which it gets no call.
    """

    url: str
    client: Client
    window: float
    form: RequestForm = field(default_factory=RequestForm)
    thinking_tokens: int = 0
    most_thinking_tokens: int = 0
    in_flight: int = 0
    calls: int = 0
    faults_in_a_row: int = 0
    blocked_until: float = 0.0

    def like(self, other: Server | None) -> Server:
        """Take over what was learned of the same server before, and return this one."""
        if other is not None:
            self.form = other.form
            self.thinking_tokens, self.most_thinking_tokens = other.thinking_tokens, other.most_thinking_tokens
        return self

    def adopt(self, steps: Sequence[tuple[RequestForm, str]]) -> None:
        """Ask in other forms from now on, which have done after refusals, and say so in a line for each change.

        Args:
            steps: What is added to the server's own form, each with the server's words when it refused.
        """
        for form, said in steps:
            before, self.form = self.form, self.form.joined(form)
            for line in describe_change(before, self.form):
                log.warning("%s %s (it says: %s)", self.url, line, first_words(said) or "nothing")

    def widen(self, sent: int) -> bool:
        """Give later calls more tokens to think; False where they have had the most already.

        Args:
            sent: What the call had that was cut off.
        """
        if self.thinking_tokens > sent:  # another call has come to that before
            return True
        wider = min(self.most_thinking_tokens, max(FIRST_THINKING, sent * THINKING_FACTOR))
        if wider <= sent:
            return False
        self.thinking_tokens = wider
        log.info("%s: its model thinks before it answers; calls get %d tokens more for that", self.url, wider)
        return True

    def narrow(self, sent: int) -> bool:
        """Give later calls fewer tokens to think, where a call with so many did not fit; False where it had none."""
        if not sent:
            return False
        if self.thinking_tokens >= sent:
            self.thinking_tokens = self.most_thinking_tokens = sent // THINKING_FACTOR
            log.info("%s has no room for that; calls get %d tokens more", self.url, self.thinking_tokens)
        return True


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

    @property
    def thinking_tokens(self) -> int:
        """The most tokens that a call may get on top, to think before it answers."""
        return max(server.thinking_tokens for server in self.servers)

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
