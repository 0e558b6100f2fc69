"""What a reader of a file format returns: the text, the headings that the format marks, and the pages."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from valign.core.errors import ValignError
from valign.core.records import LeftOut
from valign.documents.labels import read_section_label
from valign.documents.left_out import Omissions, Reason
from valign.documents.lines import LETTER

CONTROL = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069"
    r"\ufeff\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What is not seen, such as marks of direction; the control characters that are white space divide words."""
GAP = "\x1a"
"""Stands for what is shown within a line and is no text, such as a picture: it divides words, and goes elsewhere."""
BETWEEN_WORDS = re.compile(rf"(?<=\w)\s*{GAP}[\s{GAP}]*(?=\w)")
NUMBERED_NAME = re.compile(r"\d{1,3}(?:(?:\.\d{1,3})+[.)]?|[.)])\s")  # "9. Zeta": no name of an "Annex X" above
LINE_START = re.compile(r"^[^\S\n]*(?=\S)", re.MULTILINE)
INNER_SPACES = re.compile(r"[^\S\n]+")
LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st", "\xad": ""})
BULLET = re.compile(r"[•‣◦▪▫■□●○◆◇►▶✓✔➢➤·∙\uf0a7\uf0a8\uf0b7\uf0d8\uf0fc\u2043\u2219]\s*(?=\S)")


@dataclass(frozen=True)
class Block:
    """A heading, a paragraph, a list item or a table; its text has no blank line in it.

    Attributes:
        text: The words, without Markdown's marks; a list item starts with its marker.
        level: Of a heading, from 1; 0 for anything else.
        item: Whether it belongs on the line below another item.
        pages: Pages on which it stands: offset in the text and page number.
        verbatim: Whether it is program code or the like, in which no line is a heading.
    """

    text: str
    level: int = 0
    item: bool = False
    pages: tuple[tuple[int, int], ...] = ()
    verbatim: bool = False


@dataclass(frozen=True)
class Source:
    """A document's text.

    Attributes:
        text: With LF line ends, and blank lines between its paragraphs.
        title: The title that the file has beside its text, if any.
        headings: Levels of the headings by their offsets in the text, 0 for a line that is none however it looks; None
            where Markdown's marks are to count.
        pages: Offset at which each page begins, and its number; empty where the format has no pages.
        left_out: What the reader left out of the text, by reason.
    """

    text: str
    title: str | None = None
    headings: Mapping[int, int] | None = None
    pages: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    left_out: tuple[LeftOut, ...] = ()

    def page_of(self, offset: int) -> int | None:
        """Return the page on which the character at this offset stands, where there are pages."""
        index = bisect_right(self.pages, offset, key=lambda entry: entry[0])
        return self.pages[index - 1][1] if index else None


def clean_text(text: str) -> str:
    """Return the text with plain spaces and letters: no control characters, ligatures or soft hyphens."""
    if GAP in text:
        text = BETWEEN_WORDS.sub(" ", text)
    return INNER_SPACES.sub(" ", CONTROL.sub("", text.translate(LIGATURES))).strip()


def join_blocks(blocks: Iterable[Block], title: str | None = None, omissions: Omissions | None = None) -> Source:
    """Join blocks with blank lines between them.

    The outermost heading is the document's title where it comes first, and no other heading stands beside it or the
    file calls itself so.

    Args:
        blocks: The document in reading order.
        title: What the file calls itself; used where the document has no such heading.
        omissions: What the reader left out; blocks without a letter or digit are added to it.
    """
    omissions = omissions or Omissions()
    lettered: list[Block] = []
    for block in blocks:
        if LETTER.search(block.text):
            lettered.append(block)
        else:
            omissions.add(Reason.NO_LETTER, block.text)
    kept = _settle_titles(_name_labels(lettered), title, omissions)
    parts: list[str] = []
    headings: dict[int, int] = {}
    pages: list[tuple[int, int]] = []
    position = 0
    for index, block in enumerate(kept):
        if index:
            gap = "\n" if block.item and kept[index - 1].item else "\n\n"
            parts.append(gap)
            position += len(gap)
        if block.level:
            headings[position] = block.level
        elif block.verbatim:
            headings.update(dict.fromkeys(_line_starts(block.text, position), 0))
        pages.extend((position + offset, page) for offset, page in block.pages)
        parts.append(block.text)
        position += len(block.text)
    own = any(level == 1 for level in headings.values())
    return Source("".join(parts) + "\n", None if own else title, headings, tuple(pages), omissions.counts())


def _line_starts(text: str, position: int) -> Iterator[int]:
    """Yield the offset of the first character on each line of a block that begins at a position."""
    yield from (position + match.end() for match in LINE_START.finditer(text))


def missing_package(what: str, package: str) -> ValignError:
    """Return the error for a format whose reader is not installed."""
    return ValignError(f"{what} files need the package {package}: pip install 'valign[documents]'.")


def _name_labels(blocks: list[Block]) -> list[Block]:
    """Join a heading that is a bare label (``Article 1``) with its name, the heading of the same level below it."""
    joined: list[Block] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if (
            last
            and last.level
            and last.level == block.level
            and _bare(last.text)
            and not read_section_label(block.text)
            and not NUMBERED_NAME.match(block.text)
        ):
            joined[-1] = replace(last, text=f"{last.text.rstrip('.:')}. {block.text}")
        else:
            joined.append(block)
    return joined


def _bare(heading: str) -> bool:
    label = read_section_label(heading)
    return label is not None and not label.rest


def _settle_titles(blocks: list[Block], title: str | None, omissions: Omissions) -> list[Block]:
    """Give level 1 to the title alone, and larger levels to all other headings."""
    levels = [block.level for block in blocks if block.level]
    if not levels:
        return blocks
    top = min(levels)
    tops = {block.text.casefold() for block in blocks if block.level == top}
    first = next(index for index, block in enumerate(blocks) if block.level)
    is_named = title is not None and blocks[first].text.casefold() == title.casefold()
    if levels[0] != top or (not is_named and (len(tops) > 1 or read_section_label(blocks[first].text))):
        return [replace(block, level=block.level + 2) if block.level else block for block in blocks]
    settled: list[Block] = []
    for index, block in enumerate(blocks):
        if block.level == top and index != first and block.text.casefold() == blocks[first].text.casefold():
            omissions.add(Reason.TITLE_AGAIN, block.text)
        else:
            level = 1 if index == first else block.level + 2
            settled.append(replace(block, level=level) if block.level else block)
    return settled
