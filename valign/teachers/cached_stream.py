"""Completes requests with a teacher that hands over single calls, and keeps each call in the cache as it finishes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial

from valign.core.progress import ProgressBar
from valign.generation.requests import Completion, Request
from valign.teachers.completion_store import BackgroundWriter, Completions, CompletionStore, StoredRow, as_kept
from valign.teachers.protocol import NO_COMPLETION, CallResult, Job, StreamingTeacher

log = logging.getLogger(__name__)

CHUNK_SIZE = 1024  # each look into the file may wait for the writer


class CachedStream:
    """One pass over the calls that the cache lacks.

    Attributes:
        completed: Requests whose last call has finished.
    """

    def __init__(self, store: CompletionStore, teacher: StreamingTeacher, requests: Mapping[str, Request]) -> None:
        """Choose what is to be done.

        Args:
            store: Where completions are kept.
            teacher: Who completes the requests.
            requests: The requests by their keys.
        """
        self.store = store
        self.teacher = teacher
        self.requests = requests
        self.completed = 0
        self._missing: list[str] = []
        self._found: dict[str, dict[int, Completion]] = {}  # of requests that are begun and not whole
        self._given_up: dict[str, set[int]] = {}  # numbers of completions that stayed empty

    @property
    def left_empty(self) -> list[str]:
        """Keys of requests of which completions stayed empty."""
        return list(self._given_up)

    def plan(self, known: Mapping[str, Completions]) -> int:
        """Find the requests that are not known, and return the number of their completions."""
        self._missing = [key for key in self.requests if key not in known]
        return sum(self.requests[key].sampling.n for key in self._missing)

    def run(self, known: dict[str, Completions], bar: ProgressBar) -> None:
        """Make the calls that were planned, and keep each as it finishes.

        Args:
            known: Completions by key, to which new ones are added.
            bar: Shows how many completions are done.
        """
        with BackgroundWriter(self.store) as writer:
            self.teacher.complete_each(self._jobs(known, writer, bar), partial(self._keep, known, writer, bar))
        known.update(self.store.read(list(writer.contested)))
        for key, numbers in self._given_up.items():
            if len(numbers) + len(self._found.get(key, ())) == self.requests[key].sampling.n:
                known.setdefault(
                    key, [self._found[key].get(k, NO_COMPLETION) for k in sorted({*numbers, *self._found[key]})]
                )
        if self._given_up:
            count = sum(map(len, self._given_up.values()))
            log.warning(
                "%s left %d completions empty; they are not kept, and nothing is made of them", self.teacher.id, count
            )

    def _keep(
        self, known: dict[str, Completions], writer: BackgroundWriter, bar: ProgressBar, result: CallResult
    ) -> None:
        """Hand a finished call to the writer, and the whole request with its last one."""
        found = self._found[result.key]
        found.update(result.completions)
        if result.given_up:
            self._given_up.setdefault(result.key, set()).update(result.given_up)
        whole = _whole(found, self.requests[result.key])
        parts = None if whole else result.completions
        writer.put(StoredRow(result.key, whole, parts, self.teacher.id, result.usage, len(result.completions)))
        bar.update(len(result.completions) + len(result.given_up))
        if whole:
            known[result.key] = as_kept(whole)
            del self._found[result.key]
            self.completed += 1

    def _jobs(self, known: dict[str, Completions], writer: BackgroundWriter, bar: ProgressBar) -> Iterator[Job]:
        """Yield what is to be done, and look, a chunk at a time, whether another process has done it meanwhile."""
        for start in range(0, len(self._missing), CHUNK_SIZE):
            keys = self._missing[start : start + CHUNK_SIZE]
            there, parts = self.store.read(keys), self.store.read_parts(keys)
            for key in keys:
                request, found = self.requests[key], parts.get(key, {})
                bar.update(request.sampling.n if key in there else len(found))
                if key in there:
                    known[key] = there[key]
                    continue
                if whole := _whole(found, request):
                    writer.put(StoredRow(key, whole))
                    known[key] = whole
                    continue
                self._found[key] = found
                yield Job(key, request, tuple(k for k in range(request.sampling.n) if k not in found))


def _whole(found: Mapping[int, Completion], request: Request) -> Completions | None:
    """Return a request's completions in order, or None where some are missing."""
    if len(found) < request.sampling.n:
        return None
    return [found[k] for k in range(request.sampling.n)]
