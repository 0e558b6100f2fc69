"""Edits that break one fact or the polarity of a sentence, and the checks that find such breaks.

A model too small to write a convincing wrong answer still needs one to prefer the right answer to. An edit changes
what a clause says in one place, a number, a name, a permission, and leaves its manner alone, so that the pair differs
in the fact and in nothing else. The word lists are English; for other languages the teacher writes the negatives.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Sequence

from valign.synthesis.languages.pack import Edit, other_number, turn_sentences
from valign.synthesis.names import Names

UNIT_WORDS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
TEEN_WORDS = ["seventeen", "eighteen", "nineteen"]
TEN_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBER_WORDS = [*UNIT_WORDS, *TEEN_WORDS, *TEN_WORDS]
SERIES = (
    NUMBER_WORDS[1:],
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "January February March April May June July August September October November December".split(),
    "red blue green yellow white black grey brown orange purple".split(),
    "first second third fourth fifth sixth seventh".split(),
    "spring summer autumn winter".split(),
    "morning noon evening midnight".split(),
)
# What ties a sentence to the one before it, or a recital to those around it; behind "that" it has no place.
_OPENER = re.compile(
    r"^(?:(?:(?:whereas|and|but(?! for\b)|accordingly|consequently|furthermore|hence|moreover|nevertheless|nonetheless"
    r"|therefore|thus)\b,?|(?:finally|however|in addition|likewise|now, therefore|otherwise|similarly),)\s+)+(?=\S)",
    re.I,
)
POLARITY = (
    (r"^No one (shall|may) be\b", r"Anyone \1 be"),
    (r"^(No one|Nobody|None) (shall|may|is|has|can)\b", r"Everyone \2"),
    (r"^(Everyone|Every \w+|Everybody|Anyone) (has|is)\b", r"No one \2"),
    (r"^All (\w+ )?are\b", r"Not all \1are"),
    (r"\b(shall|must|may|can|is|are|was|were) not\b", r"\1"),
    (r"\bshall be prohibited\b", "shall be allowed"),
    (r"\bare not allowed\b", "are allowed"),
    (r"\bnever\b", "always"),
    (r"\bnot\b", ""),
    (r"\bneither\b", "both"),
    (r"\bmust\b", "need not"),
    (r"\bmay\b", "may not"),
    (r"\bcan\b", "cannot"),
    (r"\bshall\b", "shall not"),
    (r"\bhas the right\b", "has no right"),
    (r"\bhave the right\b", "have no right"),
    (r"\b(is|are) (?!not)", r"\1 not "),
    (r"\bwithout\b", "with"),
    (r"\bbefore\b", "after"),
    (r"\bat least\b", "at most"),
    (r"\bat most\b", "at least"),
    (r"\bunless\b", "even if"),
)
AUXILIARIES = {"may": "May", "must": "Must", "can": "Can", "cannot": "Can", "is": "Is", "are": "Are", "shall": "Must"}
LONGEST_SUBJECT = 6
COMPOUND_NUMBER = rf"(?:{'|'.join(TEN_WORDS)})-(?:{'|'.join(UNIT_WORDS[:9])})"
NUMBER_PATTERN = re.compile(rf"\b(?:\d+(?:[.,:]\d+)*|{COMPOUND_NUMBER}|{'|'.join(NUMBER_WORDS)})\b", re.I)
TIME = re.compile(r"(?:[01]?\d|2[0-3]):[0-5]\d")
MEASURED = re.compile(rf"\b(?:\d+|{'|'.join(NUMBER_WORDS)})[ -]([a-z]+)", re.I)
LISTED = re.compile(r"[\w'-]+(?:(?:,|,? (?:and|or)) [\w'-]+(?: [\w'-]+){0,3}?)+(?=[^\w'-]|$)")
UNITS = frozenset("second minute hour day night week month year metre kilometre mile euro dollar crown per".split())
PRONOUN_BEFORE = re.compile(
    r"\b(?:all|both|any|either|neither|the|these|those|you|we|they|us|other) (?:of the )?$", re.I
)
PRONOUN_AFTER = re.compile(r"[.,;:!?)]|$| (?:of (?:you|them|us|these|those|the)|are|is|may|can|must|have|has|do|did)\b")
NAME_PATTERN = re.compile(r"(?<=[\w,;:'] )[A-Z][\w'-]+(?: (?:of |the )*[A-Z][\w'-]+)*")


def make_edits(text: str, names: Sequence[str], rng: random.Random) -> list[Edit]:
    """Return sentences that differ from the text in one fact or in polarity, each place changed once.

    Args:
        text: A sentence or clause.
        names: Names that occur in the document, to exchange names with.
        rng: Chooses the replacements.
    """
    found = [*_numbers(text, rng), *_series(text, rng), *_names(text, names, rng), *_polarity(text)]
    return [e for e in found if e.text != text]


def contradict(text: str) -> str | None:
    """Return a text that says the opposite in every sentence that can be turned; None where none can.

    >>> contradict("Guests may swim. Boats are not lent.")
    'Guests may not swim. Boats are lent.'
    """
    return turn_sentences(text, _polarity)


def as_question(sentence: str) -> str | None:
    """Turn a statement into a yes/no question by putting its auxiliary in front; None where that is not plain.

    "No one" and "nobody" become "anyone", so that "No one may be held" asks "May anyone be held?". A sentence that
    begins with "whereas", "however," and the like goes on from another one, and is not turned.

    >>> as_question("Everyone has the right to a nationality.")
    'Does everyone have the right to a nationality?'
    """
    if _OPENER.match(sentence):
        return None
    words = sentence.rstrip(".;, ").split()
    before = words[: LONGEST_SUBJECT + 1]
    place = next((i for i, word in enumerate(before) if i and (word in AUXILIARIES or word in ("has", "have"))), 0)
    if not place or any(w.endswith((",", ";")) or w in ("who", "that", "which", "when", "if") for w in words[:place]):
        return None
    word = words[place]
    if words[place + 1 : place + 2] == ["not"]:
        return None
    subject, rest = words[:place], words[place + 1 :]
    nobody = 2 if [w.lower() for w in subject[:2]] == ["no", "one"] else int(subject[0].lower() == "nobody")
    if nobody:
        subject, word = ["anyone", *subject[nobody:]], "may" if word == "shall" else word
    elif subject[0].lower() in ("no", "not", "none"):
        return None
    else:
        subject = [subject[0][:1].lower() + subject[0][1:], *subject[1:]]
    if word in ("has", "have"):
        return " ".join([{"has": "Does", "have": "Do"}[word], *subject, "have", *rest]) + "?"
    return " ".join([AUXILIARIES[word], *subject, *rest]) + "?"


def as_subclause(sentence: str, names: Sequence[str]) -> str:
    """Return a sentence as it stands behind "that": no full stop, no capital unless it is a name's, no "whereas".

    >>> as_subclause("Guests may swim.", []), as_subclause("Whereas Rome is far,", [])
    ('guests may swim', 'Rome is far')
    """
    words = sentence.rstrip(".;, ")
    if opener := _OPENER.match(words):
        return words[opener.end() :]
    first = words.split()[0]
    return words if first in names or first in ("I",) else words[:1].lower() + words[1:]


def names_in(text: str) -> list[str]:
    """Return the capitalised names inside a text's sentences, without those that only begin one."""
    return sorted(set(NAME_PATTERN.findall(text)))


