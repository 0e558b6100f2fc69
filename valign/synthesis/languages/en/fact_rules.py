"""The facts that a clause states, by rules: numbers, names, conditions, exceptions, consequences, who may and must.

The rules are English; for other languages the teacher lists the facts (``synthesis.instructions.extract=teacher``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest

from valign.core.records import Fact, Passage
from valign.synthesis.facts import make_fact
from valign.synthesis.languages.en.edits import NAME_PATTERN, NUMBER_PATTERN, SERIES
from valign.synthesis.quotes import split_sentences

QUANTIFIER = re.compile(
    r"\b(?:at most|at least|no more than|no fewer than|no less than|not more than|more than|fewer than|less than|up to"
    r"|within|exactly|only|every)\s+$",
    re.I,
)
NO_UNIT = frozenset(
    "a after again alone also an and another are as at be been before behind but by can each for from has have if in "
    "into is lets may more must nor not of off on only or other others out per save shall than that the their then to "
    "until upon was were what when whenever where which who whom whose will with within without".split()
)
NOT_COUNTED = ("no", "any", "every", "some", "the", "each")
UNIT = re.compile(r"\s+(per cent|[a-z][\w-]*)")
DAYS_MONTHS = [*SERIES[1], *SERIES[2]]
ORDINALS = SERIES[4]
DETAIL = re.compile(
    rf"\b(?:(?:{'|'.join(DAYS_MONTHS)})s?(?! (?:not|be)\b)|(?:{'|'.join(SERIES[3])})(?: [a-z][\w-]*)?"
    rf"|the (?:{'|'.join(ORDINALS)}) [\w-]+|{'|'.join([*SERIES[5], *SERIES[6]])})\b"
)
CONDITION = re.compile(
    r"\b(?:if|when|whenever|unless|until|once|provided that|as long as|in case|without|before(?! the law\b)"
    r"|after|within|during)\b",
    re.I,
)
ONLY = re.compile(r"\bonly(?: (?!(?:may|must|can|shall|is|are)\b)[\w'-]+){1,5}", re.I)
BEHIND_ONLY = re.compile(
    r"\b(?:(?:on|in|at|by|until|for|to|from) (?:[\w'-]+ ){1,4}|[\w'-]+ [\w'-]+ )only(?=[,;.]| and\b|$)"
)
EXCEPTION = re.compile(
    r"\b(?:except\b|excepting\b|save (?=(?:for|on|when|to|in|that|where|if)\b)|apart from|other than"
    r"|but (?:not|nothing|no|never)\b|(?:no one|nobody) but)",
    re.I,
)
EXEMPT = re.compile(r"\b(?:exceptions?|excepted|excused|exempt|exempted)\b", re.I)
TRIGGER = re.compile(
    r"\b(?:whoever|anyone who|anybody who|those who|(?:a|an|any|every|each) [\w-]+ (?:who|which|that))\b", re.I
)
COST = re.compile(
    r"\b(?:costs?|(?:is|are) fined|pays?|forfeits?|loses?|gives? up|otherwise|or else|(?:is|are) void)\b", re.I
)
MAIN_VERB = re.compile(
    r"\b(?:must|may|shall|will|can|cannot|is|are|has|have|does|do|pays?|loses?|makes?|gives?|spends?|waits?|sends?"
    r"|receives?|forfeits?|owes?|wears?|writes?|tells?|gets?|takes?|goes|leaves?|returns?|puts?|plants?)\b",
    re.I,
)
AUXILIARY = re.compile(r"\s*(?:must|may|shall|will|can|cannot|is|are|has|have|does|do)\b(?: not)?", re.I)
NORM = re.compile(
    r"(?P<who>(?:[\w'-]+ ){1,7}?)(?P<verb>must|may|shall|cannot|can|has the right|have the right"
    r"|(?:is|are) (?:entitled|forbidden|prohibited|allowed|obliged|required))(?P<neg> not| never)? (?P<rest>\S.*)",
    re.S,
)
CONJUNCTION = re.compile(r"\s*(?:and|but|or|yet|for)?\b\s*")
SUBORDINATE = re.compile(r"\b(?:who\w*|that|which|when\w*|if|unless|until|because|since|as|lest|where)\b", re.I)
PRONOUNS = ("it", "they", "he", "she", "this", "these", "there", "we", "you", "its", "their", "nor", "so")
NOBODY = ("no", "nobody", "none", "neither", "nothing")
PREPOSITIONS = ("before", "after", "within", "during", "until", "without")
PHRASE_END = re.compile(
    r"[,;!?]|:(?!\d)|\.(?=\s|$)|\s(?:only|may|must|shall|can|cannot|does|there|and (?:to|is|are|has|have))\b"
)
CLAUSE_END = re.compile(r"[,;!?]|:(?!\d)|\.(?=\s|$)")
SHORTEST_CLAUSE, SHORTEST_PHRASE, LONGEST_LEAD = 3, 2, 4

Found = tuple[str, int, int, str, str]


def find_facts(passage: Passage) -> list[Fact]:
    """List the facts of a clause in reading order, each with its exact words and their offsets in the document.

    >>> text = "Keys come back within six days."
    >>> [(f.kind, f.text) for f in find_facts(Passage("d/1", ("D",), text, 0, len(text)))]
    [('number', 'within six days')]
    """
    found: dict[tuple[int, int], Fact] = {}
    for piece in split_sentences(passage):
        for kind, start, end, who, force in _spans(piece.text):
            span = piece.start + start, piece.start + end
            found.setdefault(span, make_fact(passage, kind, *span, who=who, force=force))
    return sorted(found.values(), key=lambda fact: (fact.start, fact.end))


def _spans(text: str) -> Iterator[Found]:
    """Yield what a sentence states; of two facts with the same words the first one counts."""
    numbers = list(_numbers(text))
    yield from numbers
    details = [("detail", m.start(), m.end(), "", "") for m in DETAIL.finditer(text)]
    yield from details
    taken = [(start, end) for _, start, end, _, _ in details]
    for match in NAME_PATTERN.finditer(text):
        if not any(start <= match.start() and match.end() <= end for start, end in taken):
            yield "name", match.start(), match.end(), "", ""
    yield from _conditions(text, [start for _, start, _, _, _ in numbers])
    yield from _exceptions(text)
    yield from _consequences(text)
    yield from _norms(text)


def _numbers(text: str) -> Iterator[Found]:
    """Yield numbers with "at most" or the like in front and the unit behind."""
    for match in NUMBER_PATTERN.finditer(text):
        unit = UNIT.match(text, match.end())
        counted = unit is not None and unit.group(1) not in NO_UNIT
        before = text[: match.start()].split()
        if match.group().lower() == "one" and (not counted or (before and before[-1].lower() in NOT_COUNTED)):
            continue
        quantifier = QUANTIFIER.search(text[: match.start()])
        start = quantifier.start() if quantifier else match.start()
        yield "number", start, unit.end() if unit and counted else match.end(), "", ""


def _conditions(text: str, numbers: list[int]) -> Iterator[Found]:
    """Yield what must be so, from the word that says it to the next comma; "within six days" is a number's."""
    behind = 0
    for match in CONDITION.finditer(text):
        phrase = match.group().lower() in PREPOSITIONS
        end = _stop(text, match.end(), PHRASE_END if phrase else CLAUSE_END)
        count = len(text[match.start() : end].split())
        leads = phrase and re.fullmatch(r"\s*(?:(?:and|but|or|so)\s+)?", text[: match.start()].rpartition(",")[2])
        if match.start() < behind or count < (SHORTEST_PHRASE if phrase else SHORTEST_CLAUSE):
            continue
        if match.start() in numbers or (leads and count > LONGEST_LEAD):
            continue
        behind = end
        yield "condition", match.start(), end, "", ""
    for pattern in (BEHIND_ONLY, ONLY):
        for match in pattern.finditer(text):
            words = match.group().split()
            if match.start() in numbers or EXEMPT.search(match.group()):
                continue
            if words[0].lower() == "only" and CONDITION.match(words[1]):
                continue
            yield "condition", match.start(), match.end(), "", ""


