"""A disk that is full or read-only: one line, the partial file gone, what was there before still there."""

from __future__ import annotations

import builtins
import errno
import io
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from valign.core.disk import describe_disk_errors, disk_error, locked
from valign.core.errors import ValignError
from valign.core.files import (
    append_text,
    read_json,
    write_atomically,
    write_bytes,
    write_json,
    write_jsonl,
    write_text,
)
from valign.core.folders import new_folder, write_folder
from valign.core.store import MANIFEST, build_artifact, is_complete
from valign.evaluation.judging.labels import LabelFile
from valign.training.checkpoints import Checkpoints, latest_checkpoint

FULL = r"cannot be written \(No space left on device\); make room on its disk and start the same command again"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every write behind the tenth byte of a file fail as on a full disk."""
    real = io.open

    def open_full(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        opened = real(file, mode, *args, **options)
        if not set(mode) & set("wax+"):
            return opened
        write = opened.write

        def write_little(text: Any) -> int:
            write(text[:10])
            opened.flush()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        shown = _Opened(opened, write_little)
        return shown

    monkeypatch.setattr(io, "open", open_full)
    monkeypatch.setattr(builtins, "open", open_full)
    yield


class _Opened:
    """A file whose ``write`` is another one."""

    def __init__(self, file: Any, write: Callable[[Any], int]) -> None:
        self.file, self.write = file, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def write_half(path: Path) -> None:
    with write_atomically(path) as partial, partial.open("wb") as file:
        np.save(file, np.zeros(1000))


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda path: write_text(path, "ü" * 1000),
    "bytes": lambda path: write_bytes(path, b"x" * 1000),
    "json": lambda path: write_json(path, list(range(1000))),
    "jsonl": lambda path: write_jsonl(path, [{"a": i} for i in range(1000)]),
    "append": lambda path: append_text(path, "x" * 1000),
    "block": write_half,
}


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_one_line_and_nothing_is_lost(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 4)
    with pytest.raises(ValignError, match=rf"/file {FULL}"):
        WRITERS[kind](tmp_path / "file")
    with pytest.raises(ValignError, match=rf"/new {FULL}"):
        WRITERS[kind](tmp_path / "new")
    assert (tmp_path / "file").read_bytes() == b"\0" * 4
    left = {name for name in os.listdir(tmp_path) if (tmp_path / name).stat().st_size or name != "new"}
    assert left == {"file"}


@pytest.mark.usefixtures("full_disk")
def test_folders_and_stages_on_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ValignError, match=rf"/adapter {FULL}"), write_folder(tmp_path / "adapter") as partial:
        (partial / "weights").write_bytes(b"x" * 100)
    with pytest.raises(ValignError, match=rf"output=.*/out {FULL}"), new_folder(tmp_path / "out") as partial:
        (partial / "weights").write_bytes(b"x" * 100)
    assert os.listdir(tmp_path) == []

    def build(folder: Path) -> None:
        (folder / "rows").open("w").write("x" * 100)

    with pytest.raises(ValignError, match=rf"data/\w+ {FULL}"):
        build_artifact(tmp_path, "data", {}, {}, build, lambda _: None)
    assert not list(tmp_path.rglob(MANIFEST))


def saying(number: int) -> list[BaseException]:
    """Return the errors with which libraries say that a write failed."""
    said = os.strerror(number)
    return [
        OSError(number, said),
        RuntimeError(f"Error while serializing: I/O error: {said} (os error {number})"),
        ValueError(f"Failed to write: [Errno {number}] {said}"),
    ]


def test_what_libraries_raise_is_told_apart() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        for error in saying(number):
            assert os.strerror(number) in str(disk_error(error, Path("model.safetensors")))
    torch_error = RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
    assert "No space left" in str(disk_error(torch_error))
    for other in (ValueError("2"), ConnectionResetError(errno.ECONNRESET, "reset"), FileNotFoundError(2, "no", "f")):
        assert disk_error(other) is None
        with pytest.raises(type(other)), describe_disk_errors():
            raise other
    denied = PermissionError(errno.EACCES, "Permission denied", "questions.jsonl")
    assert str(disk_error(denied)).startswith("questions.jsonl cannot be opened (Permission denied); check its perm")


def test_the_checkpoint_before_stays_where_the_next_one_does_not_fit(tmp_path: Path) -> None:
    def save(path: Path) -> None:
        path.write_text("half")
        if "0000002" in path.name:
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")

    trainer: Any = SimpleNamespace(
        save_checkpoint=save, is_global_zero=True, strategy=SimpleNamespace(barrier=lambda: None)
    )
    callback = Checkpoints(tmp_path, 1, 3)
    callback.save(trainer, 1)
    with pytest.raises(ValignError, match=rf"step-0000002.ckpt {FULL}"):
        callback.save(trainer, 2)
    assert latest_checkpoint(tmp_path) == (1, tmp_path / "step-0000001.ckpt")
    assert os.listdir(tmp_path) == ["step-0000001.ckpt"]
    callback.save(trainer, 3)
    assert os.listdir(tmp_path) == ["step-0000003.ckpt"]


def test_what_torch_and_safetensors_raise_where_no_more_can_be_written(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk; the system refuses the write in the same way."""
    file, weights, before = tmp_path / "kept", {"a": torch.zeros(100_000)}, resource.getrlimit(resource.RLIMIT_FSIZE)
    write_text(file, "kept")
    writers: list[Callable[[Path], object]] = [
        lambda path: torch.save(weights, path),
        lambda path: save_file(weights, path),
        lambda path: np.savez(path.open("wb"), a=np.zeros(100_000)),
        lambda path: path.write_bytes(b"x" * 200_000),
    ]
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    try:
        for writer in writers:
            with pytest.raises(ValignError, match=r"/kept cannot be written \("), write_atomically(file) as partial:
                writer(partial)
            assert os.listdir(tmp_path) == ["kept"]
        with pytest.raises(ValignError, match=r"/kept cannot be written \(File too large\); make room"):
            append_text(file, "x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read_text() == "kept"


READ_ONLY = """
import os, sys
from pathlib import Path
from valign.core.errors import ValignError
from valign.core.files import write_json
from valign.core.store import build_artifact
from valign.evaluation.judging.labels import LabelFile
os.setgid(54321); os.setuid(54321)
root = Path(sys.argv[1])
print(build_artifact(root, "done", {}, {}, lambda folder: None, lambda _: None).name)
for call in (
    lambda: build_artifact(root, "open", {}, {}, lambda folder: None, lambda _: None),
    lambda: write_json(root / "run.json", {}),
    lambda: LabelFile(root / "labels.jsonl", "me").undo(),
):
    try:
        call()
    except ValignError as error:
        print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user who may not write")
def test_a_read_only_store_gives_what_is_complete_and_one_line_for_the_rest(tmp_path: Path) -> None:
    above = tmp_path.parents[: len(tmp_path.relative_to(tempfile.gettempdir()).parts) - 1]
    for part in (tmp_path, *above):
        part.chmod(0o755)
    folder = build_artifact(tmp_path, "done", {}, {}, lambda folder: None, lambda _: None)
    with pytest.raises(RuntimeError):
        build_artifact(tmp_path, "open", {}, {}, _fail, lambda _: None)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert done[0] == folder.name
    assert len(done) == 4
    for line, place in zip(done[1:], ("open", "run.json", str(tmp_path)), strict=True):
        assert place in line
        assert "(Permission denied); check its permissions, or choose another folder" in line


def _fail(folder: Path) -> None:
    raise RuntimeError


def test_an_empty_manifest_is_no_complete_stage(tmp_path: Path) -> None:
    """As a power cut leaves it on a file system that renames before it writes."""
    folder = build_artifact(tmp_path, "data", {}, {}, lambda folder: {"rows": 1}, lambda _: None)
    for text in ("", '{"stage": "da', "[]"):
        (folder / MANIFEST).write_text(text)
        assert not is_complete(folder)
        assert build_artifact(tmp_path, "data", {}, {}, lambda folder: {"rows": 2}, lambda _: None) == folder
        assert read_json(folder / MANIFEST)["counts"] == {"rows": 2}
    (folder / MANIFEST).write_text("")
    with pytest.raises(ValignError, match=r"manifest.json is damaged: no whole JSON value"):
        read_json(folder / MANIFEST)


def test_what_is_complete_is_on_the_disk_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are flushed before they get their names, and all of a stage's before its manifest."""
    order: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: order.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name))
    replace = os.replace

    def note(source: Path, target: Path) -> None:
        order.append(f"named {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)

    def build(folder: Path) -> None:
        (folder / "rows").write_text("x")

    folder = build_artifact(tmp_path, "data", {}, {}, build, lambda _: None)
    assert order[:2] == ["rows", folder.name]
    assert order[2].startswith(f".{MANIFEST}.")
    assert order[3:] == [f"named {MANIFEST}", folder.name]


WRITER = """
import sys
from pathlib import Path
from valign.core.files import read_json, write_json
for i in range(200):
    write_json(Path(sys.argv[1]), [sys.argv[2]] * 2000)
    assert len(set(read_json(Path(sys.argv[1])))) == 1
"""


def test_several_writers_of_one_file_never_leave_a_half(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert os.listdir(tmp_path) == ["scores.json"]


def test_labels_of_a_file_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((ValignError, OSError), match=r"file"):
        LabelFile(tmp_path / "file" / "labels.jsonl", "me").undo()


def test_a_folder_that_is_gone_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path starts from a folder that somebody has removed."""
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ValignError, match=r"^runs cannot be made; choose another"), locked(Path("runs/a"), print):
        pytest.fail("locked")
