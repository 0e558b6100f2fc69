"""A cache of completions on disk: a run that was killed pays for no call twice."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from valign.core.progress import ProgressBar, ProgressLines, progress
from valign.generation.requests import Request
from valign.teachers.batch import BatchTeacher
from valign.teachers.cached_groups import CachedGroups
from valign.teachers.cached_stream import CachedStream
from valign.teachers.completion_store import Completions, CompletionStore, Spent
from valign.teachers.pending import make_pending, rests_on_pending
from valign.teachers.protocol import NO_COMPLETION, CheckedTeacher, StreamingTeacher, Teacher
from valign.teachers.usage import Meter, Usage

log = logging.getLogger(__name__)

PATIENCE = 600.0
LOOK_SECONDS = 0.5

_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode  # one for all keys: json.dumps makes it anew


def request_key(teacher: str, request: Request) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of a teacher's id and a request."""
    canonical = _canonical({"teacher": teacher, "request": request.to_dict()})
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _unseen(total: int, label: str, unit: str) -> ProgressBar:
    """Return a bar that shows nothing: a batch teacher does not work, it looks up what is there."""
    return ProgressLines(total, label, unit, sys.stderr, every=math.inf)


class CachedTeacher:
    """A teacher whose completions are kept on disk.

    Attributes:
        teacher: The teacher behind the cache.
        store: What has been completed so far.
        calls: Requests that the teacher has completed.
        hits: Requests that were answered without it.
        asked: Keys of all requests so far.
        pending: How many of these have no completions yet, which only a batch teacher leaves so.
    """

    def __init__(
        self,
        teacher: Teacher,
        path: Path,
        progress: Callable[[int, str, str], ProgressBar] = progress,
        share: tuple[int, int] = (0, 1),
        checks_first: bool = False,
        checks_too: Sequence[Teacher] = (),
    ) -> None:
        """Put a cache before a teacher.

        Args:
            teacher: Any teacher; it is asked for nothing but its id while every request is in the cache.
            path: The cache's file.
            progress: Makes the bar for a total, a label and a unit.
            share: (k, n) where n processes with the same requests and the same cache divide them: this one does each
                n-th group from the k-th on, or the calls whose key falls to it, and waits for what the others do.
            checks_first: Whether a teacher that can looks whether it will do before it is asked.
            checks_too: Other teachers that then do so as well: those that are asked later, of what this one writes.
        """
        self.teacher = teacher
        self.store = CompletionStore(path)
        self.progress = progress
        self.share = share
        self.checked = (*checks_too, teacher) if checks_first else ()
        self.calls = 0
        self.hits = 0
        self.pending = 0
        self.asked: set[str] = set()
        self._counted: set[str] = set()

    @property
    def id(self) -> str:
        """The teacher's id."""
        return self.teacher.id

    @property
    def is_batch(self) -> bool:
        """Whether completions come as results of a batch."""
        return isinstance(self.teacher, BatchTeacher)

    def complete_all(self, requests: Sequence[Request], label: str) -> list[Completions]:
        """Complete requests, each at most once in the life of the cache.

        What is computed together follows from the whole list of requests and not from what is in the cache, so that a
        run that was killed and started again forms the same groups, and gets the same completions, as one that was
        not. After each group its completions are on disk. A teacher that hands over single calls has no groups: each
        finished call is written at once, and only the calls that are missing are made. Where a batch has still to
        bring completions, something stands for them that no filter lets pass, and what is made from it is not asked.

        Args:
            requests: Any number; equal ones are completed once.
            label: What is done, for the progress bar.

        Returns:
            For each request its ``sampling.n`` completions.

        Raises:
            ValignError: The cache cannot be used, or the teacher fails.
        """
        keys = [request_key(self.id, request) for request in requests]
        by_key = dict(zip(keys, requests, strict=True))
        if self.is_batch:
            by_key = {key: request for key, request in by_key.items() if not rests_on_pending(request)}
        known = self.store.read(list(by_key))
        self.asked.update(by_key)
        before = self.calls
        if len(known) < len(by_key):
            self.store.write({})  # before anything is paid for: is the file writable?
            for teacher in self.checked:
                if isinstance(teacher, CheckedTeacher):
                    missing = [request for key, request in by_key.items() if key not in known]
                    teacher.check_before(missing if teacher is self.teacher else ())
            if self.share[1] > 1:
                self._complete(by_key, known, label, self.share)
                _wait_for_others(self.store, by_key, known, label)
            self._complete(by_key, known, label, (0, 1))
        self.hits += sum(key in known for key in keys) - (self.calls - before)
        if not self.is_batch:
            return [known[key] for key in keys]
        self.pending += sum(key not in known for key in keys)
        return [known.get(key) or make_pending(request) for key, request in zip(keys, requests, strict=True)]

    def spent(self) -> Spent:
        """Return what the calls for all requests so far have taken, also where an earlier run made them."""
        return self.store.spent_on(list(self.asked))

    def lacks(self, requests: Sequence[Request], group: Sequence[int]) -> bool:
        """Tell whether the cache lacks one of the requests whose indices are given."""
        keys = [request_key(self.id, requests[i]) for i in group]
        return len(self.store.read(keys)) < len(set(keys))

    def put(self, requests: Sequence[Request], rows: Sequence[Completions]) -> None:
        """Keep what the same teacher has completed in another process."""
        groups = CachedGroups(self.store, self.teacher)
        groups.keep({request_key(self.id, request): request for request in requests}, rows, 0.0)
        self.calls += groups.completed

    def close(self) -> None:
        """Release what the teacher holds."""
        close = getattr(self.teacher, "close", None)
        if close is not None:
            close()

    def _complete(
        self, by_key: Mapping[str, Request], known: dict[str, Completions], label: str, share: tuple[int, int]
    ) -> None:
        """Complete what is not known and falls to a share, and add it to what is known."""
        number, among = share
        work: CachedStream | CachedGroups
        if isinstance(self.teacher, StreamingTeacher):
            own = {key: request for key, request in by_key.items() if int(key[:8], 16) % among == number}
            self._count(self.teacher.meter, own)
            work = CachedStream(self.store, self.teacher, own)
            if among > 1:
                self.store.note_empty([key for key in own if key not in known], False)
        else:
            work = CachedGroups(self.store, self.teacher, by_key, share)
        total = work.plan(known)
        make_bar = _unseen if self.is_batch else self.progress
        try:
            with make_bar(total, label, "completions") as bar:
                work.run(known, bar)
        finally:
            self.calls += work.completed
        if among > 1 and isinstance(work, CachedStream):  # empty completions are not kept: the others shall not wait
            self.store.note_empty(work.left_empty, True)

    def _count(self, meter: Meter, by_key: Mapping[str, Request]) -> None:
        """Let calls of earlier runs count towards the limits of this one, each once."""
        if meter.limited:
            spent = self.store.spent_on([key for key in by_key if key not in self._counted])
            meter.add(Usage(spent.prompt_tokens, spent.completion_tokens, spent.seconds))
            self._counted.update(by_key)


def _wait_for_others(
    store: CompletionStore, by_key: Mapping[str, Request], known: dict[str, Completions], label: str
) -> None:
    """Add what the other shares complete, until nothing is missing or nothing has come for ten minutes.

    What stayed empty for another share is not waited for, and not asked again.
    """
    missing = [key for key in by_key if key not in known]
    since = time.monotonic()
    if missing:
        log.info("%s: waiting for the other shares (%d completions)", label, len(missing))
    while missing and time.monotonic() - since < PATIENCE:
        found = store.read(missing)
        empty = [key for key in store.read_empty(missing) if key not in found]
        there = store.read_parts(empty)
        for key in empty:
            found[key] = [there.get(key, {}).get(k, NO_COMPLETION) for k in range(by_key[key].sampling.n)]
        if found:
            known.update(found)
            missing = [key for key in missing if key not in known]
            since = time.monotonic()
        else:
            time.sleep(LOOK_SECONDS)
    if missing:
        log.warning("%s: nothing has come from the other shares for %.0f s; doing the rest", label, PATIENCE)
