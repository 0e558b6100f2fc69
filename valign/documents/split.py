"""The structure of a plain or Markdown text: its title, its headings and the paragraphs below them.

A text is read in four steps: lines are gathered into blocks between blank lines, blocks are taken apart into units
(a heading, a paragraph, a list item), doubtful units are settled by looking at their neighbours, and the headings
are put into a tree. Nothing is rewritten; everything is an offset into the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import NamedTuple

FENCE = re.compile(r"(```|~~~)")
HASH = re.compile(r"(#{1,6})\s+(.*?)\s*#*$")
UNDERLINE = re.compile(r"(=+|-{2,})")
RULE = re.compile(r"(?:[-=*_~#]\s*){3,}")
LETTER = re.compile(r"[^\W_]")
FRONT_MATTER = re.compile(r"---\n(?:(?:[\w-]+:.*|[ \t]+.*|- .*|)\n)*?---(?=\n|$)")
BOLD = re.compile(r"(\*\*|__)(?P<inner>[^*_]+)\1:?")
ITEM = re.compile(r"(?:[-*+•–—]|\(?[a-z]\)|\(?[ivx]+\)|[a-z]\.)\s+\S")  # noqa: RUF001
NUMBER = re.compile(r"(?:\((\d{1,3})\)|(\d{1,3})[.)]|(\d{1,3}(?:\.\d{1,3})+)\.?)\s+(?=\S)")
HEADING_NUMBER = re.compile(r"(\d{1,3}(?:\.\d{1,3})*|[IVXLC]+(?=\.)|[A-Z](?=\.))\.?(?:\s+(?=\S)|$)")
OUTER_WORDS = {"book": 1, "part": 1, "annex": 1, "appendix": 1, "schedule": 1, "title": 2, "chapter": 3}
INNER_WORDS = (
    "article", "section", "rule", "clause", "principle", "canon", "standard", "amendment", "paragraph", "norm",
    "guideline", "value", "commitment", "duty", "commandment", "provision",
)  # fmt: skip
SPELLED = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
KEYWORD = re.compile(
    rf"(?P<word>(?i:{'|'.join([*OUTER_WORDS, *INNER_WORDS])})(?=\s)|§+)\s*"
    rf"(?P<number>\d+(?:\.\d+)*[a-z]?|[IVXLC]+|[A-Z]|(?i:{SPELLED}))(?=[\s.:)–—-]|$)"  # noqa: RUF001
    r"(?P<mark>\s*[.:)]|\s*[–—-](?=\s))?\s*(?P<rest>.*)"  # noqa: RUF001
)
INNER_RANK, NUMBERED_RANK, CAPS_RANK, TITLE_RANK = 4.0, 40.0, 60.0, 61.0
HEADING_WORDS, TITLE_WORDS, RUN_IN_WORDS = 10, 20, 3
HEADINGS = ("hash", "keyword", "numbered", "caps", "title")
WIDTH = 60


@dataclass(frozen=True)
class Paragraph:
    """A paragraph: ``text[start:end]`` without its own number, which is kept beside it."""

    start: int
    end: int
    number: str | None = None


@dataclass
class Section:
    """The paragraphs directly below one heading; ``path`` and ``slugs`` run from the outermost heading inwards."""

    path: tuple[str, ...]
    slugs: tuple[str, ...]
    paragraphs: list[Paragraph] = field(default_factory=list)


@dataclass(frozen=True)
class Outline:
    """A text's own title, where it has one, and its sections in reading order; the first has no heading."""

    title: str | None
    sections: list[Section]


@dataclass(frozen=True)
class _Line:
    start: int
    end: int
    text: str
    indent: int
    fenced: bool


@dataclass(frozen=True)
class _Unit:
    """A heading or a paragraph. ``body`` is the offset behind its label, ``bare`` says that nothing follows it."""

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
    """Where a line stands: at the start of a paragraph, after a line that is complete, complete itself, alone."""

    fresh: bool
    free: bool
    stands: bool
    alone: bool


def outline(text: str) -> Outline:
    """Find the title, the headings and the paragraphs of a text whose line ends are LF.

    Headings are Markdown's (``#``, underlined), labelled lines (``Article 5``, ``Rule 7. Night lights``), numbered
    titles (``2.3 Gifts``), lines in capitals, and short lines without a final stop that stand alone. Once a text has
    Markdown headings below its title, only those and the labelled lines count.
    """
    blocks = _blocks(text)
    width = max([WIDTH, *(len(line.text) for block in blocks for line in block)])
    units = [unit for block in blocks for unit in _units(block, width)]
    title, units = _take_title([u for u in units if u.kind != "rule"])
    units = _settle(_number_styles(units), text)
    sections = _sections(units, text)
    if not any(section.paragraphs for section in sections):
        return Outline(title, [Section((), (), [Paragraph(max(u.start, u.body), u.end) for u in units])])
    return Outline(title, sections)


