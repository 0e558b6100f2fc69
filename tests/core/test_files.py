"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from valign.core.errors import ValignError
from valign.core.files import (
    read_json,
    write_atomically,
    write_bytes,
    write_json,
    write_jsonl,
    write_text,
)
from valign.core.folders import new_folder, write_folder

CALLS = {
    "text": lambda path: write_text(path, "ü\n"),
    "bytes": lambda path: write_bytes(path, b"\xff"),
    "json": lambda path: write_json(path, {"ü": 1}),
    "jsonl": lambda path: write_jsonl(path, [{"ü": 1}]),
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_file_appears_in_a_folder_that_is_made_and_nothing_beside_it(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "file"
    CALLS[kind](file)
    CALLS[kind](file)
    expected = {
        "text": "ü\n".encode(),
        "bytes": b"\xff",
        "json": b'{\n  "\xc3\xbc": 1\n}\n',
        "jsonl": b'{"\xc3\xbc": 1}\n',
    }
    assert file.read_bytes() == expected[kind]
    assert os.listdir(file.parent) == ["file"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_text(file, "old")
    with write_atomically(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old"
        assert partial.parent == tmp_path
    assert file.read_text() == "new"


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_text(file, "old")
    with pytest.raises(RuntimeError, match="disk full"), write_atomically(file) as partial:
        partial.write_text("half of the n")
        raise RuntimeError("disk full")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["scores.json"]
    with pytest.raises(TypeError):
        write_json(tmp_path / "none.json", {("a", "b"): 1})
    with pytest.raises(FileNotFoundError), write_atomically(tmp_path / "none.json"):
        pass  # the block has written nothing
    assert os.listdir(tmp_path) == ["scores.json"]


def test_a_second_writers_partial_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each writer has one of its own, and what comes after the first one's replacement is not the first one's."""
    file = tmp_path / "scores.json"
    replace = os.replace

    def replace_and_begin(source: Path, target: Path) -> None:
        replace(source, target)
        Path(source).write_text("second")

    monkeypatch.setattr(os, "replace", replace_and_begin)
    with write_atomically(file) as partial:
        partial.write_text("first")
    assert (file.read_text(), partial.read_text()) == ("first", "second")


def test_a_link_stays_and_what_is_no_file_is_refused(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    write_text(target, "old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink() and target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(ValignError, match=f"{name} is there already and no ordinary file"):
            write_text(tmp_path / name, "new")
    assert sorted(os.listdir(tmp_path)) == ["folder", "link", "pipe", "target"]


def make_old(path: Path) -> None:
    """Let a partial file or folder look untouched for two hours."""
    before = time.time() - 7200
    for each in (*path.rglob("*"), path):
        os.utime(each, (before, before))


def test_what_a_killed_process_left_goes_with_a_later_write(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "rows.jsonl") as partial:
        left = partial
        partial.touch()
    others = tmp_path / ".other.rows.jsonl.part", tmp_path / ".rows.jsonl.txt.part", tmp_path / ".rows.jsonl.part"
    for file in (left, *others):
        file.write_text("half")
        make_old(file)
    fresh = left.with_name(".rows.jsonl.0123abcd.part")
    fresh.write_text("another process writes it now")
    write_text(tmp_path / "rows.jsonl", "short")
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted(
        ["rows.jsonl", fresh.name, ".other.rows.jsonl.part", ".rows.jsonl.txt.part"]
    )


@pytest.mark.parametrize(("mask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700)])
def test_permissions_are_those_that_the_user_gives_to_new_files(
    mask: int, file_mode: int, folder_mode: int, tmp_path: Path
) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file", "")
        with write_folder(tmp_path / "folder"):
            pass
        with new_folder(tmp_path / "output"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == file_mode
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == folder_mode
    assert stat.S_IMODE((tmp_path / "output").stat().st_mode) == folder_mode


def test_a_folder_replaces_another_one_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    with write_folder(folder) as partial:
        (partial / "old").touch()
    with pytest.raises(RuntimeError, match="disk full"), write_folder(folder) as partial:
        (partial / "half").touch()
        raise RuntimeError("disk full")
    assert os.listdir(folder) == ["old"]
    (tmp_path / ".adapter.part").mkdir()
    (tmp_path / ".adapter.part" / "left").touch()  # by a process that was killed
    make_old(tmp_path / ".adapter.part")
    with write_folder(folder) as partial:
        (partial / "new").touch()
        assert os.listdir(folder) == ["old"]
    assert os.listdir(folder) == ["new"]
    assert os.listdir(tmp_path) == ["adapter"]


def test_a_folder_of_the_user_is_never_overwritten(tmp_path: Path) -> None:
    output = tmp_path / "new" / "output"
    with new_folder(output) as partial:
        write_json(partial / "a.json", 1)
    assert read_json(output / "a.json") == 1
    with pytest.raises(ValignError, match=r"output=.* is there already and not an empty folder"), new_folder(output):
        pass
    with pytest.raises(ValignError, match="is there already"), new_folder(output / "a.json"):
        pass
    assert os.listdir(tmp_path / "new") == ["output"]


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValignError, match=r"output=.*inner cannot be written"), new_folder(tmp_path / "file" / "inner"):
        pass
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ValignError, match=r"output=\. cannot be written"), new_folder(Path()):
        pass
    assert sorted(os.listdir(tmp_path)) == ["file", "here"]
