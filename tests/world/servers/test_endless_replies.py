"""Replies that unpack to more than there is memory, or never end: one line each, in little memory and time."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from odd_servers import ask

from valign.core.errors import ValignError
from valign.teachers import clients, preflight
from valign.teachers.api import ApiTeacher

LARGEST = 8 << 20


@pytest.fixture(scope="module")
def endless() -> Iterator[str]:
    """The address of the server, to which a face is added."""
    program = Path(__file__).parents[2] / "helpers" / "endless_server.py"
    process = subprocess.Popen([sys.executable, "-S", str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(autouse=True)
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LONGEST_BODY", LARGEST)
    monkeypatch.setattr(preflight, "LIST_SECONDS", 1.0)


def fault(address: str, face: str, timeout: float) -> str:
    """Ask for the models, then for a completion; return the line that this ends with, after two attempts."""
    teacher = ApiTeacher("m", [f"{address}/{face}/v1"], max_retries=1, timeout=timeout)
    with pytest.raises(ValignError) as caught:
        teacher.check_before([ask()])
    said = str(caught.value)
    assert "\n" not in said and "what was completed before is kept" in said
    return said


@pytest.mark.parametrize(
    ("face", "words"),
    [
        ("gzip", "sends a reply that is larger than any completion"),
        ("deflate", "sends a reply that is larger than any completion"),
        ("endless", "sends a reply that is larger than any completion"),
        ("stream", "sends a reply that is larger than any completion"),
        ("refusal", 'answered with status 400 ({"object": "chat.completion", "choices": [{'),
        ("twice", "answered without a completion (gzip, which no Content-Encoding says)"),
    ],
)
def test_a_reply_that_never_ends_is_read_up_to_a_limit(endless: str, face: str, words: str) -> None:
    """Packed or not, a completion or a refusal; the limit of time is far away."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert f"/v1 (model m) {words}" in fault(endless, face, 300.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


@pytest.mark.parametrize("face", ["trickle", "silent"])
def test_a_reply_that_trickles_ends_with_its_time(endless: str, face: str) -> None:
    assert "/v1 (model m) did not answer in time; check that the server runs" in fault(endless, face, 1.0)


def test_headers_that_never_end_are_no_reply(endless: str) -> None:
    assert "/v1 (model m) broke off the call (BadHttpMessage); check" in fault(endless, "headers", 300.0)
