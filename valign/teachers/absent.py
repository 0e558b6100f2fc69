"""No teacher: the data are given rows and what valign writes by itself."""

from __future__ import annotations

from collections.abc import Sequence

from valign.core.errors import ValignError
from valign.generation.requests import Completion, Request


class NoTeacher:
    """Stands where a teacher is wanted and none is there; to ask it is an error."""

    id = "none"

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Put all requests into one group."""
        return [list(range(len(requests)))]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Refuse.

        Raises:
            ValignError: Always.
        """
        raise ValignError(
            f"teacher=none writes nothing, and {len(requests)} texts are wanted; choose a teacher, as in teacher=local."
        )
