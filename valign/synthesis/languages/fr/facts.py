"""The facts that a French clause states, by rules, and questions that ask for them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from valign.core.records import Fact, Passage
from valign.documents.clauses import topic
from valign.synthesis.facts import make_fact, sentence_of
from valign.synthesis.languages.fr.edits import NAME_FR, NUMBER_FR, SERIES_FR
from valign.synthesis.quotes import split_sentences

_QUANTIFIER = re.compile(
    r"\b(?:au plus|au moins|pas plus de|moins de|plus de|jusqu['’]à|dans un délai de|sous|dans les|exactement|chaque"
    r"|seulement)\s+$",
    re.I,
)
_UNIT = re.compile(r"\s+(?:pour cent|(?!et\b|ou\b|de\b|du\b|des\b|à\b|au\b|par\b|qui\b|sont\b|est\b)[a-zà-ÿœ][\w-]*)")
_DETAIL = re.compile(rf"\b(?:{'|'.join([*SERIES_FR[0], *SERIES_FR[1]])})\b")
_CONDITION_FR = re.compile(
    r"\b(?:si\b|s['’]ils?\b|lorsqu(?:e\b|['’])|quand\b|à moins qu(?:e\b|['’])|tant qu(?:e\b|['’])"
    r"|dès qu(?:e\b|['’])"
    r"|pourvu qu(?:e\b|['’])|à condition (?:de\b|qu(?:e\b|['’]))|en cas d(?:e\b|['’])|sans\b|avant\b|après\b"
    r"|pendant\b)",
    re.I,
)
_EXCEPTION_FR = re.compile(r"\b(?:sauf\b|excepté\b|hormis\b|à l['’]exception d(?:e|u|es)\b|autres? que\b)", re.I)
_STOP_FR = re.compile(r"[,;:!?]|\.(?=\s|$)")
_NORM_FR = re.compile(
    r"(?P<who>(?:[\w'’-]+ ){1,8}?)(?P<neg>n(?:e |['’]))?(?P<verb>doit|doivent|peut|peuvent|a le droit"
    r"|ont le droit|a droit|ont droit|(?:est|sont) (?:tenue?s?|interdite?s?|autorisée?s?|obligée?s?))(?= ) ?"
    r"(?P<rest>\S.*)",
    re.S,
)
_NOT_WHO = re.compile(r"\b(?:qui|que|dont|où|si|lorsque|quand|car|ils?|elles?|on|cela|ce|ceci|y)\b", re.I)
_GAPS = ("Complétez la phrase : « {gap} »", "Quels mots manquent ici : « {gap} » ?", "Comment continue : « {gap} » ?")
_SHORTEST = {"condition": 3, "exception": 2}


def facts_french(passage: Passage) -> list[Fact]:
    """List the facts of a clause in reading order, each with its exact words and their offsets in the document.

    >>> text = "Les clés sont rendues au plus tard après six jours."
    >>> [(f.kind, f.text) for f in facts_french(Passage("d/1", ("D",), text, 0, len(text)))]
    [('condition', 'après six jours'), ('number', 'six jours')]
    """
    found: dict[tuple[int, int], Fact] = {}
    for piece in split_sentences(passage):
        for kind, start, end, who, force in _spans_french(piece.text):
            span = piece.start + start, piece.start + end
            found.setdefault(span, make_fact(passage, kind, *span, who=who, force=force))
    return sorted(found.values(), key=lambda fact: (fact.start, fact.end))


def _spans_french(text: str) -> Iterator[tuple[str, int, int, str, str]]:
    for match in NUMBER_FR.finditer(text):
        unit, quantifier = _UNIT.match(text, match.end()), _QUANTIFIER.search(text[: match.start()])
        start = quantifier.start() if quantifier else match.start()
        yield "number", start, unit.end() if unit else match.end(), "", ""
    details = [match.span() for match in _DETAIL.finditer(text)]
    yield from (("detail", start, end, "", "") for start, end in details)
    yield from (("name", *match.span(), "", "") for match in NAME_FR.finditer(text))
    for kind, pattern in (("condition", _CONDITION_FR), ("exception", _EXCEPTION_FR)):
        behind = 0
        for match in pattern.finditer(text):
            stop = _STOP_FR.search(text, match.end())
            end = stop.start() if stop else len(text.rstrip())
            if match.start() >= behind and len(text[match.start() : end].split()) >= _SHORTEST[kind]:
                behind = end
                yield kind, match.start(), end, "", ""
    for match in re.finditer(r"[^,;:]+", text):
        start = match.start() + len(match.group()) - len(match.group().lstrip())
        end = match.start() + len(match.group().rstrip(" .!?\n"))
        norm = _NORM_FR.fullmatch(text, start, end)
        if norm and not _NOT_WHO.search(norm["who"]):
            who, verb = norm["who"].strip(), norm["verb"]
            duty = "duty" if verb.startswith("doi") or "tenu" in verb or "oblig" in verb else "right"
            yield "norm", start, end, who, "ban" if norm["neg"] or "interdit" in verb else duty


def phrase_french(fact: Fact, passage: Passage) -> tuple[list[str], list[str]]:
    """Return questions that the fact answers, and its sentence with a gap in its place, to be completed.

    Args:
        fact: The fact.
        passage: Its clause.
    """
    quote = sentence_of(fact, passage)
    before = " ".join(passage.text[quote.start - passage.start : fact.start - passage.start].split())
    behind = " ".join(passage.text[fact.end - passage.start : quote.end - passage.start].split())
    words, label = " ".join(fact.text.split()), _label_french(passage)
    match = NUMBER_FR.search(words)
    made: list[str] = []
    if fact.kind == "number" and match and (unit := words[match.end() :].strip()):
        made = [f"Combien de {unit} sont prévus dans {label} ?".replace("de a", "d’a").replace("de e", "d’e")]
    elif fact.kind == "name":
        made = [f"Que dit {label} à propos de : {words} ?", f"Dans quelle règle est-il question de : {words} ?"]
    elif fact.kind == "condition":
        made = [f"Que prévoit {label} pour ce cas : « {words} » ?", f"Quelle règle a la condition « {words} » ?"]
    elif fact.kind == "exception":
        made = [
            f"Quelle exception {label} fait-elle ?" if label.startswith("la ") else f"Quelle exception fait {label} ?"
        ]
    elif fact.kind == "norm" and words.lower().startswith(fact.who.lower()):
        rest = words[len(fact.who) :].strip()
        made = [f"Qui {rest} ?", f"Quelles sont les règles pour : {fact.who[:1].lower()}{fact.who[1:]} ?"]
        made = made[1:] if rest.startswith(("n", "peuvent", "doivent", "ont", "sont")) else made
    gap = f"{before} ___{behind if behind[:1] in ',.;' else f' {behind}'}".strip().rstrip(";,:")
    whole = len(before.split()) + len(behind.split()) >= 3 and fact.kind != "norm"
    gaps = [frame.format(gap=gap) for frame in _GAPS[: 2 if behind.strip(" .;!?") else 3]] if whole else []
    if not made and not gaps:
        made = [f"Que prévoit {label} ?"]
    return list(dict.fromkeys(made)), gaps


def _label_french(passage: Passage) -> str:
    """Return how a question names a clause: by its topic, else by its heading."""
    if about := topic(passage):
        return f"la règle « {about} »"
    heading = passage.heading[-1]
    return f"l’{heading[:1].lower()}{heading[1:]}" if heading.lower().startswith("article") else f"« {heading} »"
