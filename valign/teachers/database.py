"""An SQLite file, opened also where its file system has no locks."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

_NO_LOCKS = (
    sqlite3.SQLITE_IOERR_LOCK,
    sqlite3.SQLITE_IOERR_RDLOCK,
    sqlite3.SQLITE_IOERR_UNLOCK,
    sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
)
_MADE = re.compile(r"CREATE (?:TABLE|INDEX) IF NOT EXISTS (\w+)")
DOT_FILE = "?vfs=unix-dotfile"  # SQLite's own locks that are folders, which every file system has


def open_database(path: Path, wait: float, tables: str) -> sqlite3.Connection:
    """Open a file, and make all its tables at once where one is not there.

    Where its file system has no locks, a folder beside it (``NAME.lock``) is there while a process reads or writes.

    Args:
        path: The file; its folder is there.
        wait: Seconds to wait for another process that writes.
        tables: The statements that make tables and indices where they are not there.

    Raises:
        sqlite3.Error: The file is damaged, locked for too long, or not writable.
        OSError: It cannot be made.
    """
    if not path.exists():
        path.touch()  # with the mode of the umask; SQLite would let no group write to it
    try:
        return _opened(path, "", wait, tables)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in _NO_LOCKS:
            raise
        return _opened(path, DOT_FILE, wait, tables)


def _opened(path: Path, locks: str, wait: float, tables: str) -> sqlite3.Connection:
    address = path.absolute().as_uri() + locks
    connection = sqlite3.connect(address, timeout=wait, isolation_level=None, uri=True)
    try:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if not there.issuperset(_MADE.findall(tables)):
            connection.executescript(f"BEGIN IMMEDIATE; {tables} COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection
