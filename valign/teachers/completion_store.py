"""Completions on disk: one SQLite file, safe against kill -9 and shared by processes."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.generation.requests import Completion
from valign.generation.thoughts import visible_completion
from valign.teachers.database import open_database
from valign.teachers.usage import Usage, estimate_tokens

if TYPE_CHECKING:
    from typing import Self

Completions = list[Completion]
_TABLES = """
CREATE TABLE IF NOT EXISTS completions (key TEXT PRIMARY KEY, value TEXT NOT NULL, created_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS parts (key TEXT, number INTEGER, value TEXT NOT NULL, PRIMARY KEY (key, number));
CREATE TABLE IF NOT EXISTS empty (key TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS usage (key TEXT, teacher TEXT, completions INTEGER, prompt_tokens INTEGER,
    completion_tokens INTEGER, seconds REAL, created_at REAL);
CREATE INDEX IF NOT EXISTS usage_by_key ON usage (key);
CREATE INDEX IF NOT EXISTS usage_by_teacher ON usage (teacher);
"""
SUMS = "SELECT count(*), total(completions), total(prompt_tokens), total(completion_tokens), total(seconds) FROM usage"
WAIT = 60.0
KEYS_PER_QUERY = 500
MOST_WAITING = 4096
MANY_ROWS, REST, LONGEST_REST = 16, 4, 0.1
"""Where a transaction has many rows, the writer rests for a multiple of its time, at most so many seconds: calls come
first. At fewer calls a second each is on disk at once."""


@dataclass(frozen=True)
class StoredRow:
    """What is kept at once: a whole request, or what one call brought of it.

    Attributes:
        key: Of the request.
        whole: All its completions, once they are there.
        parts: Some of its completions by their numbers, where the others are still missing.
        teacher: Id of the teacher.
        usage: What the call took; None where it was counted before.
        count: The number of completions that the call brought.
    """

    key: str
    whole: Completions | None = None
    parts: Mapping[int, Completion] | None = None
    teacher: str = ""
    usage: Usage | None = None
    count: int = 0


@dataclass(frozen=True)
class Spent:
    """What some calls have taken together: tokens, and seconds of each call added up."""

    calls: int = 0
    completions: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        """Return both together."""
        return Spent(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class CompletionStore:
    """Completions by key in one SQLite file, which several processes may use at once.

    Each call opens the file anew. The rollback journal is kept, because a write-ahead log needs memory that is shared,
    which network file systems do not have.
    """

    def __init__(self, path: Path, wait: float = WAIT) -> None:
        """Choose the file.

        Args:
            path: The file; it and its folder are made at the first write.
            wait: Seconds to wait for another process that writes.
        """
        self.path = path
        self.wait = wait

    def read(self, keys: Sequence[str]) -> dict[str, Completions]:
        """Return the completions of the keys that are there.

        Raises:
            ValignError: The file is damaged, locked for too long, or not a cache.
        """
        query = "SELECT key, value FROM completions WHERE key IN ({})"
        with self._reading(keys, query) as rows:
            return {key: self._decode(value) for key, value in rows}

    def read_parts(self, keys: Sequence[str]) -> dict[str, dict[int, Completion]]:
        """Return what there is of requests that were not completed, by their keys and the completions' numbers."""
        found: dict[str, dict[int, Completion]] = {}
        with self._reading(keys, "SELECT key, number, value FROM parts WHERE key IN ({})") as rows:
            for key, number, value in rows:
                found.setdefault(key, {})[number] = self._decode(value)[0]
        return found

    def spent_on(self, keys: Sequence[str]) -> Spent:
        """Return what the calls for some requests have taken, whenever they were made."""
        with self._reading(keys, f"{SUMS} WHERE key IN ({{}})") as rows:
            return sum((_spent(row) for row in rows), Spent())

    def spent_by(self, teacher: str) -> Spent:
        """Return what the calls of a teacher have taken, for whichever requests."""
        if not self.path.exists():
            return Spent()
        with self._open() as connection:
            return _spent(connection.execute(f"{SUMS} WHERE teacher = ?", (teacher,)).fetchone())

    def write(self, rows: Mapping[str, Completions]) -> None:
        """Add completions in one transaction; a key that is there already keeps its value.

        Raises:
            ValignError: The file is damaged, locked for too long, not a cache, or not writable.
        """
        self.write_rows([StoredRow(key, row) for key, row in rows.items()])

    def write_rows(self, rows: Iterable[StoredRow]) -> set[str]:
        """Add rows in one transaction; a whole request takes the place of its parts.

        Returns:
            Keys, among which are all those of whole requests that were there already, and kept their values.

        Raises:
            ValignError: The file is damaged, locked for too long, not a cache, or not writable.
        """
        now = time.time()
        whole, parts, usage = [], [], []
        for row in rows:
            if row.whole is not None:
                whole.append((row.key, _encode(row.whole), now))
            for number, part in (row.parts or {}).items():
                parts.append((row.key, number, _encode([part])))
            if row.usage is not None:
                used = (row.usage.prompt_tokens, row.usage.completion_tokens, row.usage.seconds)
                usage.append((row.key, row.teacher, row.count, *used, now))
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR IGNORE INTO parts VALUES (?, ?, ?)", parts)
            added = connection.executemany("INSERT OR IGNORE INTO completions VALUES (?, ?, ?)", whole).rowcount
            if connection.execute("SELECT EXISTS (SELECT 1 FROM parts)").fetchone()[0]:
                connection.executemany("DELETE FROM parts WHERE key = ?", ((key,) for key, _, _ in whole))
            connection.executemany("INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)", usage)
            connection.execute("COMMIT")
        return {key for key, _, _ in whole} if added < len(whole) else set()

    def note_empty(self, keys: Sequence[str], is_empty: bool) -> None:
        """Note that completions of requests stayed empty, or that this is not known any more.

        Raises:
            ValignError: The file is damaged, locked for too long, not a cache, or not writable.
        """
        change = "INSERT OR IGNORE INTO empty VALUES (?)" if is_empty else "DELETE FROM empty WHERE key = ?"
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(change, ((key,) for key in keys))
            connection.execute("COMMIT")

    def read_empty(self, keys: Sequence[str]) -> set[str]:
        """Return the keys of which completions stayed empty."""
        with self._reading(keys, "SELECT key FROM empty WHERE key IN ({})") as rows:
            return {key for (key,) in rows}

    @contextmanager
    def _reading(self, keys: Sequence[str], query: str) -> Iterator[Iterator[tuple[Any, ...]]]:
        """Give the rows of a query for keys, which are put in by the hundred; none where there is no file yet."""
        if not self.path.exists():
            yield iter(())
            return
        with self._open() as connection:
            parts = (keys[start : start + KEYS_PER_QUERY] for start in range(0, len(keys), KEYS_PER_QUERY))
            yield (row for part in parts for row in connection.execute(query.format(",".join("?" * len(part))), part))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(open_database(self.path, self.wait, _TABLES)) as connection:
                yield connection
        except OSError as error:
            raise ValignError(
                f"The teacher's cache {self.path} is not writable ({error.strerror}); choose another folder."
            ) from None
        except sqlite3.Error as error:
            raise ValignError(f"The teacher's cache {self.path}: {error}; {self._remedy(error)}.") from None

    def _remedy(self, error: sqlite3.Error) -> str:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            if (left := self.path.with_name(f"{self.path.name}.lock")).exists():
                return f"another process holds it, or was killed: where none runs, delete {left.name}"
            return (
                "another process holds it: end that one, or start again when it is done; where there is none, its file "
                "system gives no locks: choose another folder"
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return "make it writable, or choose another folder"
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return "free some disk space and start again"
        return "restore it, or delete it and have its completions computed again"

    def _decode(self, value: str) -> Completions:
        try:
            return as_kept([Completion(**item) for item in json.loads(value)])
        except (TypeError, ValueError):
            raise sqlite3.DatabaseError("a row is not a list of completions") from None


class BackgroundWriter:
    """Keeps rows from a thread of its own, all that wait in one transaction, so that calls go on meanwhile.

    Leaving the ``with`` block waits until everything is on disk, whatever ended the block.

    Attributes:
        contested: Keys, among which are all those that another process had written first; its values were kept.
    """

    def __init__(self, store: CompletionStore) -> None:
        """Choose where the rows go."""
        self.store = store
        self.queue: SimpleQueue[StoredRow | None] = SimpleQueue()
        self.contested: set[str] = set()
        self.error: BaseException | None = None
        self.thread = Thread(target=self._work, name="valign-cache", daemon=True)

    def put(self, row: StoredRow) -> None:
        """Hand a row over.

        Raises:
            ValignError: An earlier one could not be kept; no more calls should be paid for.
        """
        if self.error:
            raise self.error
        self.queue.put(row)

    def _work(self) -> None:
        end = False
        while not end:
            rows = [self.queue.get()]
            while not self.queue.empty() and len(rows) < MOST_WAITING:
                rows.append(self.queue.get())
            end = rows[-1] is None
            began = time.monotonic()
            try:
                if self.error is None:
                    self.contested |= self.store.write_rows(row for row in rows if row is not None)
            except BaseException as error:
                self.error = error
            if len(rows) > MANY_ROWS and not end:
                time.sleep(min(LONGEST_REST, REST * (time.monotonic() - began)))

    def __enter__(self) -> Self:
        """Start the thread."""
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what is left and end the thread; raises what went wrong in it where nothing else did before."""
        self.queue.put(None)
        self.thread.join()
        if self.error and error is None:
            raise self.error


def as_kept(row: Completions) -> Completions:
    """Return completions as they are read again: without thoughts."""
    return [visible_completion(completion, estimate_tokens) for completion in row]


def _encode(row: Completions) -> str:
    text = json.dumps([vars(completion) for completion in row], ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()  # a half of a character, which a recording may hold, is not stored


def _spent(row: tuple[float, ...]) -> Spent:
    calls, completions, prompt, completion, seconds = row
    return Spent(int(calls), int(completions), int(prompt), int(completion), seconds)
