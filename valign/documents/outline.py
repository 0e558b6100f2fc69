"""The structure of a text: its title, its headings and the paragraphs below them.

Which of a text's units are headings is settled by their neighbours, and the headings are put into a tree.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from valign.core.text import count_words
from valign.documents.contents import take_contents
from valign.documents.labels import NUMERALS, OUTER_WORDS, is_preamble, read_section_label, to_digits
from valign.documents.lines import (
    COMMAS,
    HEADING_NUMBER,
    HEADINGS,
    LETTER,
    Unit,
    read_units,
    split_run_in,
)
from valign.documents.nesting import nest_lists
from valign.documents.numerals import successor
from valign.documents.sections import Paragraph, Section

INNER_RANK, NUMBERED_RANK, CAPS_RANK, TITLE_RANK = 4.0, 40.0, 60.0, 61.0
RUN_IN_WORDS = 3


@dataclass(frozen=True)
class Outline:
    """The structure of a text.

    Attributes:
        title: Its own, where it has one.
        sections: In reading order; the first has no heading.
        unread: Spans of rules and of what else has no letter, which are paragraphs of no section.
        contents: Spans of its tables of contents, which are none either.
    """

    title: str | None
    sections: list[Section]
    unread: list[tuple[int, int]] = field(default_factory=list)
    contents: list[tuple[int, int]] = field(default_factory=list)


def find_outline(text: str, headings: Mapping[int, int] | None = None) -> Outline:
    """Find the title, the headings and the paragraphs of a text whose line ends are LF.

    Headings are Markdown's (``#``, underlined), labelled lines (``Article 5``, ``Rule 7. Night lights``), numbered
    titles (``2.3 Gifts``), lines in capitals, and short lines without a final stop that stand alone. Once a text has
    Markdown headings below its title, only those and the labelled lines count.

    Args:
        text: The text.
        headings: Level of each line that is known to be a heading, by the line's offset; they stand in for Markdown's.
    """
    units = read_units(text, headings)
    unread = [(u.start, u.end) for u in units if u.kind == "rule"]
    title, units = _take_title([u for u in units if u.kind != "rule"])
    units = _settle(_number_styles(nest_lists(units, text)), text)
    unread += [(u.start, u.end) for u in units if u.kind not in HEADINGS and not _has_letter(u, text)]
    sections = _sections(units, text)
    contents = take_contents(text, sections)
    if not any(section.paragraphs for section in sections):
        contents = []
        sections = [Section((), (), [_as_paragraph(u) for u in units if LETTER.search(text, u.start, u.end)])]
    return Outline(title, sections, unread, contents)


def _has_letter(unit: Unit, text: str) -> bool:
    """Tell whether a paragraph or list item says something behind its number."""
    return LETTER.search(text, unit.body, unit.end) is not None


def _as_paragraph(unit: Unit) -> Paragraph:
    """Return a heading with nothing below it as a paragraph, without the marks of Markdown."""
    return Paragraph(unit.body if unit.kind == "hash" and unit.body >= 0 else unit.start, unit.end)


def slug(heading: str) -> str:
    """Return the part of a clause id that a heading gives: ``Article 14. Asylum`` -> ``article-14``.

    Labels and preambles of other languages give that of the English ones: ``第十四条`` -> ``article-14``.
    """
    if label := read_section_label(heading):
        return label.key
    match = HEADING_NUMBER.match(heading)
    if match and match[1][0] in NUMERALS:
        return f"section-{to_digits(match[1])}"
    if match and (match.end() == len(heading) or heading[match.end()].isupper()):
        return f"section-{match[1].lower()}"
    if is_preamble(heading):
        return "preamble"
    plain = unicodedata.normalize("NFC", re.sub(r"['’]", "", heading.lower()))  # noqa: RUF001
    kept = "".join(letter if unicodedata.category(letter)[0] in "LMN" else "-" for letter in plain)
    words = re.sub("-+", "-", kept).strip("-")
    return words[:60].rstrip("-") or "section"


def _take_title(units: list[Unit]) -> tuple[str | None, list[Unit]]:
    """Split off the title: the first H1, or else the first line where it reads like a title."""
    tops = [i for i, unit in enumerate(units) if unit.kind == "hash" and unit.level == 1]
    if tops:
        first = tops[0]
        below = units[first + 1].kind if first + 1 < len(units) else "hash"
        keep = len(tops) > 1 and below not in HEADINGS
        return units[first].heading, units if keep else units[:first] + units[first + 1 :]
    if len(units) > 1 and units[0].kind in ("caps", "title"):
        return units[0].heading, units[1:]
    return None, units


def _settle(units: list[Unit], text: str) -> list[Unit]:
    """Decide which doubtful headings are headings; the others become paragraphs."""
    explicit = any(unit.kind == "hash" for unit in units)
    ranks = _word_ranks(units)
    done: list[Unit] = []
    expected: str | None = None
    for index, unit in enumerate(units):
        after = units[index + 1] if index + 1 < len(units) else None
        if done and done[-1].kind == "body" and text[done[-1].end - 1] == ":" and unit.number == "1":
            expected = "1"
        in_list = expected is not None and unit.number == expected
        if in_list:
            expected = successor(unit.number)
        elif unit.kind != "item":
            expected = None
        if unit.kind == "keyword":
            empty = after is None or (after.kind == "keyword" and ranks[after.word] <= ranks[unit.word])
            wordy = count_words(text[unit.body : unit.end]) >= RUN_IN_WORDS
            done.extend(split_run_in(unit) if empty and wordy and not unit.bare and unit.body > unit.start else [unit])
        elif unit.kind == "numbered" and not in_list and _heads_section(unit, after, ranks, text, done, explicit):
            done.append(unit)
        elif unit.kind == "numbered" and unit.word not in ("arabic", "ideographic"):
            done.append(replace(unit, kind="body", number=None))
        elif unit.kind in ("caps", "title"):
            inside = bool(done) and done[-1].kind == "body" and text[done[-1].end - 1] in COMMAS
            _settle_loose(unit, after, done, ranks, explicit or inside)
        elif unit.number is not None and not in_list:
            done.extend(_settle_number(replace(unit, kind="body"), done))
        else:
            done.append(unit if unit.kind in ("hash", "item") else replace(unit, kind="body"))
    return done


def _settle_loose(unit: Unit, after: Unit | None, done: list[Unit], ranks: dict[str, float], excluded: bool) -> None:
    """Settle a line in capitals or a short line: a heading, the name of the bare label above it, or a paragraph.

    ``excluded`` says that it is no heading: it stands within a sentence, or the text marks its headings.
    """
    before = done[-1] if done else None
    keep = not excluded and after is not None and after.kind != unit.kind
    if keep and before and before.kind in HEADINGS and after and after.kind in HEADINGS:
        keep = _rank(after, ranks) > _rank(before, ranks)
    if keep and before and before.kind == "keyword" and before.bare:
        done[-1] = replace(before, end=unit.end, heading=f"{before.heading}. {unit.heading}", bare=False)
    else:
        done.append(unit if keep else replace(unit, kind="body"))


def _settle_number(unit: Unit, done: list[Unit]) -> list[Unit]:
    """Give ``2.2 Staff must ...`` a heading of its own where it stands beside the titled ``2.1 Scope``."""
    above = next((u for u in reversed(done) if u.number is not None or u.kind in HEADINGS), None)
    if above is None or above.kind != "numbered" or successor(above.number) != unit.number:
        return [unit]
    label = replace(unit, kind="numbered", end=unit.body, heading=unit.number or "", word="arabic")
    return [label, replace(unit, start=unit.body, number=None)]


def _heads_section(
    unit: Unit, after: Unit | None, ranks: dict[str, float], text: str, done: list[Unit], explicit: bool
) -> bool:
    """Tell whether a numbered title has something below it: anything but its own next sibling.

    One with a full stop is no title after a paragraph with the number before, and the last item of a list is none,
    which has a label below it that is further out. Where the text marks its headings, one is a title only by a number
    such as 2.1 below the heading 2.
    """
    above = next((u for u in reversed(done) if u.number is not None or u.kind in HEADINGS), None)
    if text[unit.end - 1] == "." and above and above.kind == "body" and successor(above.number) == unit.number:
        return False
    if explicit and not (above and above.kind in HEADINGS and _is_within(unit.number or "", above.heading)):
        return False
    if after is None:
        return False
    if after.kind == "keyword" and done and done[-1].kind == "body" and done[-1].number is not None:
        return successor(done[-1].number) != unit.number
    if after.kind == "numbered":
        return _rank(after, ranks) > _rank(unit, ranks)
    return after.number is None or after.number != successor(unit.number)


def _is_within(number: str, heading: str) -> bool:
    """Tell whether a number such as 2.1 or 2.2 follows a heading with the number 2, or 2.1."""
    found = HEADING_NUMBER.match(heading)
    return found is not None and (f"{found[1]}.1" == number or ("." in number and successor(found[1]) == number))


def _number_styles(units: list[Unit]) -> list[Unit]:
    """Say of each numbered title whether its number is arabic, Roman or a letter; ``C`` after ``B`` is a letter."""
    styled: list[Unit] = []
    letter, romans = "", False
    for unit in units:
        number, style = unit.number or "", "arabic"
        if unit.kind == "numbered" and not number[0].isdigit():
            follows = len(number) == 1 and letter and ord(number) == ord(letter) + 1
            style = (
                "roman" if set(number) <= set("IVXLC") and not follows and (romans or number[0] == "I") else "letter"
            )
            romans = romans or style == "roman"
            letter = number if style == "letter" else letter
        styled.append(replace(unit, word=unit.word or style) if unit.kind == "numbered" else unit)
    return styled


def _word_ranks(units: list[Unit]) -> dict[str, float]:
    """Rank labels and kinds of number: books hold chapters, chapters the rest; of the rest the first is outermost."""
    ranks: dict[str, float] = {}
    for unit in units:
        if unit.kind == "keyword" and unit.word not in ranks:
            ranks[unit.word] = OUTER_WORDS.get(unit.word, INNER_RANK + len(ranks))
        elif unit.kind == "numbered" and unit.word not in ranks:
            ranks[unit.word] = NUMBERED_RANK + 5 * sum(rank >= NUMBERED_RANK for rank in ranks.values())
    return ranks


def _rank(unit: Unit, ranks: dict[str, float]) -> float:
    """Return a heading's rank; a smaller one holds the larger ones."""
    if unit.kind == "hash":
        return unit.level / 10
    if unit.kind == "keyword":
        return ranks[unit.word]
    if unit.kind == "numbered":
        return ranks[unit.word] + (unit.number or "").count(".")
    return CAPS_RANK if unit.kind == "caps" else TITLE_RANK


