"""Five rows edited on the review's page, data made again, a model trained: they were trained as edited."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from harbour import SETTINGS, lay_out, record
from review_work import send

from valign.core.files import read_json, read_jsonl
from valign.core.records import Instruction
from valign.core.store import file_digest
from valign.review_desk.opening import open_server
from valign.synthesis.dataset import read_data
from valign.synthesis.review_rows import data_rows

pytestmark = pytest.mark.slow

EDITED = "So the code says, as a reviewer wrote it, number {}."


def run(folder: Path, module: str, *arguments: str) -> tuple[int, str, str]:
    """Run an entry point; return exit code, stdout and stderr."""
    command = [sys.executable, "-m", f"valign.{module}", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    return done.returncode, done.stdout, done.stderr


def edit_five(folder: Path) -> dict[str, str]:
    """Edit five rows of a data set over HTTP, as the page does; return their answers by their ids."""
    server = open_server(read_data(folder), None, "ann", 0)
    thread = threading.Thread(target=server.serve)
    thread.start()
    edited = {}
    try:
        rows = [row for row in send(server.address, "rows")[1]["rows"] if row["set"] == "D_sft"]
        for i, row in enumerate(rows[:5]):
            change = {"question": row["question"], "answer": EDITED.format(i), "verdict": row["verdict"]}
            assert send(server.address, "decide", {"action": "edit", "key": row["key"], "change": change})[0] == 200
            edited[row["name"]] = EDITED.format(i)
    finally:
        server.finished.set()
        thread.join()
    return edited


def test_rows_are_trained_as_edited(tmp_path: Path) -> None:
    lay_out(tmp_path, record(tmp_path))
    settings = [*SETTINGS, "logger=none", "recipe=sft", "synthesis.require_review=0.01"]
    code, _, said = run(tmp_path, "train", *settings)
    assert code == 2, said
    found = re.search(r"valign\.review artifact=(\S+) reviewer=NAME, .* (synthesis\.review=\S+)\.$", said)
    assert found is not None, said
    place, then = found.groups()
    assert not list((tmp_path / "artifacts").glob("sft/*"))
    edited = edit_five(tmp_path / place)
    assert list(edited.values()) == [EDITED.format(i) for i in range(5)]
    code, printed, said = run(tmp_path, "train", *settings, then)
    assert code == 0, said

    (data,) = [f.parent for f in (tmp_path / "artifacts").glob("data/*/reviewed.jsonl")]
    rows = {row.example_id: row for row in read_jsonl(data / "sft.jsonl", Instruction)}
    assert {name: rows[name].answer for name in edited} == edited
    assert all(rows[name].provenance.teacher.endswith("; edited by ann") for name in edited)
    assert read_json(data / "manifest.json")["counts"]["calls"] == 0
    (sft,) = (tmp_path / "artifacts").glob("sft/*/manifest.json")
    manifest = json.loads(sft.read_text())
    assert manifest["inputs"]["data"] == file_digest(data / "sft.jsonl")
    assert manifest["counts"]["examples"] == len(rows)

    total = len(rows) + len(read_data(data).preferences)
    sentence = f"5 of {total} rows for training ({500 / total:.1f}%)"
    assert f"read by a person: {sentence}" in printed
    folder = tmp_path / "runs" / "harbour" / "sft"
    assert f"Read by a person: {sentence}" in (folder / "report.html").read_text()
    code, traced, said = run(tmp_path, "trace", f"id={next(iter(edited))}")
    assert code == 0, said
    assert "review     edited by ann, " in traced and EDITED.format(0) in traced and "answer, before: " in traced
    assert f"used by    {folder.relative_to(tmp_path)}" in traced
    code, _, said = run(tmp_path, "export", f"run={folder}", f"output={tmp_path / 'out'}")
    assert code == 0, said
    card = (tmp_path / "out" / "README.md").read_text()
    assert sentence in card and "0 kept, 5 edited, 0 dropped, 0 added; by ann (5)" in card

    code, printed, said = run(tmp_path, "train", *settings, then)
    assert "nothing to do" in printed
    more = open_server(read_data(data), None, "bob", 0)
    more.server.server_close()
    assert more.desk.file.path == tmp_path / then.partition("=")[2]
    assert set(more.desk.rows) == {row.key for row in data_rows(read_data(tmp_path / place))}
