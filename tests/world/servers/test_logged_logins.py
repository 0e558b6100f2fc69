"""A login that is typed in a URL on the command line: nothing of it reaches what W&B is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from valign.runs.summaries import mask_secrets
from valign.runs.tracking import closing_logger, make_logger

NAMES: dict[str, Any] = {"project": "p", "entity": None, "name": "n", "group": "g", "job_type": "j"}


def test_the_command_line_is_not_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run's file, and all others in its folder, are searched."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(sys, "argv", ["valign.train", "teacher.base_urls=[http://user:hunter2pass@host/v1]"])
    with closing_logger(make_logger("wandb", mode="offline", folder=tmp_path / "run", **NAMES)):
        pass
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert not [path for path in files if b"hunter2pass" in path.read_bytes()]


def test_a_password_with_an_at_sign_is_masked_whole() -> None:
    assert mask_secrets({"urls": ["http://u:p@q@h/v1", "http://h/a@b"]}) == {
        "urls": ["http://***@h/v1", "http://h/a@b"]
    }
