"""A teacher that writes a recording of what another one completes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from valign.generation.requests import Completion, Request
from valign.teachers.protocol import Teacher
from valign.teachers.replay import record


class Recorder:
    """A teacher that writes down what another one completes, as a recording for ``ReplayTeacher``."""

    def __init__(self, teacher: Teacher, path: Path) -> None:
        """Choose the teacher and the recording.

        Args:
            teacher: The teacher that does the work.
            path: The recording; lines are added to it.
        """
        self.teacher = teacher
        self.path = path

    @property
    def id(self) -> str:
        """The teacher's id."""
        return self.teacher.id

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests as the teacher does."""
        return self.teacher.batches(requests)

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Have the requests completed, and add them to the recording."""
        rows = self.teacher.complete(requests)
        record(self.path, requests, rows)
        return rows
