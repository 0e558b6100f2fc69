"""Questions that ask for one fact, put together from the clause's own words, in several phrasings for each kind."""

from __future__ import annotations

import re

from valign.core.records import Fact, Passage
from valign.core.text import CELLS, is_table_row
from valign.documents.clauses import topic
from valign.synthesis.facts import sentence_of
from valign.synthesis.languages.en.edits import NUMBER_PATTERN, SERIES
from valign.synthesis.languages.en.fact_rules import CONDITION, COST, NOBODY, PREPOSITIONS

GAP_FRAMES = (
    'Complete the sentence: "{gap}"',
    'Which words are missing here: "{gap}"?',
    'How does this go on: "{gap}"?',
)
NAME_FRAMES = ("What does {label} say about {words}?", "What do the rules say in which {words} comes up?")
CONDITION_FRAMES = ("What applies {words}?", 'Which rule has the condition "{words}"?')
EXCEPTION_FRAMES = ("Which exception does {label} make?", "What is exempt from {label}, or who?")
CONSEQUENCE_FRAMES = ("What follows for {words}?", "What do the rules lay down for {words}?")
COST_FRAME = "What does {label} say that has to be paid or given up?"
OUTCOME_FRAME = "Which consequence does {label} name?"
SERIES_NAMES = ("day", "month", "colour", "place in a row", "season", "time of day")
PLURALS = ("people", "men", "women", "children", "per cent", "pence", "feet")
PEOPLE = ("everyone", "everybody", "anyone", "anybody", "nobody")
WITHOUT_GAP = ("norm", "consequence")
LONGEST_IN_PLACE = 28
NEW_CLAUSE = re.compile(r",? (?:and|but|so|because|since|as|for|even|with|lest)\b|[;:]")
SINGULAR = {"have the right": "has the right", "are": "is"}
FRONTED = re.compile(
    r"(?P<who>(?:[\w'-]+ ){1,6}?)(?P<verb>may|must|can|shall) (?P<do>[^,;]+?) "
    r"(?P<prep>for|within|after|in|by|to|from|of) (?:at most |no more than |exactly |up to )?$"
)


def phrasings(fact: Fact, passage: Passage) -> tuple[list[str], list[str]]:
    """Return questions that the fact answers, and its sentence with a gap in its place, to be completed.

    Args:
        fact: The fact.
        passage: Its clause.
    """
    quote = sentence_of(fact, passage)
    before = passage.text[quote.start - passage.start : fact.start - passage.start]
    behind = passage.text[fact.end - passage.start : quote.end - passage.start]
    parts = _plain(before), _plain(fact.text).strip(), _plain(behind)
    made = {
        "number": _number,
        "name": _name,
        "detail": _detail,
        "condition": _condition,
        "exception": _exception,
        "consequence": _consequence,
        "norm": _norm,
    }[fact.kind](fact, passage, *parts)
    gaps = [] if fact.kind in WITHOUT_GAP else _gaps(*parts)
    if not made and not gaps:
        made = [f"What does {clause_label(passage)} lay down?"]
    return list(dict.fromkeys(made)), gaps


def clause_label(passage: Passage) -> str:
    """Return how a question names a clause: by its topic, else by its heading.

    >>> clause_label(Passage("d/3", ("Code", "Rule 3. The soup kettle"), "...", 0, 3))
    'the rule on the soup kettle'
    """
    subject = topic(passage)
    if subject and subject != passage.heading[-1]:
        return f"the rule on {subject[:1].lower() + subject[1:]}"
    if len(passage.heading) < 2:
        return "the text"
    return passage.heading[-1] if re.search(r"\d|[IVX]+$", passage.heading[-1]) else f"the {passage.heading[-1]}"


def _plain(text: str) -> str:
    """Return a text with line breaks as spaces."""
    return re.sub(r"\s+", " ", text)


def _gaps(before: str, words: str, behind: str) -> list[str]:
    """Return the sentence with the fact left out, as something to complete; nothing where little else is left."""
    gap = f"{before}___{behind}".strip().rstrip(";,:")
    if len(before.split()) + len(behind.split()) < 3:
        return []
    gap = gap[:1].upper() + gap[1:]
    return [frame.format(gap=gap) for frame in GAP_FRAMES[: 3 if not behind.strip(" .;!?") else 2]]


