"""Who may read and write what valign writes: as the umask says, and never everybody."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from valign.cli.main import keep_from_strangers
from valign.core.files import append_text, write_atomically, write_json
from valign.core.folders import new_folder, write_folder
from valign.core.store import build_artifact
from valign.generation.requests import Completion
from valign.teachers.completion_store import CompletionStore

WEIGHTS = {"a": torch.zeros(2)}


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def save(folder: Path) -> None:
    """Write weights as libraries do: under a private name, then renamed."""
    save_file(WEIGHTS, folder / "model.safetensors")


def write_all(root: Path) -> None:
    """Write with every writer."""
    write_json(root / "runs" / "run.json", {})
    append_text(root / "runs" / "labels.jsonl", "{}\n")
    build_artifact(root, "sft", {}, {}, save, lambda _: None)
    for writer, name in ((write_folder, "cache"), (new_folder, "export")):
        with writer(root / name) as folder:
            save(folder)
    with write_atomically(root / "weights") as partial:
        save_file(WEIGHTS, partial)
    CompletionStore(root / "completions.sqlite").write({"k": [Completion("text", 1, True)]})


def modes(root: Path) -> tuple[set[int], set[int]]:
    """Return the modes of all files and of all folders."""
    found = [(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in root.rglob("*")]
    return {mode for is_folder, mode in found if not is_folder}, {mode for is_folder, mode in found if is_folder}


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022, 0o002], indirect=True)
def test_every_file_has_the_mode_of_the_umask(umask: int, tmp_path: Path) -> None:
    """Members of a group read all of a shared folder under 027; under 077 they read nothing."""
    write_all(tmp_path)
    files, folders = modes(tmp_path)
    assert folders == {0o777 & ~umask}
    assert files == {0o666 & ~umask}


@pytest.mark.parametrize("umask", [0o000, 0o020], indirect=True)
def test_nothing_is_for_everybody_to_write(umask: int, tmp_path: Path) -> None:
    """As in containers whose umask is 0."""
    keep_from_strangers()
    write_all(tmp_path)
    files, folders = modes(tmp_path)
    assert not any(mode & stat.S_IWOTH for mode in files | folders)
    assert max(files) == 0o664 & ~umask


@pytest.mark.parametrize("umask", [0o022], indirect=True)
def test_what_its_owner_closed_stays_closed(umask: int, tmp_path: Path) -> None:
    for name in ("run.json", "labels.jsonl"):
        (tmp_path / name).touch(0o600)
    write_json(tmp_path / "run.json", {})
    append_text(tmp_path / "labels.jsonl", "{}\n")
    assert modes(tmp_path)[0] == {0o600}
