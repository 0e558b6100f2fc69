"""The API teacher against a server in another process that fails as told: nothing is lost, nothing is paid twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from valign.core.errors import LimitReached, ValignError
from valign.generation.requests import Completion, Request, Sampling
from valign.teachers import servers
from valign.teachers.api import ApiTeacher
from valign.teachers.cache import CachedTeacher
from valign.teachers.completion_store import CompletionStore, Spent
from valign.teachers.faults import Fault
from valign.teachers.protocol import Job
from valign.teachers.servers import Server, Servers
from valign.teachers.usage import Meter, estimate_prompt_tokens

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Running:
    """A server process and the log of what it answered well."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def url(self) -> str:
        """The address for ``base_urls``."""
        return f"http://127.0.0.1:{self.port}/v1"

    def paid(self) -> Counter[str]:
        """How often each prompt was answered well."""
        return Counter(json.loads(line)[0] for line in self.log.read_text().splitlines())

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts a server with faults; all are ended after the test."""
    running: list[Running] = []

    def one(*faults: str, latency: float = 0.0, port: int = 0) -> Running:
        log = tmp_path / f"log{len(running)}.jsonl"
        command = [
            sys.executable,
            str(ROOT / "tests/helpers/fault_server.py"),
            str(port),
            str(log),
            str(latency),
            *faults,
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        running.append(Running(process, int(process.stdout.readline()), log))
        return running[-1]

    yield one
    for server in running:
        server.kill()
        if server.process.stdout:
            server.process.stdout.close()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(servers, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(servers, "LONGEST_WAIT", 0.2)


def ask(prompt: str, **settings: Any) -> Request:
    return Request(({"role": "user", "content": prompt},), Sampling(**settings))


def asked(count: int) -> list[Request]:
    return [ask(f"p{i:03d}") for i in range(count)]


def expected(requests: list[Request]) -> list[list[Completion]]:
    return [[Completion(r.messages[-1]["content"][::-1], 5, True)] * r.sampling.n for r in requests]


@pytest.mark.slow
@pytest.mark.parametrize(
    "faults",
    [
        ["429:0:40"],
        ["429s:3:60"],
        ["500:0:30", "503:35:50"],
        ["cut:0:9", "empty:12:20", "none:25:30", "html:33:36"],
        ["drop:0:20"],
        ["hang:4:9"],
    ],
    ids=lambda faults: "+".join(fault.split(":")[0] for fault in faults),
)
def test_faults_lose_nothing_and_nothing_is_paid_twice(start: Start, tmp_path: Path, faults: list[str]) -> None:
    """Eighty calls, sixteen at once: each is answered well exactly once, and a second run makes none.

    The time-out is waited for only where the server hangs; a busy machine may take seconds for an answer.
    """
    server = start(*faults)
    teacher = ApiTeacher("m", [server.url], concurrency=16, timeout=3.0 if "hang:4:9" in faults else 30.0)
    requests = asked(80)
    assert CachedTeacher(teacher, tmp_path / "c.sqlite").complete_all(requests, "test") == expected(requests)
    assert server.paid() == Counter({f"p{i:03d}": 1 for i in range(80)})
    again = CachedTeacher(ApiTeacher("m", [server.url]), tmp_path / "c.sqlite")
    assert again.complete_all(requests, "test") == expected(requests)
    assert (again.calls, server.paid().total()) == (0, 80)


def test_finished_calls_are_kept_when_one_fails_for_good(start: Start, tmp_path: Path) -> None:
    """The ninth call is refused: those before it are kept, those under way with it, too; the rest is never made."""
    server = start("401:8:8", latency=0.05)
    teacher = ApiTeacher("m", [server.url], concurrency=4)
    with pytest.raises(ValignError, match="status 401") as caught:
        CachedTeacher(teacher, tmp_path / "c.sqlite").complete_all(asked(40), "test")
    assert "\n" not in str(caught.value)
    paid = server.paid()
    assert 8 <= paid.total() <= 12
    again = CachedTeacher(teacher, tmp_path / "c.sqlite")
    assert again.complete_all(asked(40), "test") == expected(asked(40))
    assert again.calls == 40 - paid.total()
    assert set(server.paid().values()) == {1}


def test_retry_after_is_kept_to(start: Start) -> None:
    """One call is told to wait 0.2 s; without that the wait would be 0.02 s."""
    server = start("429s:0:0")
    began = time.monotonic()
    ApiTeacher("m", [server.url], concurrency=1).complete(asked(1))
    assert time.monotonic() - began >= 0.2


def test_refused_calls_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four calls at a server that refuses all of them, one at a time: each has been refused five times after twenty."""
    monkeypatch.setattr(servers, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(servers, "LONGEST_WAIT", 0.001)
    refused: list[int] = []

    async def call(number: int, shared: Servers) -> None:
        while len(refused) < 20:
            server = await shared.acquire()
            await asyncio.sleep(0)
            refused.append(number)
            shared.record_fault(server, Fault("is busy", "busy"), asyncio.get_running_loop().time())
            shared.release(server)

    async def all_at_once() -> None:
        shared = Servers([Server("http://localhost/v1", cast(Any, None), 1.0)], 4)
        await asyncio.gather(*(call(number, shared) for number in range(4)))

    asyncio.run(all_at_once())
    assert refused[:20] == [0, 1, 2, 3] * 5


@pytest.mark.slow
def test_server_that_is_down_is_left_to_the_others_and_comes_back(start: Start, tmp_path: Path) -> None:
    """One of two servers is missing at first and started later: in the end it has answered a part."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    there = start(latency=0.02)
    teacher = ApiTeacher("m", [f"http://127.0.0.1:{port}/v1", there.url], concurrency=4)
    late: list[Running] = []

    def requests() -> Iterator[Any]:
        for i, request in enumerate(asked(200)):
            if i == 40:
                late.append(start(latency=0.02, port=port))
            yield i, request

    found: dict[str, Completion] = {}
    jobs = (Job(str(i), request, (0,)) for i, request in requests())
    teacher.complete_each(jobs, lambda part: found.update({part.key: part.completions[0]}))
    assert [found[str(i)] for i in range(200)] == [row[0] for row in expected(asked(200))]
    assert late[0].paid().total() > 0
    assert (late[0].paid() + there.paid()).total() == 200


@pytest.mark.slow
def test_restart_of_the_only_server_is_waited_for(start: Start, tmp_path: Path) -> None:
    """Killed with calls under way and started again a second later: it says so once, and nothing is lost but time."""
    server = start(latency=0.05)
    program = (
        "import sys; from pathlib import Path; from tests.teachers.test_api_faults import *\n"
        "teacher = CachedTeacher(ApiTeacher('m', [sys.argv[1]], concurrency=8), Path(sys.argv[2]))\n"
        "assert teacher.complete_all(asked(120), 'test') == expected(asked(120))\n"
    )
    command = [sys.executable, "-c", program, server.url, str(tmp_path / "c.sqlite")]
    client = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: server.paid().total() >= 20)
    server.kill()
    time.sleep(0.5)
    second = start(latency=0.01, port=server.port)
    said = client.communicate(timeout=60)[1]
    assert client.returncode == 0, said
    assert said.count("; it is tried again, after longer and longer waits\n") == 1, said
    assert server.url in said
    total = server.paid() + second.paid()
    assert set(total) == {f"p{i:03d}" for i in range(120)}
    assert sum(count > 1 for count in total.values()) <= 8


RUN = """
import signal
import sys
from pathlib import Path
from tests.teachers.test_api_faults import *

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
teacher = CachedTeacher(ApiTeacher("m", [sys.argv[1]], concurrency=8), Path(sys.argv[2]))
teacher.complete_all([ask(f"p{i:03d}", n=3) for i in range(400)], "test")
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_run_goes_on_with_what_is_missing(start: Start, tmp_path: Path, how: signal.Signals) -> None:
    """At most the calls that were under way (8), and those of the last write (8), are made a second time."""
    server = start(latency=0.05)
    command = [sys.executable, "-c", RUN, server.url, str(tmp_path / "c.sqlite")]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: server.paid().total() >= 40)
    process.send_signal(how)
    said = process.communicate(timeout=30)[1]
    assert process.returncode != 0
    assert "Traceback" not in said or how == signal.SIGINT
    assert server.paid().total() < 390
    requests = [ask(f"p{i:03d}", n=3) for i in range(400)]
    teacher = CachedTeacher(ApiTeacher("m", [server.url], concurrency=8), tmp_path / "c.sqlite")
    assert teacher.complete_all(requests, "test") == expected(requests)
    assert len(server.paid()) == 400
    assert server.paid().total() <= 416


