"""What every teacher does: messages and sampling settings in, completions out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from valign.generation.requests import Completion, Request
from valign.teachers.usage import Meter, Usage


@dataclass(frozen=True)
class Job:
    """A request some of whose completions are still missing.

    Attributes:
        key: Of the request, as the caller names it.
        request: The request.
        missing: Numbers, from 0, of the completions that are missing.
    """

    key: str
    request: Request
    missing: tuple[int, ...]


@dataclass(frozen=True)
class CallResult:
    """What one finished call has brought.

    Attributes:
        key: Of the job's request.
        completions: Some of its completions by their numbers.
        usage: What the call took.
        given_up: Numbers of completions that stayed empty, and are not asked for again.
    """

    key: str
    completions: dict[int, Completion]
    usage: Usage
    given_up: tuple[int, ...] = ()


NO_COMPLETION = Completion("", 0, False)  # stands for one that stayed empty; no cache keeps it, no filter lets it pass


class Teacher(Protocol):
    """A model that completes requests in groups, which ``batches`` forms; a cache keeps a group at a time."""

    @property
    def id(self) -> str:
        """Name of the model with its weights' version."""
        ...

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return groups of indices into requests; ``complete`` takes one group at a time."""
        ...

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete the requests of one group.

        Returns:
            For each request its ``sampling.n`` completions.
        """
        ...


@runtime_checkable
class ProgressTeacher(Teacher, Protocol):
    """A teacher that reports how far it is with a group, whose completions all come at its end."""

    def complete_with_progress(
        self, requests: Sequence[Request], report: Callable[[int], object]
    ) -> list[list[Completion]]:
        """Complete the requests of one group as ``complete`` does.

        Args:
            requests: The group.
            report: Called now and then with the work done since the last call, counted in completions; in all at most
                the number of completions.
        """
        ...


@runtime_checkable
class StreamingTeacher(Teacher, Protocol):
    """A teacher that hands over each call as it finishes, so that a cache can keep it at once.

    Attributes:
        meter: Counts what its calls take; a cache adds what earlier runs spent on the same requests.
    """

    meter: Meter

    def complete_each(self, jobs: Iterator[Job], done: Callable[[CallResult], None]) -> None:
        """Do jobs, taken one by one as there is room for them, and report every finished call.

        Args:
            jobs: Any number; those not yet needed are not drawn.
            done: Called in this thread for each finished call, in the order in which they finish.

        Raises:
            ValignError: A call failed for good; what finished before, and what was under way, has been reported.
        """
        ...


@runtime_checkable
class CheckedTeacher(Teacher, Protocol):
    """A teacher that can find out, before it is paid, that it will not do."""

    def check_before(self, requests: Sequence[Request]) -> None:
        """Look whether the model is there and requests fit.

        Args:
            requests: What it is about to be asked.

        Raises:
            ValignError: It is not, or they do not.
        """
        ...