def slug(heading: str) -> str:
    """Return the part of a clause id that a heading gives: ``Article 14. Asylum`` -> ``article-14``."""
    if match := KEYWORD.match(heading):
        word = match["word"].lower()
        return f"{'section' if word.startswith('§') else word}-{match['number'].lower()}"
    match = HEADING_NUMBER.match(heading)
    if match and (match.end() == len(heading) or heading[match.end()].isupper()):
        return f"section-{match[1].lower()}"
    words = re.sub(r"[\W_]+", "-", re.sub(r"['’]", "", heading.lower())).strip("-")  # noqa: RUF001
    return words[:60].rstrip("-") or "section"


def _blocks(text: str) -> list[list[_Line]]:
    """Gather lines into blocks between blank lines; a fenced block stays whole, front matter is left out."""
    front = FRONT_MATTER.match(text)
    position = front.end() if front else 0
    blocks: list[list[_Line]] = [[]]
    fence: str | None = None
    for raw in text[position:].split("\n"):
        line = raw.strip()
        mark = FENCE.match(line)
        fenced = fence is not None or mark is not None
        if mark and fence is None and text.find(f"\n{mark[1]}", position + len(raw)) >= 0:
            fence = mark[1]
        elif mark and mark[1] == fence:
            fence = None
        if line:
            start = position + raw.index(line[0])
            blocks[-1].append(_Line(start, start + len(line), line, start - position, fenced))
        elif fence is None:
            blocks.append([])
        position += len(raw) + 1
    return [block for block in blocks if block]


def _units(block: list[_Line], width: int) -> list[_Unit]:
    """Take a block apart into headings, numbered paragraphs, list items and plain paragraphs."""
    units: list[_Unit] = []
    skip = False
    for index, line in enumerate(block):
        if skip:
            skip = False
            continue
        last = units[-1] if units else None
        fresh = last is None or last.kind in HEADINGS or last.kind == "rule"
        after = block[index + 1] if index + 1 < len(block) else None
        if fresh and after and not line.fenced and UNDERLINE.fullmatch(after.text):
            level = 1 if after.text[0] == "=" else 2
            units.append(_Unit("hash", line.start, after.end, _clean(line.text), level=level))
            skip = True
            continue
        alone = len(block) == 1
        before = block[index - 1] if index else None
        free = fresh or (before is not None and (before.text[-1] in ".;:!?" or _deliberate(before, line, width)))
        stands = after is None or _deliberate(line, after, width)
        new = [] if line.fenced else _begin(line, after, last, _Place(fresh, free, stands, alone))
        if not new and fresh:
            new = [_Unit("body", line.start, line.end, body=line.start, indent=line.indent)]
        if new:
            units.extend(new)
        elif last is not None:
            units[-1] = replace(last, end=line.end)
    return units


def _deliberate(line: _Line, after: _Line, width: int) -> bool:
    """Tell whether a line was ended on purpose: the next word would have fitted, and does not go on in lower case."""
    return len(line.text) + 1 + len(after.text.split()[0]) <= width and not after.text[0].islower()


def _begin(line: _Line, after: _Line | None, last: _Unit | None, place: _Place) -> list[_Unit]:
    """Return what begins at this line, or nothing where it may go on with the paragraph before."""
    if match := HASH.match(line.text):
        heading = _clean(match[2])
        return [_Unit("hash", line.start, line.end, heading, body=line.start + match.start(2), level=len(match[1]))]
    if RULE.fullmatch(line.text):
        return [_Unit("rule", line.start, line.end)]
    found = _labelled(line, place.stands) if place.free else []
    found = found or _numbered(line, after, last, place)
    if found or not place.fresh:
        return found
    kind = "item" if ITEM.match(line.text) else _loose_kind(line, place)
    return [_Unit(kind, line.start, line.end, _clean(line.text), body=line.start, indent=line.indent)] if kind else []


def _loose_kind(line: _Line, place: _Place) -> str | None:
    """Tell whether a line without a label may be a heading: in capitals, or short and alone."""
    first = line.start == 0
    titled = _titled(line.text, TITLE_WORDS if first else HEADING_WORDS)
    if titled and place.stands and line.text.isupper() and len(LETTER.findall(line.text)) > 2:
        return "caps"
    if (titled or BOLD.fullmatch(line.text)) and (place.alone or (first and place.stands)):
        return "title"
    return None


