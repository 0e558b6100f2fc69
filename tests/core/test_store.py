"""Artifacts: built once, shared under a lock, complete only with a manifest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from valign.core.errors import ValignError
from valign.core.files import read_json, write_json
from valign.core.store import build_artifact, digest, file_digest, is_complete

BUILDER = """
import os, signal, sys, time
from pathlib import Path
from valign.core.store import build_artifact

root, mark, mode = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def build(folder):
    (folder / "begun").touch()
    with mark.open("a") as file:
        file.write("built\\n")
    if mode == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
    (folder / "out.txt").write_text("done")

build_artifact(root, "data", {"a": 1}, {}, build)
"""


def spawn(root: Path, mark: Path, mode: str = "live") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(root), str(mark), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


class Build:
    """Counts its calls, and notes whether the manifest was there while it worked."""

    def __init__(self) -> None:
        """Nothing was built."""
        self.calls = 0
        self.early = False

    def __call__(self, folder: Path) -> Mapping[str, Any]:
        """Write one file."""
        self.calls += 1
        self.early |= is_complete(folder)
        (folder / "rows.txt").write_text("x")
        return {"rows": self.calls}


def test_a_stage_is_built_once(tmp_path: Path) -> None:
    build, said = Build(), list[str]()
    first = build_artifact(tmp_path, "data", {"a": 1, "b": [1, 2]}, {"doc": "h"}, build, said.append)
    again = build_artifact(tmp_path, "data", {"b": [1, 2], "a": 1}, {"doc": "h"}, build, said.append)
    assert first == again
    assert build.calls == 1
    assert [line.split(":")[0] for line in said] == ["data"] * 3
    assert "already there" in said[-1]


def test_the_manifest_comes_last_and_says_how(tmp_path: Path) -> None:
    build = Build()
    folder = build_artifact(tmp_path, "data", {"a": 1}, {"doc": "h"}, build, lambda _: None)
    assert not build.early
    manifest = read_json(folder / "manifest.json")
    assert (manifest["stage"], manifest["config"], manifest["inputs"]) == ("data", {"a": 1}, {"doc": "h"})
    assert manifest["counts"] == {"rows": 1}
    assert set(manifest["versions"]) >= {"torch", "transformers", "peft"}
    assert {"git", "host", "seconds", "python"} <= set(manifest)


@pytest.mark.parametrize(
    ("name", "config", "inputs"),
    [("sft", {"a": 1}, {"doc": "h"}), ("data", {"a": 2}, {"doc": "h"}), ("data", {"a": 1}, {"doc": "i"})],
)
def test_name_config_and_inputs_each_make_another_artifact(
    name: str, config: dict[str, Any], inputs: dict[str, str], tmp_path: Path
) -> None:
    build = Build()
    one = build_artifact(tmp_path, "data", {"a": 1}, {"doc": "h"}, build, lambda _: None)
    other = build_artifact(tmp_path, name, config, inputs, build, lambda _: None)
    assert one.name != other.name
    assert build.calls == 2


def test_a_build_that_fails_is_not_complete_and_is_continued(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half.txt").write_text("first half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        build_artifact(tmp_path, "data", {}, {}, fails, lambda _: None)
    found: list[str] = []
    folder = build_artifact(
        tmp_path, "data", {}, {}, lambda f: found.append((f / "half.txt").read_text()), lambda _: None
    )
    assert found == ["first half"]
    assert is_complete(folder)


def test_a_killed_build_leaves_no_manifest_and_no_lock(tmp_path: Path) -> None:
    """The lock of a process that was killed is free again, and the next one goes on in the same folder."""
    root, mark = tmp_path / "artifacts", tmp_path / "mark"
    killed = spawn(root, mark, "die")
    assert killed.wait(60) == -signal.SIGKILL
    (folder,) = [f for f in (root / "data").iterdir() if f.is_dir()]
    assert (folder / "begun").is_file()
    assert not is_complete(folder)
    began = time.monotonic()
    assert spawn(root, mark).wait(60) == 0
    assert is_complete(folder)
    assert time.monotonic() - began < 30
    assert mark.read_text() == "built\n" * 2


def test_processes_that_need_the_same_stage_build_it_once(tmp_path: Path) -> None:
    root, mark = tmp_path / "artifacts", tmp_path / "mark"
    processes = [spawn(root, mark) for _ in range(3)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert mark.read_text() == "built\n"
    assert sum("building" in text for text in said) == 1


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file")
    with pytest.raises(ValignError, match=r"artifacts=.* is not writable .*choose another folder"):
        build_artifact(tmp_path / "artifacts", "data", {}, {}, Build(), lambda _: None)


def test_digests_do_not_depend_on_the_order_of_keys(tmp_path: Path) -> None:
    """The SHA-256 of the two characters ``{}`` begins with 44136fa355b3678a, that of no bytes with e3b0c44298fc1c14."""
    assert digest({}) == "44136fa355b3678a"
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 1})
    assert digest([1, 2]) != digest([2, 1])
    empty = tmp_path / "empty"
    empty.touch()
    assert file_digest(empty) == "e3b0c44298fc1c14"


def test_json_is_written_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_json(file, {"ü": 1})
    write_json(file, {"path": tmp_path})
    assert json.loads(file.read_text()) == {"path": str(tmp_path)}
    assert os.listdir(tmp_path) == ["scores.json"]