def test_completions_of_one_request_are_kept_one_by_one(start: Start, tmp_path: Path) -> None:
    """Four openings are four calls; the third fails, and the second run makes two."""
    server = start("401:2:2")
    request = Request(({"role": "user", "content": "a"},), Sampling(n=4), ("W", "X", "Y", "Z"))
    teacher = ApiTeacher("m", [server.url], concurrency=1)
    with pytest.raises(ValignError, match="401"):
        CachedTeacher(teacher, tmp_path / "c.sqlite").complete_all([request], "test")
    assert server.paid().total() == 2
    rows = CachedTeacher(teacher, tmp_path / "c.sqlite").complete_all([request], "test")
    assert [completion.text[:2] for completion in rows[0]] == ['"W', '"X', '"Y', '"Z']
    assert server.paid().total() == 4


def test_limit_on_tokens_stops_before_it_is_crossed_and_goes_on_later(start: Start, tmp_path: Path) -> None:
    """A call takes 15 tokens and may take 5 + 50: with a limit of 400, calls fit while at most 345 are spent.

    So 24 calls are made (24 * 15 = 360, and 23 * 15 = 345 was the last sum that let one more begin); with eight at once
    a call waits where those under way could take what it needs. The next run, without a limit, makes the other 16.
    """
    server = start(latency=0.01)
    requests = [ask(f"p{i:03d}", max_new_tokens=50) for i in range(40)]
    assert estimate_prompt_tokens(requests[0].messages) == 5
    meter = Meter(price_in=1.0, price_out=2.0, max_tokens=400)
    cached = CachedTeacher(ApiTeacher("m", [server.url], concurrency=8, meter=meter), tmp_path / "c.sqlite")
    with pytest.raises(LimitReached, match=r"teacher\.max_tokens=400 is reached \(360 tokens, cost 0\.0005;") as caught:
        cached.complete_all(requests, "test")
    assert caught.value.exit_code == 3
    assert server.paid().total() == 24
    with pytest.raises(LimitReached):
        same = Meter(max_tokens=400)
        CachedTeacher(ApiTeacher("m", [server.url], meter=same), tmp_path / "c.sqlite").complete_all(requests, "test")
    assert server.paid().total() == 24
    more = CachedTeacher(ApiTeacher("m", [server.url], meter=Meter(max_tokens=10_000)), tmp_path / "c.sqlite")
    assert more.complete_all(requests, "test") == expected(requests)
    assert set(server.paid().values()) == {1}
    spent = CompletionStore(tmp_path / "c.sqlite").spent_by("m")
    assert (spent.calls, spent.completions, spent.prompt_tokens, spent.completion_tokens) == (40, 40, 400, 200)
    assert CompletionStore(tmp_path / "c.sqlite").spent_by("other") == Spent()


def test_limit_on_cost(start: Start, tmp_path: Path) -> None:
    """At 1000 and 2000 a million, a call costs 10 * 0.001 + 5 * 0.002 = 0.02 and may cost 0.005 + 0.1 = 0.105.

    With a limit of 0.2 one more begins while at most 0.095 is spent: after four calls (0.08), but not after five.
    """
    server = start()
    requests = [ask(f"p{i:03d}", max_new_tokens=50) for i in range(40)]
    meter = Meter(price_in=1000.0, price_out=2000.0, max_cost=0.2)
    cached = CachedTeacher(ApiTeacher("m", [server.url], concurrency=1, meter=meter), tmp_path / "c.sqlite")
    with pytest.raises(LimitReached, match=r"teacher\.max_cost=0\.2 is reached .*cost 0\.1000"):
        cached.complete_all(requests, "test")
    assert server.paid().total() == 5


def environment() -> dict[str, str]:
    """The environment of a process that imports these tests."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests/helpers'}", "OMP_NUM_THREADS": "1"}


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
