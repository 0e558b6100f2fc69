"""What of a file is in no passage: counted by reason while a reader goes through it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from itertools import chain

from valign.core.records import LeftOut
from valign.core.text import one_line

EXAMPLE = 60


class Reason(StrEnum):
    """Why text is left out; every format uses the same words."""

    ATTRIBUTES = "attributes of markup"
    COMMENT = "comment"
    CONTENTS = "table of contents"
    CONTROL = "form field"
    DELETED = "deleted or struck through"
    FOOTER = "header or footer"
    FRONT_MATTER = "front matter"
    HIDDEN = "hidden"
    LINK = "link address"
    MARGIN = "outside the main part"
    MEDIA = "drawing or media"
    NAVIGATION = "navigation"
    NOTE_MARK = "note mark"
    NO_LETTER = "without a letter or digit"
    NO_TEXT_BELOW = "heading without text"
    SCRIPT = "script or style"
    TITLE_AGAIN = "title again"
    TURNED = "turned, or off the page"


class Omissions:
    """Gathers what a reader leaves out; ``counts`` is what ``Source.left_out`` takes."""

    def __init__(self) -> None:
        self._counts: dict[str, LeftOut] = {}

    def add(self, reason: Reason, text: str) -> None:
        """Count one stretch of text; white space alone counts as nothing."""
        characters = sum(map(len, text.split()))
        if not characters:
            return
        known = self._counts.get(reason) or LeftOut(str(reason), 0, 0, one_line(text.strip()[: 4 * EXAMPLE])[:EXAMPLE])
        self._counts[reason] = replace(known, places=known.places + 1, characters=known.characters + characters)

    def counts(self) -> tuple[LeftOut, ...]:
        """Return one record a reason, the largest first."""
        return tuple(sorted(self._counts.values(), key=lambda entry: -entry.characters))


def merge_counts(*counted: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    """Return counts of several places as one record a reason, the largest first."""
    merged: dict[str, LeftOut] = {}
    for found in chain(*counted):
        known = merged.get(found.reason)
        merged[found.reason] = (
            found
            if known is None
            else replace(known, places=known.places + found.places, characters=known.characters + found.characters)
        )
    return tuple(sorted(merged.values(), key=lambda entry: -entry.characters))