def _sections(units: list[Unit], text: str) -> list[Section]:
    """Put the headings into a tree and the paragraphs below them; lists join the paragraph before."""
    ranks = _word_ranks(units)
    sections = [Section((), ())]
    stack: list[tuple[float, str]] = []
    last: Unit | None = None
    for index, unit in enumerate(units):
        after = units[index + 1] if index + 1 < len(units) else None
        paragraphs = sections[-1].paragraphs
        if unit.kind in HEADINGS:
            rank = _rank(unit, ranks)
            if unit.kind in ("caps", "title"):
                rank = _loose_rank(rank, stack, _rank(after, ranks) if after and after.kind in HEADINGS else None)
            stack = [entry for entry in stack if entry[0] < rank] + [(rank, unit.heading)]
            path = tuple(heading for _, heading in stack)
            sections.append(Section(path, tuple(slug(heading) for heading in path)))
            last = None
            continue
        inner = last is not None and (last.kind == "item" or last.number is not None) and unit.indent > last.indent
        if not _has_letter(unit, text):
            continue
        joins = unit.kind == "item" or (inner and unit.number is None)
        if paragraphs and joins and not LETTER.search(text, paragraphs[-1].end, unit.start):  # not over the title
            paragraphs[-1] = replace(paragraphs[-1], end=unit.end)
        else:
            paragraphs.append(Paragraph(unit.body, unit.end, unit.number))
        if not inner:
            last = unit
    return sections


def _loose_rank(rank: float, stack: list[tuple[float, str]], below: float | None) -> float:
    """Place a heading without a label: above the labelled headings that follow it, else beside the one before it."""
    if below is not None and below < rank:
        return below - 0.5
    inner = [entry for entry, _ in stack if INNER_RANK <= entry < NUMBERED_RANK]
    return inner[-1] if inner else rank
