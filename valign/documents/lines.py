"""The lines of a plain or Markdown text: which may be headings, and which are paragraphs or list items.

Lines are gathered into blocks between blank lines, and blocks are split into units. Some units can only be told by
their neighbours; ``valign.documents.outline`` decides on them. The text is not changed: everything is an offset in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from valign.core.text import ENDS, UNSPACED, WIDE_ENDS, columns, count_words, word_spans
from valign.documents.labels import NUMERALS, read_section_label, to_digits
from valign.documents.line_blocks import Line, gather_lines
from valign.documents.numerals import successor
from valign.documents.underlines import MARKDOWN, is_underline, underline_levels

UNDERSCORES = re.compile(r"_+")
RULE = re.compile(r"(?:[-=*_~#]\s*){3,}")
LETTER = re.compile(r"[^\W_]")
BOLD = re.compile(r"(\*\*|__)(?P<inner>[^*_]+)\1:?")
ITEM = re.compile(r"(?:[-*+•–—]|\(?[a-z]\)|\(?[ivx]+\)|[a-z]\.)\s+\S")  # noqa: RUF001
PARAGRAPH_NUMBER = re.compile(
    r"(?:\((\d{1,3})\)|(\d{1,3})[.)]|(\d{1,3}(?:\.\d{1,3})+)\.?)\s+(?=\S)"
    rf"|(?:[(（]([{NUMERALS}]{{1,4}})[)）]|（(\d{{1,3}})）|\(?(\d{{1,3}})[.)](?=[{UNSPACED}])"  # noqa: RUF001
    rf"|([{NUMERALS}]{{1,4}}|\d{{1,3}})[、．])\s*(?=\S)"  # noqa: RUF001
)
HEADING_NUMBER = re.compile(
    rf"(\d{{1,3}}(?:\.\d{{1,3}})*|[IVXLC]+(?=\.)|[A-Z](?=\.)|[{NUMERALS}]{{1,4}}(?=[、．]))"  # noqa: RUF001
    rf"(?:[、．]\s*|\.(?=[{UNSPACED}])|\.?(?:\s+(?=\S)|$))"  # noqa: RUF001
)
IN_SENTENCE = re.compile(r"\S \(2\)\s")
SENTENCE_BREAK = re.compile(r"[^\W\d_A-Z]{4}[.!?] +[^\W\d_a-z]")
CAPITALS = re.compile(r"[^\Wa-z_][^\s.]*(?: (?:[^\Wa-z_][^\s.]*|[a-z]{1,3}|from|with|into|upon))*\.")
HEADING_WORDS, TITLE_WORDS, LONGEST_HEADING = 10, 20, 60
UNTITLED = ".;:,!…|" + "".join(sorted(set(ENDS + WIDE_ENDS) - set("?\uff1f\u061f\u1367"))) + "\uff0c\u3001\uff1a"
COMMAS = ",\uff0c"
CLOSING_MARKS = ".:\uff1a\u3002 "
CLOSERS = f"{ENDS}{WIDE_ENDS}:\uff1a"
HEADINGS = ("hash", "keyword", "numbered", "caps", "title")
NARROWEST, MOST_SKIPPED = 60, 20


@dataclass(frozen=True)
class Unit:
    """A heading, a paragraph, a list item or a rule.

    Attributes:
        kind: ``hash`` (a heading that Markdown or the format marks), ``keyword`` (``Article 5``), ``numbered`` (``2.3
            Gifts``), ``caps`` or ``title`` (a line that looks like a heading), ``body``, ``item`` or ``rule``.
        start: Offset of its first character in the text.
        end: Offset behind its last character.
        heading: The heading's words without marks.
        number: The number of a numbered title or paragraph.
        body: Offset behind its label or number.
        word: The keyword in lower case, or the style of a numbered title's number.
        level: Of a ``hash`` heading, from 1.
        indent: Characters before it on its line.
        bare: Whether nothing follows the label of a ``keyword`` heading.
    """

    kind: str
    start: int
    end: int
    heading: str = ""
    number: str | None = None
    body: int = -1
    word: str = ""
    level: int = 0
    indent: int = 0
    bare: bool = False


class _Place(NamedTuple):
    """Where a line stands in its block.

    Attributes:
        fresh: Whether it begins a paragraph.
        free: Whether the line before it is complete.
        stands: Whether it is complete itself.
        alone: Whether the block has no other line.
    """

    fresh: bool
    free: bool
    stands: bool
    alone: bool


def read_units(text: str, headings: Mapping[int, int] | None = None) -> list[Unit]:
    """Return the headings, paragraphs and list items of a text in reading order.

    Args:
        text: The text, with LF line ends.
        headings: Level of each line that is known to be a heading, by the line's offset, and 0 of one that is known to
            be none; then Markdown's ``#`` and fences mean nothing. By default they mark the headings.
    """
    blocks = gather_lines(text, headings)
    levels = underline_levels(text) if headings is None else MARKDOWN
    return [_kept_short(unit) for block in blocks for unit in _units(block, levels)]


def _kept_short(unit: Unit) -> Unit:
    """Return a marked heading that is longer than any title as a paragraph; every passage below has its headings."""
    if unit.kind != "hash" or count_words(unit.heading) <= LONGEST_HEADING:
        return unit
    return replace(unit, kind="body", body=max(unit.start, unit.body))


def _units(block: list[Line], levels: Mapping[str, int]) -> list[Unit]:
    """Take a block apart into headings, numbered paragraphs, list items and plain paragraphs."""
    width = max([NARROWEST, *(line.indent + columns(line.text) for line in block)])
    units: list[Unit] = []
    skip = False
    for index, line in enumerate(block):
        if skip:
            skip = False
            continue
        last = units[-1] if units else None
        fresh = last is None or last.kind in HEADINGS or last.kind == "rule"
        after = block[index + 1] if index + 1 < len(block) else None
        level = levels.get(after.text[0]) if after and is_underline(line.text, after.text) else None
        if fresh and after and level and not line.fenced:
            units.append(Unit("hash", line.start, after.end, _clean(line.text), level=level))
            skip = True
            continue
        alone = len(block) == 1
        before = block[index - 1] if index else None
        free = fresh or (before is not None and (before.text[-1] in CLOSERS or _deliberate(before, line, width)))
        stands = after is None or _deliberate(line, after, width)
        new = [] if line.fenced else _begin(line, after, units, _Place(fresh, free, stands, alone))
        if not new and fresh:
            new = [Unit("body", line.start, line.end, body=line.start, indent=line.indent)]
        if new:
            units.extend(new)
        elif last is not None:
            units[-1] = replace(last, end=line.end)
    return units


def _deliberate(line: Line, after: Line, width: int) -> bool:
    """Tell whether a line was ended on purpose: the next word would have fitted, and does not go on in lower case."""
    start, end = next(word_spans(after.text))
    first = after.text[start:end] if re.match(f"[{UNSPACED}]", after.text) else after.text.split()[0]
    return line.indent + columns(line.text) + 1 + columns(first) <= width and not after.text[0].islower()


def _begin(line: Line, after: Line | None, units: list[Unit], place: _Place) -> list[Unit]:
    """Return what begins at this line, or nothing where it may go on with the paragraph before."""
    if line.level:
        heading = line.text.rstrip(CLOSING_MARKS)
        if line.marks:
            heading = _clean(line.text[line.marks :].rstrip("#").rstrip())
        return [Unit("hash", line.start, line.end, heading, body=line.start + line.marks, level=line.level)]
    if RULE.fullmatch(line.text):
        return [Unit("rule", line.start, line.end)]
    found = _labelled(line, place.stands) if place.free else []
    found = found or _numbered(line, after, units, place)
    if found or not place.fresh:
        return found
    kind = "item" if ITEM.match(line.text) else _loose_kind(line, place)
    return [Unit(kind, line.start, line.end, _clean(line.text), body=line.start, indent=line.indent)] if kind else []


def _loose_kind(line: Line, place: _Place) -> str | None:
    """Tell whether a line without a label may be a heading: in capitals, or short and alone."""
    first = line.start == 0
    titled = _titled(line.text, TITLE_WORDS if first else HEADING_WORDS)
    if titled and place.stands and line.text.isupper() and len(LETTER.findall(line.text)) > 2:
        return "caps"
    if (titled or BOLD.fullmatch(line.text)) and (place.alone or (first and place.stands)):
        return "title"
    return None


def _labelled(line: Line, stands: bool) -> list[Unit]:
    """Read a line such as ``Rule 7. Night lights``; where a sentence follows the label, it becomes the body."""
    bold = BOLD.fullmatch(line.text)
    text = bold["inner"] if bold else line.text
    label = read_section_label(text)
    if not label or text[0].islower():
        return []
    rest, word = label.rest, label.word
    if stands and (not rest or _titled(rest)) and (label.marked or not rest or not rest[0].islower()):
        body = line.start if bold else line.end - len(rest)
        return [Unit("keyword", line.start, line.end, _clean(text), body=body, word=word, bare=not rest)]
    if not label.marked or not rest or bold:
        return []
    return split_run_in(Unit("keyword", line.start, line.end, _clean(text), body=line.end - len(rest), word=word))


def split_run_in(unit: Unit) -> list[Unit]:
    """Split a labelled line, a run-in heading, into its label, as the heading, and its sentence, as the body."""
    label = read_section_label(unit.heading)
    heading = unit.heading[: label.end] if label else unit.heading
    return [replace(unit, end=unit.body, heading=heading, bare=True), Unit("body", unit.body, unit.end, body=unit.body)]


def _numbered(line: Line, after: Line | None, units: list[Unit], place: _Place) -> list[Unit]:
    """Read a line such as ``2. Scope`` (a heading, perhaps) or ``(2) No one shall ...`` (a numbered paragraph)."""
    match = PARAGRAPH_NUMBER.match(line.text)
    title = HEADING_NUMBER.match(line.text)
    listed = after is not None and PARAGRAPH_NUMBER.match(after.text)
    inner = title is not None and after is not None and after.text.startswith(f"{title[1]}.1")
    if units and match and match[1] == "1" and IN_SENTENCE.search(f"{line.text} {after.text if after else ''}"):
        return []
    if title and title.end() < len(line.text) and place.free and place.stands and (inner or not listed):
        rest = line.text[title.end() :]
        named = rest[:-1] if place.alone and rest[-1] == "." and CAPITALS.fullmatch(rest) else rest
        if _titled(named) and rest[0].isalpha() and not rest[0].islower():
            body = line.start + title.end() if match else line.start
            style, number = ("ideographic", to_digits(title[1])) if title[1][0] in NUMERALS else ("", title[1])
            return [Unit("numbered", line.start, line.end, _clean(line.text), number, body, style, indent=line.indent)]
    if not match:
        return []
    number = match[1] or match[2] or match[3] or to_digits(match[4] or match[5] or match[6] or match[7])
    rest = line.text[match.end() :]
    if match[3] and not (rest[0].isupper() or rest[0] in '"“(‘'):  # noqa: RUF001
        return []
    last = units[-1] if units else None
    follows = any(successor(unit.number) == number for unit in _last_beside(line, units))
    first = number.split(".")[-1] == "1" or match[3] is not None
    begins = last is None or last.kind in HEADINGS or first or _skips_to(number, line, last)
    if follows or (place.free and begins):
        return [Unit("body", line.start, line.end, number=number, body=line.start + match.end(), indent=line.indent)]
    return []


def _skips_to(number: str, line: Line, last: Unit | None) -> bool:
    """Tell whether a number goes on with the one above in the same list, with some left out: 3, 4, 7."""
    if last is None or last.indent != line.indent or not (number.isdigit() and (last.number or "").isdigit()):
        return False
    return 0 < int(number) - int(last.number or 0) <= MOST_SKIPPED


def _last_beside(line: Line, units: list[Unit]) -> Iterator[Unit]:
    """Yield the last numbered unit of a block, and of those above lists that are indented further than the line."""
    least = line.indent + 2
    for index, unit in enumerate(reversed(units)):
        if unit.kind in HEADINGS:
            return
        if unit.number is not None and (index == 0 or unit.indent < least):
            yield unit
            least = min(least, unit.indent)
        if least <= 0 or unit.indent < line.indent:
            return


def _titled(text: str, most: int = HEADING_WORDS) -> bool:
    """Tell whether a line looks like a title: short, with a letter or digit in front, without a final stop."""
    opening = text.lstrip("\"“‘'([（「『《【")  # noqa: RUF001
    return (
        0 < count_words(text) <= most
        and text.removesuffix("]")[-1:] not in UNTITLED
        and "|" not in text
        and not SENTENCE_BREAK.search(text)
        and bool(opening)
        and opening[0].isalnum()
        and not opening[0].islower()
    )


def _clean(text: str) -> str:
    """Return a heading without Markdown's marks and a closing colon or stop."""
    kept = UNDERSCORES.sub(lambda found: found[0] if _within_word(found) else "", re.sub(r"[*`]", "", text))
    return " ".join(kept.split()).rstrip(CLOSING_MARKS)


def _within_word(found: re.Match[str]) -> bool:
    around = (found.string[max(found.start() - 1, 0) : found.start()], found.string[found.end() : found.end() + 1])
    return all(re.fullmatch(r"\w", letter) for letter in around)
