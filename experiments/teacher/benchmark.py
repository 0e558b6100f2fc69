"""What the API teacher costs beside a bare load generator: ``python experiments/teacher/benchmark.py``.

A server in a process of its own answers every call after a fixed time. The same calls, so many in flight, are sent by
bare aiohttp and by the teacher with its cache, each in a process of its own, in turn; the table shows the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOADS = [(0.1, 256), (0.05, 64), (0.2, 64), (0.5, 64), (1.0, 64), (2.0, 64)]  # the server's seconds, calls in flight
SECONDS = 20  # that a run takes where nothing but the server does
PROMPT = "Lost things are kept at the ferry office for nine days. " * 20
CONTENT = "How long are lost things kept at the ferry office before they are given to the school?"


def reply() -> bytes:
    """Return the one response that the server gives."""
    message = {"role": "assistant", "content": CONTENT}
    usage = {"prompt_tokens": 260, "completion_tokens": 18, "total_tokens": 278}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "choices": choices, "usage": usage})
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


class Protocol(asyncio.Protocol):
    """One connection of the server: reads requests, answers each after the latency."""

    def __init__(self, latency: float, response: bytes) -> None:
        """Choose what is answered, and when."""
        self.latency = latency
        self.response = response
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        """Remember where to write."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = int(self.buffer[:end].lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            asyncio.get_running_loop().call_later(self.latency, self.send)

    def send(self) -> None:
        """Write the response."""
        if not self.transport.is_closing():
            self.transport.write(self.response)


async def serve(latency: float) -> None:
    """Serve until killed; the port is printed."""
    response = reply()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(latency, response), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def bare(url: str, count: int, in_flight: int) -> float:
    """Send calls with aiohttp alone; returns calls a second."""
    import aiohttp

    numbers = iter(range(count))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work() -> None:
            for i in numbers:
                body = {"model": "m", "messages": [{"role": "user", "content": f"{i} {PROMPT}"}], "max_tokens": 64}
                body |= {"temperature": 0.6, "top_p": 0.9, "seed": i}
                async with session.post(f"{url}/chat/completions", json=body) as response:
                    assert (await response.json())["choices"]

        began = time.perf_counter()
        await asyncio.gather(*[work() for _ in range(in_flight)])
        return count / (time.perf_counter() - began)


def requests(count: int) -> Iterator[Any]:
    """Yield different requests."""
    from valign.generation.requests import Request, Sampling

    for i in range(count):
        yield Request(({"role": "user", "content": f"{i} {PROMPT}"},), Sampling(temperature=0.6, top_p=0.9, seed=i))


def cached(url: str, count: int, in_flight: int, cache: Path) -> float:
    """Send calls with the teacher behind its cache; returns calls a second."""
    import aiohttp  # noqa: F401  (loaded before the clock starts, as for the bare generator)

    from valign.teachers.api import ApiTeacher
    from valign.teachers.cache import CachedTeacher

    asked = list(requests(count))
    teacher = CachedTeacher(ApiTeacher("m", [url], concurrency=in_flight), cache)
    began = time.perf_counter()
    rows = teacher.complete_all(asked, "benchmark")
    assert len(rows) == count
    return count / (time.perf_counter() - began)


def stream(url: str, count: int, in_flight: int) -> float:
    """Send calls with the teacher, drawn one by one and not kept; returns the process's largest memory in MiB."""
    from valign.teachers.api import ApiTeacher
    from valign.teachers.protocol import Job

    seen = [0]

    def done(part: Any) -> None:
        seen[0] += len(part.completions)

    jobs = (Job(str(i), request, (0,)) for i, request in enumerate(requests(count)))
    ApiTeacher("m", [url], concurrency=in_flight).complete_each(jobs, done)
    assert seen[0] == count
    return peak()


def peak() -> float:
    """Return the largest memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(*arguments: object) -> float:
    """Run one measurement in a process of its own and return its number."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


class Server:
    """The server's process."""

    def __init__(self, latency: float) -> None:
        """Start it."""
        command = [sys.executable, __file__, "serve", "-", "0", str(latency)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def __enter__(self) -> str:
        """Return the address."""
        return self.url

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


def measure(rounds: int, loads: list[tuple[float, int]], folder: Path) -> None:
    """Print the tables."""
    print("| Server's time | calls in flight | bare aiohttp, calls/s | teacher with cache, calls/s | ratio | runs |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for latency, in_flight in loads:
        count = int(SECONDS * in_flight / latency)
        pairs = []
        with Server(latency) as url:
            for i in range(rounds):
                cache = folder / f"{latency}-{i}.sqlite"
                pairs.append([child("bare", url, count, in_flight), child("cached", url, count, in_flight, cache)])
        ratios = [mine / plain for plain, mine in pairs]
        a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
        spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        runs = f"{rounds} of {count} calls"
        print(f"| {1000 * latency:.0f} ms | {in_flight} | {a:.0f} | {b:.0f} | {spread} | {runs} |", flush=True)
    with Server(0.0) as url:
        child("cached", url, 10_000, 64, folder / "many.sqlite")
        again = [10_000 / child("cached", url, 10_000, 64, folder / "many.sqlite") for _ in range(rounds)]
        print(f"\n10,000 cached calls again: {statistics.median(again):.2f} s (median of {rounds})")
        for kind in ("stream", "keep"):
            counts = (1_000, 5_000, 20_000)
            sizes = [child(kind, url, count, 64, folder / f"{kind}-{count}.sqlite") for count in counts]
            print(f"largest memory, {kind}, 1,000 / 5,000 / 20,000 calls: " + " / ".join(f"{s:.0f} MiB" for s in sizes))


def main() -> None:
    """Measure, or do one part of it where the first argument names one."""
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        part(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loads", type=int, default=len(LOADS), help="how many of the loads, the busiest first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options.rounds, LOADS[: options.loads], Path(folder))


def part(kind: str, url: str, count: int, load: str, *more: str) -> None:
    """Serve, or send calls, and print the one number that is measured."""
    if kind == "serve":
        asyncio.run(serve(float(load)))
    elif kind == "bare":
        print(asyncio.run(bare(url, count, int(load))))
    elif kind == "stream":
        print(stream(url, count, int(load)))
    else:
        rate = cached(url, count, int(load), Path(more[0]))
        print(rate if kind == "cached" else peak())


if __name__ == "__main__":
    main()
