"""Completes requests in groups, with a teacher that computes a group at once, and keeps each group in the cache."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from valign.core.progress import ProgressBar
from valign.generation.requests import Request
from valign.teachers.completion_store import Completions, CompletionStore, StoredRow
from valign.teachers.protocol import ProgressTeacher, Teacher
from valign.teachers.usage import Usage, estimate_prompt_tokens


class CachedGroups:
    """One pass over the groups of requests.

    Attributes:
        completed: Requests that the teacher has completed so far.
    """

    def __init__(
        self,
        store: CompletionStore,
        teacher: Teacher,
        requests: Mapping[str, Request] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Choose what is to be done.

        Args:
            store: Where completions are kept.
            teacher: Who completes the requests.
            requests: All requests by their keys, by which the teacher forms its groups.
            share: (k, n) takes each n-th group from the k-th on.
        """
        self.store = store
        self.teacher = teacher
        self.requests = requests or {}
        self.share = share
        self.completed = 0
        self._todo: list[list[str]] = []

    def plan(self, known: Mapping[str, Completions]) -> int:
        """Form the groups, find those with something to do, and return the number of completions that they lack."""
        keys = list(self.requests)
        groups = [[keys[i] for i in group] for group in self.teacher.batches(list(self.requests.values()))]
        share, among = self.share
        self._todo = [group for group in groups[share::among] if any(key not in known for key in group)]
        return sum(self.requests[key].sampling.n for group in self._todo for key in group if key not in known)

    def run(self, known: dict[str, Completions], bar: ProgressBar) -> None:
        """Complete the groups that were planned.

        Args:
            known: Completions by key, to which new ones are added.
            bar: Shows how many completions are done.
        """
        for group in self._todo:
            lacking = [key for key in group if key not in known]
            known.update(self.store.read(lacking))
            missing = [key for key in lacking if key not in known]
            shown = self.complete_group({key: self.requests[key] for key in missing}, known, bar) if missing else 0
            bar.update(sum(self.requests[key].sampling.n for key in lacking) - shown)

    def complete_group(self, group: Mapping[str, Request], known: dict[str, Completions], bar: ProgressBar) -> int:
        """Complete the requests of one group, and take what the cache then holds.

        Where another process was quicker with one of them, its completions count, as they will the next time.

        Returns:
            How many completions the bar shows of the group already.
        """
        began, shown = time.monotonic(), 0

        def report(done: int) -> None:
            nonlocal shown
            shown += done
            bar.update(done)

        if isinstance(self.teacher, ProgressTeacher):
            rows = self.teacher.complete_with_progress(list(group.values()), report)
        else:
            rows = self.teacher.complete(list(group.values()))
        self.keep(group, rows, (time.monotonic() - began) / len(rows))
        known.update(self.store.read(list(group)))
        return shown

    def keep(self, group: Mapping[str, Request], rows: Sequence[Completions], seconds: float) -> None:
        """Write the completions of a group to the cache.

        Args:
            group: The requests by their keys.
            rows: The completions of each request.
            seconds: The time that one request took.

        Raises:
            RuntimeError: A request has more or fewer completions than it asks for.
        """
        for request, row in zip(group.values(), rows, strict=True):
            if len(row) != request.sampling.n:
                raise RuntimeError(f"{self.teacher.id} returned {len(row)} completions instead of {request.sampling.n}")
        kept = []
        for (key, request), row in zip(group.items(), rows, strict=True):
            usage = Usage(
                estimate_prompt_tokens(request.messages), sum(completion.tokens for completion in row), seconds
            )
            kept.append(StoredRow(key, row, teacher=self.teacher.id, usage=usage, count=len(row)))
        self.store.write_rows(kept)
        self.completed += len(rows)