def _number(fact: Fact, passage: Passage, before: str, words: str, behind: str) -> list[str]:
    match = NUMBER_PATTERN.search(words)
    unit = words[match.end() :].strip() if match else ""
    if match is None or match.group().lower() == "one" or not (unit.endswith("s") or unit in PLURALS):
        return []
    asks_label = f"How many {unit} does {clause_label(passage)} name?"
    if is_table_row(f"{before}{words}{behind}"):
        cell = before.partition(CELLS)[0].strip(" |") if is_table_row(before) else ""
        cell = "" if NUMBER_PATTERN.search(cell) else cell
        return [*([f"{cell}: how many {unit}?"] if cell else []), asks_label]
    made = []
    lead = f"{before}{words[: match.start()]}"
    fronted = FRONTED.fullmatch(lead)
    if fronted and fronted["who"].split()[0].lower() not in NOBODY:
        who, rest = _lower_first(fronted["who"].strip()), re.split(r"[,;]", behind.rstrip(".!?; "))[0]
        made.append(f"{fronted['prep'].capitalize()} how many {unit} {fronted['verb']} {who} {fronted['do']}{rest}?")
    whole = f"{lead}how many {unit}{behind}".rstrip(".;:!? ")
    if len(whole.split()) <= LONGEST_IN_PLACE:
        made.append(f"{whole[:1].upper()}{whole[1:]}?")
    return [*made, asks_label]


def _name(fact: Fact, passage: Passage, before: str, words: str, behind: str) -> list[str]:
    article = before.lower().split()[-1:]
    words = f"{article[0]} {words}" if article in (["the"], ["this"]) else words
    return [frame.format(label=clause_label(passage), words=words) for frame in NAME_FRAMES]


def _detail(fact: Fact, passage: Passage, before: str, words: str, behind: str) -> list[str]:
    for series, name in zip(SERIES[1:], SERIES_NAMES, strict=True):
        if any(re.search(rf"\b{word}s?\b", words) for word in series):
            ordinal = name == "place in a row"
            return [] if ordinal else [f"Which {name} does {clause_label(passage)} name?"]
    return []


def _condition(fact: Fact, passage: Passage, before: str, words: str, behind: str) -> list[str]:
    words = _lower_first(words)
    plain = CONDITION.match(words) and not re.search(r"\bonly\b", words)
    frames = CONDITION_FRAMES if plain else CONDITION_FRAMES[1:]
    return [frame.format(words=words) for frame in frames]


def _exception(fact: Fact, passage: Passage, before: str, words: str, behind: str) -> list[str]:
    made = [frame.format(label=clause_label(passage)) for frame in EXCEPTION_FRAMES]
    rule = before.strip().rstrip(",;")
    if len(rule.split()) >= 4 and not behind.strip(" .;!?"):
        made.insert(0, f'What is the exception to this: "{rule}"?')
    return made


def _consequence(fact: Fact, passage: Passage, before: str, words: str, behind: str) -> list[str]:
    if not fact.who:
        return [(COST_FRAME if COST.search(words) else OUTCOME_FRAME).format(label=clause_label(passage))]
    return [frame.format(words=_lower_first(_plain(fact.who))) for frame in CONSEQUENCE_FRAMES]


def _norm(fact: Fact, passage: Passage, before: str, words: str, behind: str) -> list[str]:
    """Ask who it is that may or must: the subject gives way to "who", which takes a singular verb."""
    who = _plain(fact.who)
    if not who or not words.lower().startswith(f"{who.lower()} "):
        return []
    rest = words[len(who) :].strip()
    if behind.startswith(","):
        more = f",{NEW_CLAUSE.split(behind[1:])[0]}".rstrip(".!?, ")
        rest += more if len(f"{rest}{more}".split()) <= LONGEST_IN_PLACE else ""
    for plural, singular in SINGULAR.items():
        if rest.startswith(f"{plural} "):
            rest = singular + rest.removeprefix(plural)
    first = who.split()[0].lower()
    if first in NOBODY and rest.startswith("shall "):
        rest = "may" + rest.removeprefix("shall")
    if first == "nothing":
        return [f"What {rest}?"]
    if first in PEOPLE or who.lower() == "no one":
        return [f"Who {rest}?"]
    named = who.removeprefix("only ").removeprefix("Only ")
    about = [] if first in (*PREPOSITIONS, *NOBODY) else [f"What are the rules for {_lower_first(named)}?"]
    return [f"Who or what {rest}?", *about]


def _lower_first(words: str) -> str:
    """Return words as they stand inside a sentence; a name keeps its capital where the second word has one, too."""
    second = words.split()[1:2]
    return words if second and second[0][:1].isupper() else words[:1].lower() + words[1:]
