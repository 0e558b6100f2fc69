"""What every teacher does: messages and sampling settings in, completions out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from valign.generation.requests import Completion, Request
from valign.teachers.usage import Meter, Usage

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Job:
    """A request with those of its completions (their numbers, from 0) that are not there yet."""

    key: str
    request: Request
    missing: tuple[int, ...]


@dataclass(frozen=True)
class Part:
    """What one finished call brought: some of a job's completions, by their numbers."""

    key: str
    completions: dict[int, Completion]
    usage: Usage


class Teacher(Protocol):
    """A model that writes.

    ``batches`` says which requests are computed together, so that a cache can keep those groups; ``complete`` returns,
    for each request, its ``sampling.n`` completions.
    """

    @property
    def id(self) -> str:
        """Name of the model with its weights' version."""
        ...

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Return groups of indices into requests, each of which ``complete`` takes in one go."""
        ...

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete the requests of one group."""
        ...


@runtime_checkable
class TellingTeacher(Teacher, Protocol):
    """A teacher that says how far it is with a group, whose completions all come at its end."""

    def complete_telling(self, requests: Sequence[Request], tell: Callable[[int], object]) -> list[list[Completion]]:
        """Complete the requests of one group as ``complete`` does.

        Args:
            requests: The group.
            tell: Called now and then with the completions' worth of work done since the last call, in all at most
                as many as there are completions.
        """
        ...


@runtime_checkable
class StreamingTeacher(Teacher, Protocol):
    """A teacher that hands over each call as it finishes, so that a cache can keep it at once.

    ``meter`` counts what its calls take; a cache adds what earlier runs spent on the same requests.
    """

    meter: Meter

    def complete_each(self, jobs: Iterator[Job], done: Callable[[Part], None]) -> None:
        """Do jobs, taken one by one as there is room for them, and report every finished call.

        Args:
            jobs: Any number; those not yet needed are not drawn.
            done: Called in this thread for each finished call, in the order in which they finish.

        Raises:
            ValignError: A call failed for good; what finished before, and what was under way, has been reported.
        """
        ...
