"""A heading and the paragraphs directly below it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Paragraph:
    """A paragraph: ``text[start:end]`` without its own number, which is kept beside it."""

    start: int
    end: int
    number: str | None = None


@dataclass
class Section:
    """The paragraphs directly below one heading.

    Attributes:
        path: The headings from the outermost one inwards.
        slugs: The part of a clause id that each of them gives.
        paragraphs: In reading order.
    """

    path: tuple[str, ...]
    slugs: tuple[str, ...]
    paragraphs: list[Paragraph] = field(default_factory=list)
