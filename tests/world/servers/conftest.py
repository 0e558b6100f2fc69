"""What tests of servers share: a server of many faces in a process of its own, and short waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from odd_servers import Face, running

from valign.teachers import servers


@pytest.fixture(scope="module")
def odd() -> Iterator[Face]:
    """A function that returns the address of a face; each file of tests has a server of its own."""
    with running() as face:
        yield face


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(servers, "FIRST_WAIT", 0.001)
