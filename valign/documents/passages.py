"""From an outline to passages: clause ids, and paragraphs cut to the largest number of words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from valign.core.records import Passage
from valign.core.text import ENDS, WIDE_ENDS, count_words, row_breaks, word_spans
from valign.documents.lines import COMMAS, LETTER
from valign.documents.outline import Outline
from valign.documents.sections import Paragraph, Section

SENTENCE_END = re.compile(
    rf"[{ENDS}][\"')\]”’»]*\s+(?=[\"“‘«(\[¿¡]?[^\Wa-z_])|[{WIDE_ENDS}][”’」』）》]*\s*"  # noqa: RUF001
    r"|\n\s*(?=(?:[-*+•]|\(?\w{1,3}[.)])\s)|\n\s*\n"
)
OPENING_WORDS = 5
ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|Art|Sec|Nos|vs|cf|etc|e\.g|i\.e|Inc|Ltd)|\b[A-Z])\.\s*$")


def split_passages(
    text: str, name: str, title: str, parts: Outline, max_words: int, page_of: Callable[[int], int | None]
) -> Iterator[Passage]:
    """Yield the passages of a document: every paragraph with its clause id, and those that are too long in parts.

    Args:
        text: The document's text.
        name: First part of every clause id.
        title: The document's title, the first heading of every passage.
        parts: The text's outline.
        max_words: The longest passage, in words.
        page_of: Returns the page of an offset.
    """
    sections = parts.sections
    loose = sections[0].paragraphs
    if len(sections) == 1 and all(p.number is None for p in loose):
        sections = [Section((), (), _merge(text, loose, max_words))]
    for section in sections:
        section.paragraphs = _join_lists(text, _join_openings(text, section.paragraphs), max_words)
    for section, base in zip(sections, _section_ids(sections), strict=True):
        heading = (title, *section.path)
        for paragraph, key in zip(section.paragraphs, _paragraph_keys(section.paragraphs), strict=True):
            if not section.path:
                clause = f"{name}/paragraph-{key}"
            else:
                clause = f"{name}/{base}" if len(section.paragraphs) == 1 else f"{name}/{base}/{key}"
            spans = _cut(text, paragraph.start, paragraph.end, max_words)
            for number, (start, end) in enumerate(spans, start=1):
                part = f"{clause}/part-{number}" if len(spans) > 1 else clause
                yield Passage(part, heading, text[start:end], start, end, page_of(start))


def _section_ids(sections: list[Section]) -> list[str]:
    """Return one unique slug a section: its innermost heading's, after its parent's where that is repeated."""
    filled = [section.slugs for section in sections if section.paragraphs and section.slugs]
    repeated = Counter(slugs[-1] for slugs in filled)
    loose = sections[0].paragraphs if not sections[0].path else []
    names = _Names(f"paragraph-{key}" for key in _paragraph_keys(loose))
    ids = []
    for section in sections:
        own = section.slugs[-1] if section.slugs else ""
        if section.paragraphs and own:
            if repeated[own] > 1 and len(section.slugs) > 1:
                own = f"{section.slugs[-2]}-{own}"
            own = names.free(own)
        ids.append(own)
    return ids


def _paragraph_keys(paragraphs: list[Paragraph]) -> list[str]:
    """Return a unique key a paragraph: its own number, else its count.

    Beside numbered paragraphs, one without a number takes the number above it (0 at the top): 0, 1, 2, 2-2.
    """
    numbered = any(paragraph.number for paragraph in paragraphs)
    names = _Names(paragraph.number for paragraph in paragraphs if paragraph.number)
    used: set[str] = set()
    keys: list[str] = []
    above = "0"
    for count, paragraph in enumerate(paragraphs, start=1):
        above = paragraph.number or above
        wanted = above if numbered else str(count)
        own = paragraph.number is not None and wanted not in used
        key = wanted if own else names.free(wanted)
        used.add(key)
        keys.append(key)
    return keys


class _Names:
    """Ids that are taken, each of which is given once."""

    def __init__(self, taken: Iterable[str]) -> None:
        self.taken = set(taken)
        self.counts: dict[str, int] = {}

    def free(self, wanted: str) -> str:
        """Take an id, with -2, -3 and so on behind it where it is taken, and return it."""
        key, count = wanted, self.counts.get(wanted, 1)
        while key in self.taken:
            count += 1
            key = f"{wanted}-{count}"
        self.counts[wanted] = count  # those before are taken, and stay so
        self.taken.add(key)
        return key


def _merge(text: str, paragraphs: list[Paragraph], max_words: int) -> list[Paragraph]:
    """Merge neighbouring paragraphs of a text without structure while they are not too long; not over its title."""
    merged: list[Paragraph] = []
    for paragraph in paragraphs:
        apart = merged and LETTER.search(text, merged[-1].end, paragraph.start)
        if merged and not apart and count_words(text[merged[-1].start : paragraph.end]) <= max_words:
            merged[-1] = Paragraph(merged[-1].start, paragraph.end)
        else:
            merged.append(paragraph)
    return merged


def _join_openings(text: str, paragraphs: list[Paragraph]) -> list[Paragraph]:
    """Join what only opens a sentence, as "The General Assembly," on a line of its own, to the paragraph below.

    That is a paragraph of a few words that ends with a comma, or has no mark at its end below one that ends with a
    comma; or it has a number and follows no other of a list, and the one below has none: "2. Source code." above what
    is said of it.
    """
    joined: list[Paragraph] = []
    opens = goes_on = listed = False
    for paragraph in paragraphs:
        if opens and paragraph.number is None and not LETTER.search(text, joined[-1].end, paragraph.start):
            joined[-1] = Paragraph(joined[-1].start, paragraph.end, joined[-1].number)
        else:
            joined.append(paragraph)
        final = text[paragraph.end - 1]
        is_short = count_words(text[paragraph.start : paragraph.end]) <= OPENING_WORDS
        opens = is_short and (
            final in COMMAS or (goes_on and final.isalnum()) or (paragraph.number is not None and not listed)
        )
        listed = paragraph.number is not None
        goes_on = final in COMMAS
    return joined


def _join_lists(text: str, paragraphs: list[Paragraph], max_words: int) -> list[Paragraph]:
    """Join a numbered list to the paragraph that introduces it, where both are not too long.

    That one ends with a colon, or has no end, and the list goes on in lower case: "not connected, except / 1. for ...".
    """
    joined: list[Paragraph] = []
    index = 0
    while index < len(paragraphs):
        intro = paragraphs[index]
        last, expected = index, 1
        if text[intro.end - 1] in ":\uff1a" or (
            index + 1 < len(paragraphs) and _goes_on(text, intro, paragraphs[index + 1])
        ):
            while last + 1 < len(paragraphs) and paragraphs[last + 1].number == str(expected):
                last, expected = last + 1, expected + 1
        if last > index and count_words(text[intro.start : paragraphs[last].end]) <= max_words:
            joined.append(Paragraph(intro.start, paragraphs[last].end, intro.number))
            index = last + 1
        else:
            joined.append(intro)
            index += 1
    return joined


def _goes_on(text: str, paragraph: Paragraph, item: Paragraph) -> bool:
    """Tell whether a paragraph has no end mark, or a comma or dash, and an item below it begins in lower case."""
    first, final = LETTER.search(text, item.start, item.end), text[paragraph.end - 1]
    is_open = final.isalnum() or final in COMMAS or final in "-\u2013\u2014"
    return is_open and first is not None and first.group().islower()


def _cut(text: str, start: int, end: int, max_words: int) -> list[tuple[int, int]]:
    """Cut a span into parts of about equal length at sentence ends, or between words where a sentence is too long."""
    total = count_words(text[start:end])
    if total <= max_words:
        return [(start, end)]
    target = total / -(-total // max_words)
    parts: list[list[tuple[int, int]]] = [[]]
    for sentence in _sentences(text, start, end):
        chunk = -(-len(sentence) // -(-len(sentence) // max_words))
        for first in range(0, len(sentence), chunk):
            piece = sentence[first : first + chunk]
            if parts[-1] and (len(parts[-1]) >= target or len(parts[-1]) + len(piece) > max_words):
                parts.append([])
            parts[-1].extend(piece)
    return [(part[0][0], part[-1][1]) for part in parts]


def _sentences(text: str, start: int, end: int) -> Iterator[list[tuple[int, int]]]:
    """Yield the words of each sentence as pairs of offsets; a list item and a table's row end a sentence too."""
    ends = [
        match.end()
        for match in SENTENCE_END.finditer(text, start, end)
        if not ABBREVIATION.search(text, max(start, match.start() - 8), match.end())
    ]
    rows = (start + place + 1 for place in row_breaks(text[start:end]))
    left = start
    for right in [*sorted({*ends, *rows}), end]:
        if words := list(word_spans(text, left, right)):
            yield words
        left = right