def _exceptions(text: str) -> Iterator[Found]:
    """Yield exceptions: from the word that says it to the next comma, or the part that calls itself an exception."""
    for match in EXCEPTION.finditer(text):
        yield "exception", match.start(), _stop(text, match.end(), CLAUSE_END), "", ""
    for start, end in _segments(text):
        if EXEMPT.search(text, start, end):
            short = len(text[start:end].split()) < SHORTEST_CLAUSE
            yield "exception", 0 if short else start, len(text.rstrip(" .;!?\n")) if short else end, "", ""


def _consequences(text: str) -> Iterator[Found]:
    """Yield what follows for whoever does something, or what something costs."""
    triggers = [m for m in TRIGGER.finditer(text) if re.search(r"(?:^|[,;:] ?)(?:and |but |for )?$", text[: m.start()])]
    found = False
    for match, following in zip_longest(triggers, triggers[1:]):
        end = following.start() if following else len(text)
        own = AUXILIARY.match(text, match.end())
        verb = MAIN_VERB.search(text, _word_end(text, own.end() if own else match.end()), end)
        if verb is None:
            continue
        found = True
        whole = re.sub(r"(?:[\s,;:.!?]+|\b(?:and|but|for))+$", "", text[match.start() : end])
        yield (
            "consequence",
            match.start(),
            match.start() + len(whole),
            text[match.start() : verb.start()].strip(" ,"),
            "",
        )
    if not found and COST.search(text):
        yield "consequence", 0, len(text.rstrip(" .;:!?")), "", ""


def _norms(text: str) -> Iterator[Found]:
    """Yield who has a right or a duty, or what is forbidden."""
    for start, end in _segments(text):
        match = NORM.fullmatch(text, start, end)
        if match is None:
            continue
        who = match["who"].strip()
        first = who.split()[0].lower()
        if first in PRONOUNS or SUBORDINATE.search(who) or MAIN_VERB.search(who):
            continue
        verb = match["verb"]
        if first in NOBODY or match["neg"] or verb == "cannot" or verb.endswith(("forbidden", "prohibited")):
            force = "ban"
        else:
            force = "duty" if verb in ("must", "shall") or verb.endswith(("obliged", "required")) else "right"
        yield "norm", start, end, who, force


def _segments(text: str) -> list[tuple[int, int]]:
    """Return the parts between commas, without the conjunction in front."""
    found = []
    for match in re.finditer(r"(?:[^,;:]|:(?=\d))+", text):
        lead = CONJUNCTION.match(text, match.start())
        start = lead.end() if lead else match.start()
        end = match.start() + len(match.group().rstrip(" .!?\n"))
        if start < end:
            found.append((start, end))
    return found


def _stop(text: str, start: int, end: re.Pattern[str]) -> int:
    """Return the offset behind the words up to the first place where the pattern fits, or the text's end."""
    match = end.search(text, start)
    return match.start() if match else len(text.rstrip())


def _word_end(text: str, start: int) -> int:
    match = re.compile(r"\s*[\w'-]+").match(text, start)
    return match.end() if match else start
