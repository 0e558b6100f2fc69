"""Where the cells of a table begin that is set so closely that its gaps alone do not tell."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from valign.documents.labels import read_section_label
from valign.documents.readers.pdf_words import Word

MARKER = re.compile(
    r"(?:[^\w\s]|\(?(?:\d{1,3}(?:\.\d{1,3})*|[a-zA-Z]|[ivxIVX]{1,5})[.)]|\d{1,3}(?:\.\d{1,3})*|§+|\([a-z0-9]{1,4}\))"
)
CELL_GAP = 0.9  # of the letters' size
NARROWEST_SPACE, WIDER = 0.12, 2.5
ALIGNED_ROWS, ALIGNED_WITHIN = 3, 1.5
ROWS_APART = 3.0
LABEL_WORDS = 3

WordRow = list[Word]


def cell_starts(rows: list[WordRow]) -> list[set[float]]:
    """Return where cells begin in each row, by the left ends of their first words.

    At least three rows that follow closely have gaps that end at the same place, and in one of them its other spaces
    are much narrower: in a paragraph that is set to both margins, a row's spaces are all alike. The row above such
    rows is the head, whose cells may be centred, where it has as many gaps.

    Args:
        rows: Of one column, from the top down.
    """
    gaps = [_behind_gaps(row) for row in rows]
    found: list[set[float]] = [set() for _ in rows]
    first = 0
    for index in range(1, len(rows) + 1):
        if index < len(rows) and _is_close(rows[index - 1], rows[index]) and _share(gaps[index - 1], gaps[index]):
            continue
        table = range(first, index)
        if len(table) >= ALIGNED_ROWS and any(_is_uneven(rows[row], gaps[row]) for row in table):
            seen = Counter(_place(left) for row in table for left in gaps[row])
            for row in table:
                found[row] = {left for left in gaps[row] if sum(seen[place] for place in _near(left)) >= ALIGNED_ROWS}
            head = first - 1
            most = max(len(found[row]) for row in table)
            if first and _is_close(rows[head], rows[first]) and len(gaps[head]) == most and not found[head]:
                found[head] = gaps[head]
        first = index
    return found


def _behind_gaps(row: WordRow) -> set[float]:
    """Return the left ends of the words behind wide gaps; behind a marker or a label (``Rule 7.``) there is no cell."""
    return {
        word.left
        for index, (before, word) in enumerate(pairwise(row))
        if word.left - before.right > CELL_GAP * word.size
        and not (index == 0 and MARKER.fullmatch(before.text))
        and not (index < LABEL_WORDS and _is_label(row[: index + 1]))
    }


def _is_label(words: WordRow) -> bool:
    label = read_section_label(" ".join(word.text for word in words))
    return label is not None and not label.rest


def _is_uneven(row: WordRow, gaps: set[float]) -> bool:
    """Tell whether the gaps in a row are much wider than another of its spaces."""
    room = {word.left: word.left - before.right for before, word in pairwise(row)}
    narrow = [space for left, space in room.items() if left not in gaps and space > NARROWEST_SPACE * row[0].size]
    return bool(gaps) and bool(narrow) and min(room[left] for left in gaps) > WIDER * min(narrow)


def _is_close(above: WordRow, row: WordRow) -> bool:
    return above[0].base - row[0].base < ROWS_APART * row[0].size


def _share(gaps: set[float], others: set[float]) -> bool:
    """Tell whether two rows have a gap that ends at the same place."""
    places = {_place(left) for left in others}
    return any(not places.isdisjoint(_near(left)) for left in gaps)


def _near(left: float) -> tuple[int, int, int]:
    place = _place(left)
    return place - 1, place, place + 1


def _place(left: float) -> int:
    return round(left / ALIGNED_WITHIN)
