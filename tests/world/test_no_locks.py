"""File systems without locks: everything works, with one warning, or one line says why it does not."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from valign.generation.requests import Completion
from valign.teachers.completion_store import CompletionStore

HELPERS = Path(__file__).parents[1] / "helpers"
WRITER = """
import logging, sys
from pathlib import Path
from valign.core.disk import locked
from valign.core.errors import ValignError
from valign.generation.requests import Completion
from valign.teachers.completion_store import CompletionStore
logging.basicConfig(format="%(message)s")
root, name = Path(sys.argv[1]), sys.argv[2]
store = CompletionStore(root / "completions.sqlite", wait=float(sys.argv[3]))
try:
    for i in range(20):
        with locked(root / "sum.lock", lambda: None):
            file = root / "sum"
            file.write_text(str(int(file.read_text()) + 1))
        store.write({f"{name}-{i}": [Completion("text", 1, True)]})
except ValignError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that refuses locks as such file systems do."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler")
    found = tmp_path_factory.mktemp("library") / "no_locks.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", found, HELPERS / "no_locks.c", "-ldl"], check=True)
    return found


def two_writers(library: Path, folder: Path, number: int, wait: float) -> list[tuple[str, str]]:
    """Let two processes write to a folder without locks; return what each says on stdout and stderr."""
    (folder / "sum").write_text("0")
    environment = {**os.environ, "LD_PRELOAD": str(library), "LOCK_ERRNO": str(number)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, folder, name, str(wait)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    return [writer.communicate() for writer in writers]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP])
def test_without_locks_two_processes_lose_nothing(library: Path, tmp_path: Path, number: int) -> None:
    """Files that exist while they are held stand for the locks; one warning a process names them."""
    for said, warned in two_writers(library, tmp_path, number, 60.0):
        assert said == ""
        assert warned.splitlines() == [
            f"{tmp_path} is on a file system without locks; sum.lock.held stands for one, to be deleted where a "
            "process on another machine was killed"
        ]
    assert (tmp_path / "sum").read_text() == "40"
    store = CompletionStore(tmp_path / "completions.sqlite")
    keys = [f"{name}-{i}" for name in "ab" for i in range(20)]
    assert store.read(keys) == {key: [Completion("text", 1, True)] for key in keys}
    assert not list(tmp_path.glob("*.held")) and not (tmp_path / "completions.sqlite.lock").exists()


def test_a_lock_that_is_only_refused_is_one_line(library: Path, tmp_path: Path) -> None:
    """SQLite cannot tell this error, which some NFS servers give, from a lock that another process holds."""
    for said, _ in two_writers(library, tmp_path, errno.ENOLCK, 0.1):
        assert said.splitlines() == [
            f"The teacher's cache {tmp_path}/completions.sqlite: database is locked; another process holds it: end "
            "that one, or start again when it is done; where there is none, its file system gives no locks: choose "
            "another folder."
        ]
    assert (tmp_path / "sum").read_text() == "2"
