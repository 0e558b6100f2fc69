"""Edits of French sentences that break one fact or the polarity, and the checks that find such breaks."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from valign.synthesis.languages.pack import Edit, other_number, turn_sentences
from valign.synthesis.names import Names

UNITS_FR = (
    "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize "
    "dix-sept dix-huit dix-neuf"
).split()
TENS_FR = {"vingt": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60}
VALUES_FR = {word: i for i, word in enumerate(UNITS_FR, start=1)} | TENS_FR | {"cent": 100, "mille": 1000}
_TENS = "|".join(TENS_FR)
NUMBER_FR = re.compile(
    rf"\b(?:\d{{1,3}}(?:[ \u00a0\u202f]\d{{3}})+|\d+(?:,\d+)?|(?:{_TENS})(?: et un|-(?:{'|'.join(UNITS_FR[1:9])}))"
    rf"|{'|'.join(sorted(set(VALUES_FR) - {'un'}, key=len, reverse=True))})\b",
    re.I,
)
SERIES_FR = (
    "lundi mardi mercredi jeudi vendredi samedi dimanche".split(),
    "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split(),
    "rouge bleu jaune blanc noir brun orange".split(),
    "première deuxième troisième quatrième cinquième".split(),
    "printemps été automne hiver".split(),
    "matin midi soir minuit".split(),
)
POLARITY_FR = (
    (r"^(?:Nul|Personne) n(?:e |['’])", "Chacun "),
    (r"^Aucune? (\w+) n(?:e |['’])", r"Chaque \1 "),
    (r"^(?:Chacun|Tout le monde) (peut|doit|sera|a|est)\b", r"Personne ne \1"),
    (r"\bn(?:e |['’])(\w+) (?:pas|point)\b", r"\1"),
    (r"\bn(?:e |['’])(\w+) jamais\b", r"\1 toujours"),
    (r"\b(est|sont) interdit(e?s?)\b", r"\1 autorisé\2"),
    (r"\b(est|sont) autorisé(e?s?)\b", r"\1 interdit\2"),
    (r"(?<!n['’])\b(a|ont) ((?:le )?droit)\b", r"n’\1 pas \2"),
    (r"(?<!\bne )\b(peut|peuvent|doit|doivent|sera|seront|sont)\b", r"ne \1 pas"),
    (r"(?<!n['’])\best\b", "n’est pas"),
    (r"\btoujours\b", "jamais"),
    (r"\bsans\b", "avec"),
    (r"\bavant\b", "après"),
    (r"\bau moins\b", "au plus"),
    (r"\bau plus\b", "au moins"),
)
NAME_FR = re.compile(
    r"(?:(?<=[\w,;:] )|(?<=[ld]['’]))[A-ZÀ-ÖØ-Þ][\w'’-]+"
    r"(?: (?:(?:de|du|des|la|le|les) )*(?:[ld]['’])?[A-ZÀ-ÖØ-Þ][\w'’-]+)*"
)
_REFUSED_START = re.compile(
    r"^(?:considérant|attendu|vu|si|s['’]|quand|lorsqu|et|mais|ou|donc|aucune?|ni|en cas|pour|dans)\b", re.I
)
_OPENER = re.compile(
    r"^(?:(?:(?:considérant|attendu|vu) qu(?:e\s|['’])|(?:et|mais)\b,?\s|(?:ainsi|cependant|de plus|donc|en outre|enfin"
    r"|néanmoins|or|par conséquent|toutefois),\s)\s*)+(?=\S)",
    re.I,
)
_NOBODY = re.compile(r"^(?:nul|personne) n(?:e |['’])", re.I)


def edit_french(text: str, names: Sequence[str], rng: random.Random) -> list[Edit]:
    """Return sentences that differ from the text in one fact or in polarity, each place changed once.

    Args:
        text: A sentence or clause.
        names: Names that occur in the document, to exchange names with.
        rng: Chooses the replacements.
    """
    found = [*_number_edits(text, rng), *_series_edits(text, rng), *_name_edits(text, names, rng), *_turned(text)]
    return [edit for edit in found if edit.text != text]


def contradict_french(text: str) -> str | None:
    """Return a text that says the opposite in every sentence that can be turned; None where none can.

    >>> contradict_french("Un invité peut nager. Les bateaux ne sont pas prêtés.")
    'Un invité ne peut pas nager. Les bateaux sont prêtés.'
    """
    return turn_sentences(text, _turned)


def ask_french(sentence: str) -> str | None:
    """Turn a statement into a yes/no question; None where it has conditions in front.

    >>> ask_french("Toute personne a droit à une nationalité.")
    'Est-ce que toute personne a droit à une nationalité ?'
    >>> ask_french("Nul ne peut être tenu en esclavage.")
    'Est-ce que quelqu’un peut être tenu en esclavage ?'
    """
    words = sentence.rstrip(".;, ")
    if _REFUSED_START.match(words) or ";" in words:
        return None
    words = _NOBODY.sub("quelqu’un ", words)
    return f"Est-ce {that_french(words, [])} ?"


def that_french(sentence: str, names: Sequence[str]) -> str:
    """Return a sentence as it stands behind "que", with that word: no full stop, no capital unless it is a name's.

    >>> that_french("Il faut payer.", []), that_french("Considérant que Lyon est loin.", [])
    ('qu’il faut payer', 'que Lyon est loin')
    """
    words = sentence.rstrip(".;, ")
    if opener := _OPENER.match(words):
        words = words[opener.end() :]
    elif words.split()[0] not in names:
        words = words[:1].lower() + words[1:]
    return f"qu’{words}" if words[:1].lower() in "aàâeéèêiîoôuy" else f"que {words}"


def names_french(text: str) -> list[str]:
    """Return the capitalised names inside a text's sentences, without those that only begin one."""
    return sorted(set(NAME_FR.findall(text)))


