"""What is shown in a terminal or typed there: no control characters, and remedies that work as they stand."""

from __future__ import annotations

import http.client
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from valign.cli.explain import explain
from valign.cli.main import show_any_character
from valign.core.errors import Pending, ValignError
from valign.core.progress import duration
from valign.core.records import Answer, Passage
from valign.core.text import typed
from valign.evaluation.judging.label_server import LabelServer
from valign.evaluation.judging.labels import LabelFile, draw_tasks
from valign.models import bundled
from valign.reporting.score_table import markdown_table
from valign.runs.wandb_mode import logged_in

ESCAPE = "\x1b]0;pwned\x07\x1b[2J\u202e"
PATHS = (
    "it's mine.txt", 'a "b" c.md', "a, b (1).pdf", "[x]{y}.txt", "$HOME `id` !.md", "back\\slash.txt", "end\\",
    "a=b&c;d.txt", "plain/rules.txt", "#1 % ~.txt", "ü ñ 规则.txt", "a:b, 'c\".txt", "new\nline's %.txt", "tab\t\\.txt",
    "two  spaces.txt", "no\u00a0break\u200e.txt", "\x1b[2J.txt",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_what_is_typed_in_a_shell_is_the_path(path: str, compose_config: Callable[..., DictConfig]) -> None:
    done = subprocess.run(
        ["sh", "-c", f"printf %s {(command := typed('document.path', path))}"],
        capture_output=True,
        text=True,
        check=True,
    )
    given = OverridesParser.create().parse_override(done.stdout)
    assert given.key_or_group == "document.path" and typed("document.path", path) in str(ValignError(f"so: {command}"))
    assert str(compose_config(done.stdout, "document=file").document.path) == path


@pytest.mark.parametrize("path", ["a, b's.txt", "(1) rules, new.txt", "it's.txt"])
def test_the_remedy_for_a_path_that_cannot_be_read_works_as_typed(path: str, tmp_path: Path) -> None:
    """The command of the message is typed in a shell, and finds the file."""
    (tmp_path / path).write_text("# Rules\n\nNobody feeds the swans.\n")
    with pytest.raises(Exception) as wrong:
        OverridesParser.create().parse_overrides([f"document.path={path}"])
    remedy = str(explain(wrong.value)).partition("write: ")[2]
    done = subprocess.run(["sh", "-c", f"printf %s {remedy}"], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert OverridesParser.create().parse_override(done.stdout).value() == path


def test_a_path_with_spaces_and_no_quotes_is_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell cuts it into arguments; the message has the whole, as it is to be typed."""
    monkeypatch.chdir(tmp_path)
    Path("My own rules.docx").write_bytes(b"")
    given = ["document=file", "document.path=My", "own", "rules.docx", "seed=1"]
    for name, said in (("rules.docx", True), ("others.docx", False)):
        monkeypatch.setattr("sys.argv", ["train", *given[:3], name, "seed=1"])
        with pytest.raises(Exception) as wrong:
            OverridesParser.create().parse_overrides([*given[:3], name])
        found = str(explain(wrong.value))
        assert (found == f"'My own rules.docx' has a space in it; put it in quotes: "
                f"{typed('document.path', 'My own rules.docx')}") is said  # fmt: skip
        assert "'own' is not a setting" in found or said


def test_messages_hold_no_control_characters() -> None:
    assert str(ValignError(f"Rules{ESCAPE}: is\nempty")) == "Rules]0;pwned[2J: is empty"
    assert Pending(f"a{ESCAPE}\nb").lines == "a]0;pwned[2J\nb"
    table = markdown_table([{"arm": f"a|b\n<b>{ESCAPE}", "n": 1, "metrics": {}, "by_clause": {}, "versus": {}}])
    assert "\\|b &lt;b>]0;pwned[2J |" in table.replace("a\\|", "\\|") or "a\\|b &lt;b>" in table


def test_an_encoding_that_lacks_a_character(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a locale is Latin-1: a dash of a title is no error."""
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="iso-8859-1")
    monkeypatch.setattr(sys, "stdout", narrow)
    show_any_character()
    print("Règle 1 — 礼物")
    narrow.flush()
    assert narrow.buffer.getvalue().decode("iso-8859-1") == "Règle 1 \\u2014 \\u793c\\u7269\n"


def test_a_clock_that_was_set_back() -> None:
    assert [duration(seconds) for seconds in (-5, 0, 61)] == ["0 s", "0 s", "1 min 1 s"]


def test_the_label_server_refuses_lengths_that_are_none(tmp_path: Path) -> None:
    said = {arm: [Answer("q", "d/1", "Why?", "So.", f"{arm}.", arm)] for arm in "ab"}
    tasks = draw_tasks(said, [Passage("d/1", ("D",), "So.", 0, 3)], 1, "me", 0)
    server = LabelServer(tasks, LabelFile(tmp_path / "labels.jsonl", "me"), 0)
    import threading

    threading.Thread(target=server.server.serve_forever, daemon=True).start()
    try:
        for length in ("-1", "abc", "1e9", "99999999999999999999", "\u0663"):
            link = http.client.HTTPConnection("127.0.0.1", server.server.server_port, timeout=30)
            link.putrequest("POST", "/x")
            link.putheader("Content-Type", "application/json")
            link.putheader("Content-Length", length.encode())
            link.endheaders()
            assert link.getresponse().status in (400, 413)
            link.close()
    finally:
        server.server.shutdown()
        server.server.server_close()


NO_HOME = """
import os
for name in ("HOME", "XDG_CACHE_HOME", "VALIGN_CACHE", "NETRC"):
    os.environ.pop(name, None)
from pathlib import Path
from valign.core.disk import describe_disk_errors
from valign.core.errors import ValignError
from valign.models import bundled
from valign.runs.wandb_mode import logged_in
os.setgid(54321); os.setuid(54321)
print(logged_in())
for call in (lambda: bundled.prepare_bundled("tiny", None), lambda: Path("~/rules.txt").expanduser()):
    try:
        with describe_disk_errors():
            call()
    except ValignError as error:
        print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user without an entry in passwd")
def test_no_home_and_no_entry_in_passwd() -> None:
    done = subprocess.run([sys.executable, "-c", NO_HOME], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "False",
        "this user has no home folder for converted models; set VALIGN_CACHE to a folder.",
        "~ in a path names no home folder; set HOME to a folder, or give paths without ~ (./~NAME for that name).",
    ]


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "VALIGN_CACHE", "NETRC", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert not logged_in()
    with pytest.raises(ValignError, match=r"home/\.cache/valign is not writable \(.*\); set VALIGN_CACHE to another"):
        bundled.prepare_bundled("tiny", None)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValignError, match=r"\.cache/valign is not writable \(Permission denied\); set VALIGN_CACHE"):
        bundled.prepare_bundled("tiny", None)
