"""The cache and the local teacher's laziness, with teachers that only count."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from counting_teacher import FakeTeacher, ask, asked

from valign.core.errors import ValignError
from valign.core.progress import ProgressLines
from valign.generation.requests import Completion, Request, Sampling
from valign.teachers.cache import CachedTeacher, CompletionStore, request_key


def test_second_run_asks_the_teacher_nothing(tmp_path: Path) -> None:
    """Seven prompts in threes are three groups; a second cache on the same file finds all seven."""
    first = CachedTeacher(FakeTeacher(), tmp_path / "deep" / "cache.sqlite")
    rows = first.complete_all(asked(7), "test")
    assert (first.calls, first.hits) == (7, 0)
    assert rows[4] == [Completion("p4.0 in p3,p4,p5", 4, True)]
    teacher = FakeTeacher()
    second = CachedTeacher(teacher, tmp_path / "deep" / "cache.sqlite")
    assert second.complete_all(asked(7), "test") == rows
    assert (second.calls, second.hits, teacher.groups) == (0, 7, [])


def test_groups_follow_from_all_requests_not_from_the_missing_ones(tmp_path: Path) -> None:
    """Of p0..p7 in threes, p0..p2 and p4 are known: the groups are p3,p5 and p6,p7, not p3,p5,p6 and p7."""
    teacher = FakeTeacher()
    cached = CachedTeacher(teacher, tmp_path / "cache.sqlite")
    cached.complete_all(asked(3), "test")
    cached.complete_all([ask("p4")], "test")
    cached.complete_all(asked(8), "test")
    assert teacher.groups == [["p0", "p1", "p2"], ["p4"], ["p3", "p5"], ["p6", "p7"]]
    assert (cached.calls, cached.hits) == (8, 4)


def test_equal_requests_are_completed_once(tmp_path: Path) -> None:
    """Of six requests three are different (the seed counts): three calls, and three answered without."""
    teacher = FakeTeacher()
    cached = CachedTeacher(teacher, tmp_path / "cache.sqlite")
    rows = cached.complete_all([ask("a", 2), ask("b"), ask("a", 2), ask("b"), ask("b", seed=1), ask("a", 2)], "test")
    assert teacher.groups == [["a", "b", "b"]]
    assert (cached.calls, cached.hits) == (3, 3)
    assert rows[0] == rows[2] == rows[5]
    assert [completion.text[:3] for completion in rows[0]] == ["a.0", "a.1"]


def test_key_depends_on_all_that_decides_the_completion() -> None:
    request = ask("a")
    different = [
        ask("b"),
        ask("a", n=2),
        ask("a", seed=1),
        Request(request.messages, Sampling(temperature=0.5)),
        Request(request.messages, request.sampling, ("Yes",)),
        Request(({"role": "system", "content": "a"}, *request.messages), request.sampling),
    ]
    keys = {request_key("fake", r) for r in [request, *different]} | {request_key("other", request)}
    assert len(keys) == 8
    assert request_key("fake", ask("a")) == request_key("fake", request)


def test_what_another_process_wrote_first_counts(tmp_path: Path) -> None:
    """Both compute p0; the first to write wins, so that a third run gets what both returned."""
    path = tmp_path / "cache.sqlite"
    theirs = Completion("theirs", 1, True)

    class Slow(FakeTeacher):
        def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
            CompletionStore(path).write({request_key(self.id, ask("p0")): [theirs]})
            return super().complete(requests)

    assert CachedTeacher(Slow(), path).complete_all([ask("p0")], "test") == [[theirs]]
    assert CachedTeacher(FakeTeacher(), path).complete_all([ask("p0")], "test") == [[theirs]]


def test_group_is_on_disk_before_the_next_one_is_asked_for(tmp_path: Path) -> None:
    class Fails(FakeTeacher):
        def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
            if self.groups:
                raise ValignError("no more")
            return super().complete(requests)

    with pytest.raises(ValignError, match="no more"):
        CachedTeacher(Fails(), tmp_path / "cache.sqlite").complete_all(asked(6), "test")
    teacher = FakeTeacher()
    CachedTeacher(teacher, tmp_path / "cache.sqlite").complete_all(asked(6), "test")
    assert teacher.groups == [["p3", "p4", "p5"]]


def test_progress_counts_the_completions_that_are_missing(tmp_path: Path) -> None:
    """Four requests for two completions each, one of them known, in groups of three: 6 = 3 * 2 is 4 and then 2."""
    bars: list[list[int]] = []

    class ProgressBar(ProgressLines):
        def __init__(self, total: int, label: str, unit: str) -> None:
            super().__init__(total, label, unit, sys.stderr)
            bars.append([total])

        def update(self, n: int = 1) -> None:
            bars[-1].append(n)

    cached = CachedTeacher(FakeTeacher(), tmp_path / "cache.sqlite", ProgressBar)
    cached.complete_all([ask("p1", 2)], "test")
    cached.complete_all([ask(f"p{i}", 2) for i in range(4)], "test")
    cached.complete_all([ask(f"p{i}", 2) for i in range(4)], "test")
    assert bars == [[2, 2], [6, 4, 2]]


def test_progress_within_a_group(tmp_path: Path) -> None:
    """A group of four completions, of which the teacher tells three under way; the rest counts when it is kept."""
    told: list[int] = []

    class Telling(FakeTeacher):
        def complete_with_progress(
            self, requests: Sequence[Request], tell: Callable[[int], object]
        ) -> list[list[Completion]]:
            for worth in (0, 1, 2):
                tell(worth)
            return self.complete(requests)

    class ProgressBar(ProgressLines):
        def update(self, n: int = 1) -> None:
            told.append(n)

    bar = partial(ProgressBar, stream=sys.stderr)
    found = CachedTeacher(Telling(), tmp_path / "cache.sqlite", bar).complete_all([ask("p0", 2), ask("p1", 2)], "test")
    assert told == [0, 1, 2, 1] and [len(row) for row in found] == [2, 2]


RUN = """
import json, sys
from pathlib import Path
from tests.helpers.counting_teacher import FakeTeacher, asked
from valign.teachers.cache import CachedTeacher