def _labelled(line: _Line, stands: bool) -> list[_Unit]:
    """Read a line such as ``Rule 7. Night lights``; where a sentence follows the label, it becomes the body."""
    bold = BOLD.fullmatch(line.text)
    text = bold["inner"] if bold else line.text
    match = KEYWORD.match(text)
    if not match or not (text[0].isupper() or text[0] == "§"):
        return []
    rest, word = match["rest"], match["word"].lower()
    if stands and (not rest or _titled(rest)) and (match["mark"] or not rest or not rest[0].islower()):
        body = line.start if bold else line.end - len(rest)
        return [_Unit("keyword", line.start, line.end, _clean(text), body=body, word=word, bare=not rest)]
    if not match["mark"] or not rest or bold:
        return []
    return _run_in(_Unit("keyword", line.start, line.end, _clean(text), body=line.end - len(rest), word=word))


def _run_in(unit: _Unit) -> list[_Unit]:
    """Part a labelled line into its label, as the heading, and its sentence, as the body."""
    match = KEYWORD.match(unit.heading)
    label = unit.heading[: match.end("number")] if match else unit.heading
    return [replace(unit, end=unit.body, heading=label, bare=True), _Unit("body", unit.body, unit.end, body=unit.body)]


def _numbered(line: _Line, after: _Line | None, last: _Unit | None, place: _Place) -> list[_Unit]:
    """Read a line such as ``2. Scope`` (a heading, perhaps) or ``(2) No one shall ...`` (a numbered paragraph)."""
    match = NUMBER.match(line.text)
    title = HEADING_NUMBER.match(line.text)
    listed = after is not None and NUMBER.match(after.text)
    inner = title is not None and after is not None and after.text.startswith(f"{title[1]}.1")
    if title and title.end() < len(line.text) and place.free and place.stands and (inner or not listed):
        rest = line.text[title.end() :]
        if _titled(rest) and rest[0].isupper():
            body = line.start + title.end() if match else line.start
            number = title[1]
            return [_Unit("numbered", line.start, line.end, _clean(line.text), number, body, indent=line.indent)]
    if not match:
        return []
    number = match[1] or match[2] or match[3]
    rest = line.text[match.end() :]
    if match[3] and not (rest[0].isupper() or rest[0] in '"“(‘'):  # noqa: RUF001
        return []
    follows = last is not None and last.number is not None and _successor(last.number) == number
    first = number.split(".")[-1] == "1" or match[3] is not None
    if follows or (place.free and (last is None or last.kind in HEADINGS or first)):
        return [_Unit("body", line.start, line.end, number=number, body=line.start + match.end(), indent=line.indent)]
    return []


def _successor(number: str | None) -> str | None:
    """Return the number after ``2.3``, which is ``2.4``; None for letters and Roman numerals."""
    head, dot, tail = (number or "").rpartition(".")
    return f"{head}{dot}{int(tail) + 1}" if tail.isdigit() else None


def _titled(text: str, most: int = HEADING_WORDS) -> bool:
    """Tell whether a line looks like a title: short, with a letter or digit in front, without a final stop."""
    words = text.split()
    opening = text.lstrip("\"“‘'([")  # noqa: RUF001
    return (
        0 < len(words) <= most
        and text[-1] not in ".;:,!…|"
        and "|" not in text
        and bool(opening)
        and opening[0].isalnum()
        and not opening[0].islower()
    )


def _clean(text: str) -> str:
    """Return a heading without Markdown's marks and a closing colon or stop."""
    return re.sub(r"[*`]|(?<!\w)_+|_+(?!\w)", "", text).strip().rstrip(".:").strip()


def _take_title(units: list[_Unit]) -> tuple[str | None, list[_Unit]]:
    """Part the title from the rest: the first H1, else the first line where it reads like a title."""
    tops = [i for i, unit in enumerate(units) if unit.kind == "hash" and unit.level == 1]
    if tops:
        first = tops[0]
        below = units[first + 1].kind if first + 1 < len(units) else "hash"
        keep = len(tops) > 1 and below not in HEADINGS
        return units[first].heading, units if keep else units[:first] + units[first + 1 :]
    if len(units) > 1 and units[0].kind in ("caps", "title"):
        return units[0].heading, units[1:]
    return None, units