def numbers_in(text: str) -> set[str]:
    """Return the numbers of a text, number words as digits."""
    return {as_digits(m) for m in NUMBER_PATTERN.findall(text)}


def find_ungrounded(answer: str, passage: str, question: str = "") -> list[str]:
    """Return the numbers and names of an answer that neither its passage nor its question has.

    What follows from them counts as theirs: a sum or difference of two of their numbers, one of which the answer says;
    a name with another ending; and a number word that only counts what they list ("all three", "the two of you").
    """
    shown = f"{passage}\n{question}"
    known = numbers_in(shown)
    if question:
        known |= _derived(known, numbers_in(answer))
    lower, starts = shown.lower(), {word[:5] for word in re.findall(r"[a-z]{5,}", shown.lower())}
    numbers = [
        match.group()
        for match in NUMBER_PATTERN.finditer(answer)
        if as_digits(match.group()) not in known and match.group().lower() != "one" and not _counts(match, shown)
    ]
    return numbers + [name for name in names_in(answer) if not _is_known(name, lower, starts)]


def _derived(known: Collection[str], said: Collection[str]) -> set[str]:
    """Return the sums and differences of each known number that was said with each other known one."""
    values = {int(number): number in said for number in known if number.isdigit() and len(number) < 7}
    pairs = [(a, b) for a, here in values.items() if here for b in values if a != b]
    return {str(n) for a, b in pairs for n in (a + b, abs(a - b))}