cache, log, seconds = sys.argv[1:]
rows = CachedTeacher(FakeTeacher(Path(log), seconds=float(seconds)), Path(cache)).complete_all(asked(12), "test")
print(json.dumps([row[0].text for row in rows]))
"""


def start(folder: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(folder / "cache.sqlite"), str(folder / "calls.txt"), str(seconds)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_run_goes_on_with_the_same_groups(tmp_path: Path) -> None:
    """Killed in the third of four groups: the second run makes that one again and the fourth, and nothing else."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    expected = start(whole, 0).communicate(timeout=60)[0]
    process = start(killed, 0.5)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (killed / "calls.txt").exists() and len((killed / "calls.txt").read_text().splitlines()) == 3:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert start(killed, 0).communicate(timeout=60)[0] == expected
    groups = ["p0 p1 p2", "p3 p4 p5", "p6 p7 p8", "p6 p7 p8", "p9 p10 p11"]
    assert (killed / "calls.txt").read_text().splitlines() == groups
    assert json.loads(expected)[11] == "p11.0 in p9,p10,p11"


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    """Both write to one file at the same time; neither fails, and both return the same."""
    processes = [start(tmp_path, 0.01), start(tmp_path, 0.01)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(json.loads(outputs[0])) == 12


def test_damaged_cache_is_a_message(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(ValignError, match=r"cache\.sqlite.*not a database.*delete it"):
        CachedTeacher(FakeTeacher(), path).complete_all(asked(1), "test")
    path.unlink()
    CachedTeacher(FakeTeacher(), path).complete_all(asked(1), "test")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE completions SET value = '[{\"text\": 1'")
    connection.commit()
    connection.close()
    with pytest.raises(ValignError, match=r"not a list of completions.*delete it"):
        CachedTeacher(FakeTeacher(), path).complete_all(asked(1), "test")


def test_locked_cache_is_a_message_before_the_teacher_is_asked(tmp_path: Path) -> None:
    teacher = FakeTeacher()
    cached = CachedTeacher(teacher, tmp_path / "cache.sqlite")
    cached.complete_all(asked(1), "test")
    cached.store.wait = 0.05
    other = sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ValignError, match=r"locked.*another process holds it"):
        cached.complete_all(asked(2), "test")
    other.close()
    assert len(teacher.groups) == 1


def test_cache_that_cannot_be_written_is_a_message_before_the_teacher_is_asked(tmp_path: Path) -> None:
    teacher = FakeTeacher()
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(ValignError, match=r"file/cache\.sqlite is not writable.*another folder"):
        CachedTeacher(teacher, tmp_path / "file" / "cache.sqlite").complete_all(asked(1), "test")
    with pytest.raises(ValignError, match=r"folder\.sqlite: unable to open.*another folder"):
        CachedTeacher(teacher, tmp_path / "folder.sqlite").complete_all(asked(1), "test")
    assert teacher.groups == []


def test_wrong_number_of_completions_is_a_bug(tmp_path: Path) -> None:
    class Short(FakeTeacher):
        def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
            return [row[:1] for row in super().complete(requests)]

    with pytest.raises(RuntimeError, match="1 completions instead of 2"):
        CachedTeacher(Short(), tmp_path / "cache.sqlite").complete_all([ask("a", n=2)], "test")


def test_cached_run_loads_no_model_and_no_torch(tmp_path: Path) -> None:
    """In a process of its own, because other tests have torch loaded."""
    code = """
import sys
from pathlib import Path
from tests.helpers.counting_teacher import asked
from valign.teachers.cache import CachedTeacher
from valign.teachers.local import LocalTeacher

teacher = LocalTeacher("some/model")
teacher.__dict__["id"] = "fake@1"
cached = CachedTeacher(teacher, Path(sys.argv[1]))
assert cached.complete_all(asked(4), "test")[3][0].text == "p3.0 in p3"
assert not teacher.loaded
cached.close()
assert not {"torch", "transformers", "aiohttp"} & set(sys.modules)
"""
    CachedTeacher(FakeTeacher(), tmp_path / "cache.sqlite").complete_all(asked(4), "test")
    command = [sys.executable, "-c", code, str(tmp_path / "cache.sqlite")]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, timeout=60)
