"""A database is made as a whole: nothing that a killed process left of it stands in the way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from valign.generation.requests import Completion
from valign.teachers import completion_store
from valign.teachers.completion_store import CompletionStore, Spent
from valign.teachers.database import open_database

STATEMENTS = [each for each in completion_store._TABLES.split(";") if each.strip()]


@pytest.mark.parametrize("made", [*(range(1, n + 1) for n in range(len(STATEMENTS))), [3]])
def test_tables_that_were_made_in_part_are_completed(made: range | list[int], tmp_path: Path) -> None:
    """By an earlier version that was killed in between, or that knew some tables only."""
    path = tmp_path / "c.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        for number in made:
            connection.execute(STATEMENTS[number - 1])
    store = CompletionStore(path)
    assert store.spent_by("m") == Spent()
    store.write({"k": [Completion("text", 1, True)]})
    assert store.read(["k"]) == {"k": [Completion("text", 1, True)]} and store.read_parts(["k"]) == {}


def test_a_process_that_ends_in_between_leaves_no_table(tmp_path: Path) -> None:
    """Here it ends by a statement that is none."""
    path, table = tmp_path / "c.sqlite", "CREATE TABLE IF NOT EXISTS one (key TEXT);"
    with pytest.raises(sqlite3.OperationalError):
        open_database(path, 1, f"{table} CREATE TABLE IF NOT EXISTS two;")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    open_database(path, 1, table).close()