def numbers_french(text: str) -> set[str]:
    """Return the numbers of a text, number words as digits.

    >>> sorted(numbers_french("Vingt et un jours, 1 500 francs, soixante"))
    ['1500', '21', '60']
    """
    return {digits_french(found) for found in NUMBER_FR.findall(text)}


def digits_french(number: str) -> str:
    """Return a French number in digits, without spaces between thousands."""
    word = number.lower()
    if word in VALUES_FR:
        return str(VALUES_FR[word])
    if match := re.fullmatch(rf"({_TENS})(?: et |-)(.+)", word):
        return str(TENS_FR[match[1]] + VALUES_FR[match[2]])
    return re.sub(r"\s", "", word)


def forms_french(number: str) -> tuple[str, ...]:
    """Return a number in digits and in words, where it has a word of its own."""
    words = [word for word, value in VALUES_FR.items() if str(value) == number and word != "un"]
    words += [
        f"{ten} et un" if i == 1 else f"{ten}-{unit}"
        for ten, value in TENS_FR.items()
        for i, unit in enumerate(UNITS_FR[:9], start=1)
        if str(value + i) == number
    ]
    return (number, *words)


def ungrounded_french(answer: str, passage: str, question: str = "") -> list[str]:
    """Return the numbers and names of an answer that neither its passage nor its question has."""
    shown = f"{passage}\n{question}"
    known, lower = numbers_french(shown), shown.lower().replace("'", "’")
    numbers = [found for found in NUMBER_FR.findall(answer) if digits_french(found) not in known]
    return numbers + [name for name in names_french(answer) if name.lower().replace("'", "’") not in lower]


def _number_edits(text: str, rng: random.Random) -> list[Edit]:
    found = []
    for match in NUMBER_FR.finditer(text):
        old = match.group()
        if old.isdigit():
            new = other_number(old, rng)
        elif old.lower() in UNITS_FR:
            new = rng.choice([word for word in UNITS_FR[1:] if word != old.lower()])
        elif old.lower() in TENS_FR:
            new = rng.choice([word for word in TENS_FR if word != old.lower()])
        else:
            continue
        found.append(Edit.at(text, match.span(), new, "number"))
    return found


def _series_edits(text: str, rng: random.Random) -> list[Edit]:
    found = []
    for words in SERIES_FR:
        for match in re.finditer(rf"(?<!a )\b(?:{'|'.join(words)})\b", text):
            others = [word for word in words if word != match.group()]
            found.append(Edit.at(text, match.span(), rng.choice(others), "series"))
    return found


def _name_edits(text: str, names: Sequence[str], rng: random.Random) -> list[Edit]:
    known = names if isinstance(names, Names) else Names(names)
    others = known.outside(text)
    return [Edit.at(text, match.span(), rng.choice(others), "name") for match in NAME_FR.finditer(text) if others]


def _turned(text: str) -> list[Edit]:
    """Turn a permission, duty or statement into its opposite, by the first pattern that fits."""
    for pattern, new in POLARITY_FR:
        if match := re.search(pattern, text):
            after, rest = match.expand(new), text[match.end() :]
            rest = re.sub(r"\bni\b", "ou", rest) if after.startswith(("Chacun", "Chaque")) else rest
            return [Edit(text[: match.start()] + after + rest, match.group(), after, "polarity")]
    return []
