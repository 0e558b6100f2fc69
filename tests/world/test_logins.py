"""Logins and queries that are typed in URLs: in no message and no file that a command leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from entry_point import run_process

from valign.core.errors import ValignError
from valign.core.text import hide_logins
from valign.teachers.urls import is_broken, strip_login

SECRET = "hunter2pass"
TEACHER = ("teacher=api", "teacher.model=m")


@pytest.mark.parametrize("url", [f"http://me:{SECRET}@host:8/v1", f"https://host/v1?key={SECRET}"])
@pytest.mark.parametrize("experiment", ["ok", "mistake"])
def test_a_multirun_notes_and_says_no_login(url: str, experiment: str, tmp_path: Path) -> None:
    """Hydra prints each job's settings, and notes them in multirun.yaml."""
    given = ("-m", f"teacher.base_urls=['{url}']", f"experiment_name={experiment}", "seed=1,2", "logger=csv")
    _, stdout, stderr, _ = run_process(*given, *TEACHER, cwd=tmp_path)
    assert stdout.count("#1 :") == 1 and SECRET not in stdout + stderr
    assert "[job: " in stderr or experiment == "ok"
    left = {file.name: file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
    assert "seed=1,2" in left["multirun.yaml"] and SECRET not in "".join(left.values())


def test_a_multirun_that_does_not_start_notes_no_login(tmp_path: Path) -> None:
    given = ("-m", f"teacher.base_urls=['http://me:{SECRET}@host:8/v1']", "recipe=sft,nonesuch")
    code, stdout, stderr, _ = run_process(*given, *TEACHER, cwd=tmp_path)
    assert code == 2 and SECRET not in stdout + stderr
    assert SECRET not in "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())


@pytest.mark.parametrize("signs", ["a/b", "a?b", "a#b"])
def test_a_password_that_ends_the_host_is_refused_without_it(signs: str, tmp_path: Path) -> None:
    url = f"http://me:{SECRET}{signs}@host/v1"
    code, stdout, stderr, _ = run_process(*TEACHER, f"teacher.base_urls=['{url}']", cwd=tmp_path)
    assert code == 2 and "its port is no number, or a login in it has /, ? or #" in stderr
    assert SECRET not in stdout + stderr and list(tmp_path.iterdir()) == []
    assert is_broken(url) and strip_login(url) == "host/v1"
    assert not is_broken("http://me:p%2Fw@host:8/v1") and not is_broken("http://[::1]:8/v1")
    assert is_broken("http://host:port/v1") and is_broken("http://[::1/v1")


def test_no_message_repeats_a_login() -> None:
    said = f"cannot read 'teacher.base_urls=[http://u:{SECRET}@a/v1,http://v:{SECRET}@b/v1'"
    assert str(ValignError(said)) == "cannot read 'teacher.base_urls=[http://***@a/v1,http://***@b/v1'"
    plain = "write it like http://localhost:8000/v1; mail me@host, or see https://host/a@b?"
    assert hide_logins(plain.replace("a@b", "ab")) == plain.replace("a@b", "ab")
