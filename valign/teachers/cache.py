"""A cache of completions on disk: a run that was killed pays for no call twice."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from valign.errors import ValignError
from valign.progress import Bar, progress
from valign.teachers.protocol import Completion, Request, Teacher

Completions = list[Completion]
SCHEMA = "CREATE TABLE IF NOT EXISTS completions (key TEXT PRIMARY KEY, value TEXT NOT NULL, created_at REAL NOT NULL)"
WAIT = 60.0
KEYS_PER_QUERY = 500


def request_key(teacher: str, request: Request) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of a teacher's id and a request."""
    canonical = json.dumps({"teacher": teacher, "request": request.to_dict()}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


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
        if not self.path.exists():
            return {}
        found: dict[str, Completions] = {}
        with self._open() as connection:
            for start in range(0, len(keys), KEYS_PER_QUERY):
                part = keys[start : start + KEYS_PER_QUERY]
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT key, value FROM completions WHERE key IN ({marks})", list(part))
                found.update((key, self._decode(value)) for key, value in rows)
        return found

    def write(self, rows: Mapping[str, Completions]) -> None:
        """Add completions in one transaction; a key that is there already keeps its value.

        Raises:
            ValignError: The file is damaged, locked for too long, not a cache, or not writable.
        """
        now = time.time()
        values = [(key, json.dumps([asdict(c) for c in row], ensure_ascii=False), now) for key, row in rows.items()]
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR IGNORE INTO completions VALUES (?, ?, ?)", values)
            connection.execute("COMMIT")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=self.wait, isolation_level=None)) as connection:
                connection.execute(SCHEMA)
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
            return "another process holds it: end that one, or start again when it is done"
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return "make it writable, or choose another folder"
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return "free some disk space and start again"
        return "restore it, or delete it and have its completions computed again"

    def _decode(self, value: str) -> Completions:
        try:
            return [Completion(**item) for item in json.loads(value)]
        except (TypeError, ValueError):
            raise sqlite3.DatabaseError("a row is not a list of completions") from None


class CachedTeacher:
    """A teacher whose completions are kept on disk.

    Attributes:
        teacher: The teacher behind the cache.
        store: What has been completed so far.
        calls: Requests that the teacher has completed.
        hits: Requests that were answered without it.
    """

    def __init__(self, teacher: Teacher, path: Path, progress: Callable[[int, str, str], Bar] = progress) -> None:
        """Put a cache before a teacher.

        Args:
            teacher: Any teacher; it is asked for nothing but its id while every request is in the cache.
            path: The cache's file.
            progress: Makes the bar for a total, a label and a unit.
        """
        self.teacher = teacher
        self.store = CompletionStore(path)
        self.progress = progress
        self.calls = 0
        self.hits = 0

    @property
    def id(self) -> str:
        """The teacher's id."""
        return self.teacher.id

    def complete_all(self, requests: Sequence[Request], label: str) -> list[Completions]:
        """Complete requests, each at most once in the life of the cache.

        What is computed together follows from the whole list of requests and not from what is in the cache, so that a
        run that was killed and started again forms the same groups, and gets the same completions, as one that was
        not. After each group its completions are on disk.

        Args:
            requests: Any number; equal ones are completed once.
            label: What is done, for the progress bar.

        Returns:
            For each request its ``sampling.n`` completions.

        Raises:
            ValignError: The cache cannot be used, or the teacher fails.
        """
        name = self.teacher.id
        keys = [request_key(name, request) for request in requests]
        by_key = dict(zip(keys, requests, strict=True))
        known = self.store.read(list(by_key))
        before = self.calls
        if len(known) < len(by_key):
            self._compute(by_key, known, label)
        self.hits += len(requests) - (self.calls - before)
        return [known[key] for key in keys]

    def close(self) -> None:
        """Release what the teacher holds."""
        close = getattr(self.teacher, "close", None)
        if close is not None:
            close()

    def _compute(self, by_key: Mapping[str, Request], known: dict[str, Completions], label: str) -> None:
        """Complete what is not known, group by group, and add it."""
        self.store.write({})  # before anything is paid for: is the file writable?
        keys, requests = list(by_key), list(by_key.values())
        groups = [[keys[i] for i in group] for group in self.teacher.batches(requests)]
        todo = [group for group in groups if any(key not in known for key in group)]
        total = sum(by_key[key].sampling.n for group in todo for key in group if key not in known)
        with self.progress(total, label, "completions") as bar:
            for group in todo:
                lacking = [key for key in group if key not in known]
                known.update(self.store.read(lacking))
                missing = [key for key in lacking if key not in known]
                if missing:
                    self._compute_group({key: by_key[key] for key in missing}, known)
                bar.update(sum(by_key[key].sampling.n for key in lacking))

    def _compute_group(self, group: Mapping[str, Request], known: dict[str, Completions]) -> None:
        """Complete the requests of one group and take what the cache then holds.

        Where another process was quicker with one of them, its completions count, as they will the next time.
        """
        rows = self.teacher.complete(list(group.values()))
        for request, row in zip(group.values(), rows, strict=True):
            if len(row) != request.sampling.n:
                raise RuntimeError(f"{self.teacher.id} returned {len(row)} completions instead of {request.sampling.n}")
        self.store.write(dict(zip(group, rows, strict=True)))
        self.calls += len(rows)
        known.update(self.store.read(list(group)))
