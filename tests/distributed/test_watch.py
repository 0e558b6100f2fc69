"""The watch of one process, with a store in memory, and the check of the shared folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from valign.core.errors import Interrupted, ValignError
from valign.distributed import shared_folder, watch
from valign.distributed.place import Place
from valign.distributed.ranks import Ranks
from valign.distributed.shared_folder import check_shared_folder
from valign.distributed.watch import Watch

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # from _exit


class Store:
    """What a ``TCPStore`` offers, in memory; it breaks when it is told to."""

    def __init__(self) -> None:
        """Nothing is set."""
        self.values: dict[str, str] = {}
        self.is_lost = False

    def check(self, keys: list[str]) -> bool:
        """Tell whether all keys are set."""
        if self.is_lost:
            raise RuntimeError("connection reset")
        return all(key in self.values for key in keys)

    def get(self, key: str) -> str:
        """Return a value."""
        return self.values[key]

    def set(self, key: str, value: str) -> None:
        """Set a value."""
        self.values[key] = value

    def add(self, key: str, number: int) -> int:
        """Count."""
        self.values[key] = str(int(self.values.get(key, 0)) + number)
        return int(self.values[key])


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which the watch would have ended this process; its clock is fast."""
    found: list[int] = []

    def leave(code: int) -> None:
        found.append(code)
        raise SystemExit  # ends the thread

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(watch, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(watch, "SILENT_SECONDS", 0.2)
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_a_failure_elsewhere_ends_this_process_with_its_code(codes: list[int], capsys: Any) -> None:
    """Rank 1 has read it and is silent; rank 0 says it."""
    for rank in (1, 0):
        store = Store()
        seen = Watch(Place(rank, 3), store)
        wait_for(lambda store=store, rank=rank: f"beat/{rank}" in store.values)  # type: ignore[misc]
        assert codes == []
        store.set("failed", json.dumps([2, "n3", "the disk is full", 7]))
        wait_for(lambda: codes == [7])
        assert f"seen/{rank}" in store.values
        codes.clear()
        seen.close()
    assert capsys.readouterr().err == "error: rank 2 on n3: the disk is full\n"


def test_the_own_failure_and_the_end_end_nothing(codes: list[int]) -> None:
    store = Store()
    own = Watch(Place(1, 2), store)
    store.set("failed", json.dumps([1, "n2", "mine", 2]))
    time.sleep(0.1)
    own.leave()
    store.is_lost = True
    own.close()
    assert codes == []


def test_a_lost_first_process_ends_the_others_and_rank_1_says_it(codes: list[int], capsys: Any) -> None:
    for rank in (1, 2):
        store = Store()
        left = Watch(Place(rank, 3), store)
        store.is_lost = True
        wait_for(lambda: codes == [Interrupted.exit_code])
        codes.clear()
        left.close()
    assert capsys.readouterr().err == "error: rank 0 is gone\n"


def test_a_process_that_is_no_longer_heard_of_is_gone(codes: list[int], capsys: Any) -> None:
    """Rank 1 has left, rank 2 counts on, and rank 3 stands still from the beginning."""
    store = Store()
    store.set("gone/1", "")
    end = threading.Event()

    def beat() -> None:
        while not end.wait(0.01):
            store.add("beat/2", 1)

    other = threading.Thread(target=beat)
    other.start()
    first = Watch(Place(0, 4), store)
    wait_for(lambda: codes == [Interrupted.exit_code])
    end.set()
    other.join()
    first.close()
    assert json.loads(store.values["failed"])[2] == "rank 3 is gone"
    assert capsys.readouterr().err == "error: rank 3 is gone\n"


def test_a_child_that_has_died_is_gone_at_once(codes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "SILENT_SECONDS", 3600.0)
    children = [subprocess.Popen([sys.executable, "-c", f"raise SystemExit({code})"]) for code in (0, 9)]
    store = Store()
    first = Watch(Place(0, 3), store, children)
    wait_for(lambda: codes == [Interrupted.exit_code])
    first.close()
    assert json.loads(store.values["failed"])[2] == "rank 2 is gone"


class Told(Ranks):
    """A rank that is told what the first one has written."""

    def __init__(self, rank: int, told: list[str] | None = None) -> None:
        """Keep what is told; the first rank writes by itself."""
        super().__init__(Place(rank, 2))
        self.told = told

    def broadcast(self, make: Callable[[], Any]) -> Any:
        """Return what the first rank says."""
        return make() if self.told is None else self.told

    def gather(self, value: Any) -> list[Any]:
        """Return what this rank has."""
        return [value]


def test_a_folder_that_all_see(tmp_path: Path) -> None:
    """The first process makes it and takes its file away again; another one sees the file."""
    check_shared_folder(tmp_path / "artifacts", Told(0))
    assert list((tmp_path / "artifacts").iterdir()) == []
    (tmp_path / "artifacts" / ".shared").touch()
    check_shared_folder(tmp_path / "artifacts", Told(1, [".shared", "n1"]))
    check_shared_folder(tmp_path / "none", Ranks())
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "VISIBLE_SECONDS", 0.0)
    with pytest.raises(ValignError, match=r"artifacts=.* is not shared: rank 1 on .* rank 0 on n1 wrote there"):
        check_shared_folder(tmp_path, Told(1, [".shared", "n1"]))
