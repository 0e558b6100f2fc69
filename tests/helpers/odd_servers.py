"""The server of many faces as a process, and calls to it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from valign.generation.requests import Completion, Request, Sampling
from valign.teachers.api import ApiTeacher

Face = Callable[..., str]


@contextmanager
def running() -> Iterator[Face]:
    """Give a function that returns the address of a face, with a login where one is given."""
    program = Path(__file__).with_name("odd_server.py")
    process = subprocess.Popen([sys.executable, "-S", str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    port = int(process.stdout.readline())
    try:
        yield lambda face, login="": f"http://{login}127.0.0.1:{port}/{face}/v1"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def bodies(url: str) -> list[dict[str, Any]]:
    """Return what a face was sent so far."""
    with urllib.request.urlopen(url.removesuffix("v1") + "bodies") as reply:
        found: list[dict[str, Any]] = json.load(reply)
    return found


def ask(prompt: str = "Ask a question.", **settings: Any) -> Request:
    """Return a request, sampled unless the settings say otherwise."""
    return Request(({"role": "user", "content": prompt},), Sampling(**{"temperature": 0.6, "top_p": 0.9, **settings}))


def one(url: str, **settings: Any) -> Completion:
    """Return the completion of one request."""
    return ApiTeacher("m", [url], max_retries=1, **settings).complete([ask()])[0][0]