def _counts(match: re.Match[str], shown: str) -> bool:
    """Tell whether a number word stands for things that were named, and measures nothing that the text measures."""
    word = match.group().lower()
    if word not in UNIT_WORDS[:12]:
        return False
    before, after = match.string[: match.start()], match.string[match.end() :]
    if PRONOUN_BEFORE.search(before) and PRONOUN_AFTER.match(after):
        return True
    unit = re.match(r"[ -]([a-z]+)", after)
    measured = {found.lower().rstrip("s") for found in MEASURED.findall(shown)} | UNITS
    if unit and unit.group(1).rstrip("s") in measured:
        return False
    return UNIT_WORDS.index(word) + 1 in {
        1 + len(re.findall(",|\\b(?:and|or)\\b", part)) for part in LISTED.findall(shown)
    }


def _is_known(name: str, lower: str, starts: Collection[str]) -> bool:
    """Tell whether a text has a name, in the possessive, as part of a compound, or with another ending."""
    plain = re.sub(r"'s?(?= |$)", "", name.lower())
    if name.lower() in lower or plain in lower or plain in ("i", "i'm", "i'd", "i'll", "i've"):
        return True
    words = [part for part in re.findall(r"[A-Z][\w']*", name) if part]
    return all(w.lower().removesuffix("'s") in lower or (len(w) >= 5 and w[:5].lower() in starts) for w in words)


def as_digits(number: str) -> str:
    """Return a number word below one hundred as digits; digits stay, without thousands separators."""
    word = number.lower()
    tens, _, unit = word.partition("-")
    if tens in TEN_WORDS:
        return str(10 * (TEN_WORDS.index(tens) + 2) + (UNIT_WORDS.index(unit) + 1 if unit else 0))
    if word in NUMBER_WORDS:
        return str(NUMBER_WORDS.index(word) + 1)
    return word.replace(",", "")


def _numbers(text: str, rng: random.Random) -> list[Edit]:
    found = []
    for match in NUMBER_PATTERN.finditer(text):
        old = match.group()
        if old.isdigit():
            new = other_number(old, rng)
        elif TIME.fullmatch(old):
            hour, minutes = old.split(":")
            new = f"{(int(hour) + rng.choice((-2, -1, 1, 2))) % 24:0{len(hour)}}:{minutes}"
        elif old.lower() == "one" or re.search("[.,:]", old):
            continue
        else:
            near = [w for w in NUMBER_WORDS[1:] if w != old.lower() and "-" not in w]
            new = rng.choice(near)
        found.append(Edit.at(text, match.span(), new, "number"))
    return found


def _series(text: str, rng: random.Random) -> list[Edit]:
    """Exchange days, months, colours and other words that come in series; numbers have their own edit."""
    found = []
    for words in SERIES[1:]:
        pattern = rf"\b(?:{'|'.join(words)})\b" + (r"(?! (?:not|be)\b)" if "May" in words else "")
        for match in re.finditer(pattern, text):
            others = [w for w in words if w != match.group()]
            found.append(Edit.at(text, match.span(), rng.choice(others), "series"))
    return found


def _names(text: str, names: Sequence[str], rng: random.Random) -> list[Edit]:
    series = {w for words in SERIES for w in words}
    known = names if isinstance(names, Names) else Names(names)
    others = known.outside(text, series)
    found = []
    for match in NAME_PATTERN.finditer(text):
        if others and match.group() not in series:
            found.append(Edit.at(text, match.span(), rng.choice(others), "name"))
    return found


def _polarity(text: str) -> list[Edit]:
    """Turn a permission, duty or statement into its opposite, by the first pattern that fits."""
    for pattern, new in POLARITY:
        match = re.search(pattern, text)
        if match:
            changed = re.sub(r"  +", " ", text[: match.start()] + match.expand(new) + text[match.end() :])
            return [Edit(changed, match.group(), match.expand(new), "polarity")]
    return []
