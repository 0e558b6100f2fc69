"""Names of documents that a shell or a file system makes difficult, and files that are no documents."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from valign.config.checks import check_config
from valign.core.errors import ValignError
from valign.core.files import read_jsonl, write_text
from valign.core.records import Instruction
from valign.documents.choice import chosen_document
from valign.documents.read import read_document
from valign.documents.settings import DocumentSettings

Compose = Callable[..., DictConfig]
TEXT = "# Code\n\n## Gifts\n\nNo gifts above 50 euros.\n"
LONG = "a" * 252 + ".md"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a\nb.md", "a-b-7e18f7"),
        ("-x.md", "-x"),
        ("cafe\u0301.md", "cafe-81ef06"),
        ("caf\u00e9.md", "caf-850f7d"),
        (LONG, "a" * 40 + "-03aaf5"),
        ("..md", "cdb4ee"),
        ("a\u202eb\x1b[31m.md", "a-b-31m-5be2fe"),
    ],
)
def test_a_document_of_any_name_is_read(file: str, name: str, tmp_path: Path, compose_config: Compose) -> None:
    """What names its clauses and its folder of runs is plain, short and another for another file."""
    (tmp_path / file).write_text(TEXT)
    config = compose_config("document=file", f"document.path='{tmp_path / file}'")
    check_config(config)
    settings = DocumentSettings(name=config.document.name, path=config.document.path)
    found = chosen_document(settings)
    assert [(p.clause, p.text) for p in found.passages] == [(f"{name}/gifts", "No gifts above 50 euros.")]
    assert config.experiment_name == name


def test_a_name_that_is_not_utf_8_is_one_line(tmp_path: Path, compose_config: Compose) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xff.md")
    Path(path).write_text(TEXT)
    with pytest.raises(ValignError, match=r"^document\.path=.*/caf\\udcff\.md is not UTF-8; rename the file or folder"):
        check_config(compose_config("document=file", f"document.path='{path}'"))


def make(kind: str, path: Path) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        place = os.open(path.parent, os.O_RDONLY)  # such a name has 107 bytes at most
        socket.socket(socket.AF_UNIX).bind(f"/proc/self/fd/{place}/{path.name}")
        os.close(place)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "link":
        path.symlink_to("nothing")
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("fifo", "is no ordinary file; check the path"),
        ("socket", "is no ordinary file; check the path"),
        ("device", "is no ordinary file; check the path"),
        ("loop", "is a link that leads nowhere; check the path"),
        ("link", "is a link that leads nowhere; check the path"),
        ("none", "does not exist; check the path"),
        ("folder", "is a folder"),
        ("empty", "is empty; a document needs at least one paragraph."),
    ],
)
def test_what_is_no_document_is_one_line(kind: str, said: str, tmp_path: Path, compose_config: Compose) -> None:
    """By the check of the config, by the reader, and as a file of questions; nothing waits for a writer."""
    path = tmp_path / "policy.md"
    make(kind, path)
    if kind != "empty":
        with pytest.raises(ValignError, match=f"^document.path=.*/policy.md {said}"):
            check_config(compose_config("document=file", f"document.path={path}"))
        with pytest.raises(ValignError, match=f"^.*/policy.md {said}"):
            read_jsonl(path, Instruction)
    with pytest.raises(ValignError, match=f"^.*/policy.md {said}"):
        read_document(path, "policy")


def test_a_link_in_a_circle_is_no_place_to_write_through(tmp_path: Path) -> None:
    """The file takes the place of the link."""
    make("loop", tmp_path / "loop")
    write_text(tmp_path / "loop", "{}")
    assert (tmp_path / "loop").read_text() == "{}" and not (tmp_path / "loop").is_symlink()
