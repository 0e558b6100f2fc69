"""Machines whose folders for temporary files are read-only, full or not there: documents are read all the same."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from valign.core.disk import describe_disk_errors
from valign.core.errors import ValignError
from valign.documents.read import read_document

ROOT = Path(__file__).resolve().parents[2]
CONDUCT = ROOT / "valign" / "documents" / "data" / "conduct.pdf"
# Nothing on this machine can be made, as where all of it is read-only.
READS = f"""
import builtins, errno, io, os, sys
from pathlib import Path
from valign.documents.limits import answer_call
real = os.open
def refuse(path, flags, *rest, **named):
    if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
    return real(path, flags, *rest, **named)
os.open = refuse
os.mkdir = lambda path, *rest, **named: refuse(path, os.O_CREAT)
from valign.documents.read import parse_document
path = Path({str(CONDUCT)!r})
print(len(parse_document(path.read_bytes(), "conduct", suffix="pdf").passages))
"""


@pytest.fixture
def no_temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tempfile find no folder that it can write to."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_os", SimpleNamespace(**{**vars(os), "open": refuse}))


@pytest.mark.usefixtures("no_temporary")
def test_without_any_temporary_folder_one_line_says_what_to_set() -> None:
    with pytest.raises(ValignError) as caught, describe_disk_errors(), tempfile.TemporaryDirectory():
        pass
    assert str(caught.value) == (
        "no folder for temporary files can be written (TMPDIR, /tmp, /var/tmp, the current one); set TMPDIR to one."
    )


def test_a_document_is_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the process of its own, and with a TMPDIR that is not there."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nothing"))
    expected = len(read_document(CONDUCT, "conduct").passages)
    assert expected > 20
    done = subprocess.run(
        [sys.executable, "-c", READS], capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ}
    )
    assert done.stdout == f"{expected}\n"