def _settle(units: list[_Unit], text: str) -> list[_Unit]:
    """Decide which doubtful headings are headings; the others become paragraphs."""
    explicit = any(unit.kind == "hash" for unit in units)
    ranks = _word_ranks(units)
    done: list[_Unit] = []
    expected: str | None = None
    for index, unit in enumerate(units):
        after = units[index + 1] if index + 1 < len(units) else None
        if done and done[-1].kind == "body" and text[done[-1].end - 1] == ":" and unit.number == "1":
            expected = "1"
        in_list = expected is not None and unit.number == expected
        if in_list:
            expected = _successor(unit.number)
        elif unit.kind != "item":
            expected = None
        if unit.kind == "keyword":
            empty = after is None or (after.kind == "keyword" and ranks[after.word] <= ranks[unit.word])
            wordy = len(text[unit.body : unit.end].split()) >= RUN_IN_WORDS
            done.extend(_run_in(unit) if empty and wordy and not unit.bare and unit.body > unit.start else [unit])
        elif unit.kind == "numbered" and not explicit and not in_list and _heads_section(unit, after, ranks):
            done.append(unit)
        elif unit.kind == "numbered" and unit.word != "arabic":
            done.append(replace(unit, kind="body", number=None))
        elif unit.kind in ("caps", "title"):
            _settle_loose(unit, after, done, ranks, explicit)
        elif unit.number is not None and not in_list:
            done.extend(_settle_number(replace(unit, kind="body"), done))
        else:
            done.append(unit if unit.kind in ("hash", "item") else replace(unit, kind="body"))
    return done


def _settle_loose(unit: _Unit, after: _Unit | None, done: list[_Unit], ranks: dict[str, float], explicit: bool) -> None:
    """Settle a line in capitals or a short line: a heading, the name of the bare label above it, or a paragraph."""
    before = done[-1] if done else None
    keep = not explicit and after is not None and after.kind != unit.kind
    if keep and before and before.kind in HEADINGS and after and after.kind in HEADINGS:
        keep = _rank(after, ranks) > _rank(before, ranks)
    if keep and before and before.kind == "keyword" and before.bare:
        done[-1] = replace(before, end=unit.end, heading=f"{before.heading}. {unit.heading}", bare=False)
    else:
        done.append(unit if keep else replace(unit, kind="body"))


def _settle_number(unit: _Unit, done: list[_Unit]) -> list[_Unit]:
    """Give ``2.2 Staff must ...`` a heading of its own where it stands beside the titled ``2.1 Scope``."""
    above = next((u for u in reversed(done) if u.number is not None or u.kind in HEADINGS), None)
    if above is None or above.kind != "numbered" or _successor(above.number) != unit.number:
        return [unit]
    label = replace(unit, kind="numbered", end=unit.body, heading=unit.number or "", word="arabic")
    return [label, replace(unit, start=unit.body, number=None)]


def _heads_section(unit: _Unit, after: _Unit | None, ranks: dict[str, float]) -> bool:
    """Tell whether a numbered title has something below it: anything but its own next sibling."""
    if after is None:
        return False
    if after.kind == "numbered":
        return _rank(after, ranks) > _rank(unit, ranks)
    return after.number is None or after.number != _successor(unit.number)


def _number_styles(units: list[_Unit]) -> list[_Unit]:
    """Say of each numbered title whether its number is arabic, Roman or a letter; ``C`` after ``B`` is a letter."""
    styled: list[_Unit] = []
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
        styled.append(replace(unit, word=style) if unit.kind == "numbered" else unit)
    return styled


def _word_ranks(units: list[_Unit]) -> dict[str, float]:
    """Rank labels and kinds of number: books hold chapters, chapters the rest; of the rest the first is outermost."""
    ranks: dict[str, float] = {}
    for unit in units:
        if unit.kind == "keyword" and unit.word not in ranks:
            ranks[unit.word] = OUTER_WORDS.get(unit.word, INNER_RANK + len(ranks))
        elif unit.kind == "numbered" and unit.word not in ranks:
            ranks[unit.word] = NUMBERED_RANK + 5 * sum(rank >= NUMBERED_RANK for rank in ranks.values())
    return ranks


def _rank(unit: _Unit, ranks: dict[str, float]) -> float:
    """Return a heading's rank; a smaller one holds the larger ones."""
    if unit.kind == "hash":
        return unit.level / 10
    if unit.kind == "keyword":
        return ranks[unit.word]
    if unit.kind == "numbered":
        return ranks[unit.word] + (unit.number or "").count(".")
    return CAPS_RANK if unit.kind == "caps" else TITLE_RANK


def _sections(units: list[_Unit], text: str) -> list[Section]:
    """Put the headings into a tree and the paragraphs below them; lists join the paragraph before."""
    ranks = _word_ranks(units)
    sections = [Section((), ())]
    stack: list[tuple[float, str]] = []
    last: _Unit | None = None
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
        if not LETTER.search(text, unit.body, unit.end):
            continue
        if paragraphs and (unit.kind == "item" or (inner and unit.number is None)):
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
