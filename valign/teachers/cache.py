"""A cache of completions on disk: a run that was killed pays for no call twice."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from valign.core.progress import Bar, progress
from valign.generation.requests import Completion, Request
from valign.teachers.completion_store import BackgroundWriter, Completions, CompletionStore, Row, Spent
from valign.teachers.protocol import Job, Part, StreamingTeacher, Teacher, TellingTeacher
from valign.teachers.usage import Meter, Usage, prompt_tokens

log = logging.getLogger(__name__)

CHUNK = 256
PATIENCE = 600.0
LOOK_SECONDS = 0.5


def request_key(teacher: str, request: Request) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of a teacher's id and a request."""
    canonical = json.dumps({"teacher": teacher, "request": request.to_dict()}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


class CachedTeacher:
    """A teacher whose completions are kept on disk.

    Attributes:
        teacher: The teacher behind the cache.
        store: What has been completed so far.
        calls: Requests that the teacher has completed.
        hits: Requests that were answered without it.
    """

    def __init__(
        self,
        teacher: Teacher,
        path: Path,
        progress: Callable[[int, str, str], Bar] = progress,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Put a cache before a teacher.

        Args:
            teacher: Any teacher; it is asked for nothing but its id while every request is in the cache.
            path: The cache's file.
            progress: Makes the bar for a total, a label and a unit.
            share: (k, n) where n processes with the same requests and the same cache divide them: this one does each
                n-th group from the k-th on, or the calls whose key falls to it, and waits for what the others do.
        """
        self.teacher = teacher
        self.store = CompletionStore(path)
        self.progress = progress
        self.share = share
        self.calls = 0
        self.hits = 0
        self._counted: set[str] = set()
        self._asked: set[str] = set()

    @property
    def id(self) -> str:
        """The teacher's id."""
        return self.teacher.id

    def complete_all(self, requests: Sequence[Request], label: str) -> list[Completions]:
        """Complete requests, each at most once in the life of the cache.

        What is computed together follows from the whole list of requests and not from what is in the cache, so that a
        run that was killed and started again forms the same groups, and gets the same completions, as one that was
        not. After each group its completions are on disk. A teacher that hands over single calls has no groups: each
        finished call is written at once, and only the calls that are missing are made.

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
        self._asked.update(by_key)
        before = self.calls
        if len(known) < len(by_key):
            self.store.write({})  # before anything is paid for: is the file writable?
            if self.share[1] > 1:
                self._complete(by_key, known, label, self.share)
                self._wait_for_others(by_key, known, label)
            self._complete(by_key, known, label, (0, 1))
        self.hits += len(requests) - (self.calls - before)
        return [known[key] for key in keys]

    def spent(self) -> Spent:
        """Return what the calls for all requests so far have taken, also where an earlier run made them."""
        return self.store.spent_on(list(self._asked))

    def close(self) -> None:
        """Release what the teacher holds."""
        close = getattr(self.teacher, "close", None)
        if close is not None:
            close()

    def _complete(
        self, by_key: Mapping[str, Request], known: dict[str, Completions], label: str, share: tuple[int, int]
    ) -> None:
        """Complete what is not known and falls to a share, and add it."""
        number, among = share
        if isinstance(self.teacher, StreamingTeacher):
            own = {key: request for key, request in by_key.items() if int(key[:8], 16) % among == number}
            self._stream(self.teacher, own, known, label)
        else:
            self._compute(by_key, known, label, share)

    def _wait_for_others(self, by_key: Mapping[str, Request], known: dict[str, Completions], label: str) -> None:
        """Add what the other shares complete, until nothing is missing or nothing has come for ten minutes."""
        missing = [key for key in by_key if key not in known]
        since = time.monotonic()
        if missing:
            log.info("%s: waiting for the other shares (%d completions)", label, len(missing))
        while missing and time.monotonic() - since < PATIENCE:
            found = self.store.read(missing)
            if found:
                known.update(found)
                missing = [key for key in missing if key not in known]
                since = time.monotonic()
            else:
                time.sleep(LOOK_SECONDS)
        if missing:
            log.warning("%s: nothing has come from the other shares for %.0f s; doing the rest", label, PATIENCE)

    def _compute(
        self, by_key: Mapping[str, Request], known: dict[str, Completions], label: str, share: tuple[int, int]
    ) -> None:
        """Complete what is not known, group by group, and add it."""
        keys, requests = list(by_key), list(by_key.values())
        groups = [[keys[i] for i in group] for group in self.teacher.batches(requests)][share[0] :: share[1]]
        todo = [group for group in groups if any(key not in known for key in group)]
        total = sum(by_key[key].sampling.n for group in todo for key in group if key not in known)
        with self.progress(total, label, "completions") as bar:
            for group in todo:
                lacking = [key for key in group if key not in known]
                known.update(self.store.read(lacking))
                missing = [key for key in lacking if key not in known]
                told = self._compute_group({key: by_key[key] for key in missing}, known, bar) if missing else 0
                bar.update(sum(by_key[key].sampling.n for key in lacking) - told)

    def _compute_group(self, group: Mapping[str, Request], known: dict[str, Completions], bar: Bar) -> int:
        """Complete the requests of one group, take what the cache then holds, and return what the bar was told.

        Where another process was quicker with one of them, its completions count, as they will the next time.
        """
        began, told = time.monotonic(), 0

        def tell(worth: int) -> None:
            nonlocal told
            told += worth
            bar.update(worth)

        if isinstance(self.teacher, TellingTeacher):
            rows = self.teacher.complete_telling(list(group.values()), tell)
        else:
            rows = self.teacher.complete(list(group.values()))
        self._keep(group, rows, (time.monotonic() - began) / len(rows))
        known.update(self.store.read(list(group)))
        return told

    def lacks(self, requests: Sequence[Request], group: Sequence[int]) -> bool:
        """Tell whether the cache lacks one of the requests whose places are given."""
        keys = [request_key(self.id, requests[i]) for i in group]
        return len(self.store.read(keys)) < len(set(keys))

    def put(self, requests: Sequence[Request], rows: Sequence[Completions]) -> None:
        """Keep what the same teacher has completed in another process."""
        self._keep({request_key(self.id, request): request for request in requests}, rows, 0.0)

    def _keep(self, group: Mapping[str, Request], rows: Sequence[Completions], seconds: float) -> None:
        """Write the completions of a group; ``seconds`` is the time that one request took."""
        for request, row in zip(group.values(), rows, strict=True):
            if len(row) != request.sampling.n:
                raise RuntimeError(f"{self.teacher.id} returned {len(row)} completions instead of {request.sampling.n}")
        kept = []
        for (key, request), row in zip(group.items(), rows, strict=True):
            usage = Usage(prompt_tokens(request.messages), sum(completion.tokens for completion in row), seconds)
            kept.append(Row(key, row, teacher=self.id, usage=usage, count=len(row)))
        self.store.keep(kept)
        self.calls += len(rows)

    def _stream(
        self, teacher: StreamingTeacher, by_key: Mapping[str, Request], known: dict[str, Completions], label: str
    ) -> None:
        """Make the calls that are missing, keep each as it finishes, and add all to what is known."""
        missing = [key for key in by_key if key not in known]
        self._count(teacher.meter, by_key)
        open_: dict[str, dict[int, Completion]] = {}
        total = sum(by_key[key].sampling.n for key in missing)
        with self.progress(total, label, "completions") as bar, BackgroundWriter(self.store) as writer:

            def done(part: Part) -> None:
                found = open_[part.key]
                found.update(part.completions)
                whole = _whole(found, by_key[part.key])
                parts = None if whole else part.completions
                writer.put(Row(part.key, whole, parts, self.id, part.usage, len(part.completions)))
                bar.update(len(part.completions))
                if whole:
                    del open_[part.key]
                    self.calls += 1

            teacher.complete_each(self._jobs(by_key, missing, open_, writer, bar), done)
        for start in range(0, len(missing), CHUNK):
            known.update(self.store.read(missing[start : start + CHUNK]))

    def _jobs(
        self,
        by_key: Mapping[str, Request],
        missing: Sequence[str],
        open_: dict[str, dict[int, Completion]],
        writer: BackgroundWriter,
        bar: Bar,
    ) -> Iterator[Job]:
        """Yield what is to be done, looking shortly before whether another process has done it meanwhile."""
        for start in range(0, len(missing), CHUNK):
            keys = missing[start : start + CHUNK]
            there, parts = self.store.read(keys), self.store.read_parts(keys)
            for key in keys:
                request, found = by_key[key], parts.get(key, {})
                bar.update(request.sampling.n if key in there else len(found))
                if key in there:
                    continue
                if whole := _whole(found, request):
                    writer.put(Row(key, whole))
                    continue
                open_[key] = found
                yield Job(key, request, tuple(k for k in range(request.sampling.n) if k not in found))

    def _count(self, meter: Meter, by_key: Mapping[str, Request]) -> None:
        """Let calls of earlier runs count towards the limits of this one, each once."""
        if meter.limited:
            spent = self.store.spent_on([key for key in by_key if key not in self._counted])
            meter.add(Usage(spent.prompt_tokens, spent.completion_tokens, spent.seconds))
            self._counted.update(by_key)


def _whole(found: Mapping[int, Completion], request: Request) -> Completions | None:
    """Return a request's completions in order, or None where some are missing."""
    if len(found) < request.sampling.n:
        return None
    return [found[k] for k in range(request.sampling.n)]
