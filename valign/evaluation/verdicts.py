"""The verdict that an answer states: yes, no or neither."""

from __future__ import annotations

import re
import unicodedata

VERDICTS = {"yes": "yes", "no": "no", "oui": "yes", "non": "no"}
"""Words that state a verdict at the beginning of an answer, in every language that has word lists."""
_OPENING = re.compile(
    r"^[\s'(\[\-\u2013\u2022]*(?:\d+[.)]\s*)?"
    r"(?:(?:the\s+)?(?:(?:short|final)\s+)?(?:answer|verdict|r\u00e9ponse)\s*(?:is\b)?"
    r"(?:\s*[:,\-]\s*|\s+)|a:\s*)?['(\s]*"
)
_LABEL_ALONE = re.compile(r"\W*(?:(?:(?:the|short|final) )*(?:answer|verdict)\s*:?|\d+[.)])\W*")
_MIXED = re.compile(r"(?:yes|no|oui|non)(?:,?\s*(?:and|or|et|ou|&)\s*|\s*/\s*)(?:yes|no|oui|non)\b(?!\s+one)")
_LEADING_YES = re.compile(r"(?:yes|yeah|yep|oui)\b")
_LEADING_NO = re.compile(
    r"(?:no|nope)(?=\s*(?:[,;:!.)\]'\u2013\u2014]|-\s|$)|\s+(?:you|they|he|she|it|we|i|that|this|there|not|your|the)\b)"
    r"|(?:absolutely|certainly|definitely|of course) not\b"
    r"|non(?=\s*(?:[,;:!.)\]'\u2013\u2014]|-\s|$)|\s+(?:il|ils|elles?|on|vous|tu|nous|je|cela|ce)\b)"
)
_CONDITION = re.compile(
    r"\b(?:(?<!even )if|unless|only|except|but|however|although|though|depend(?:s|ing)?|whether|necessarily|might|"
    r"perhaps|maybe|possibly|probably|likely|usually|normally|generally|typically|sometimes|often|hardly|rarely"
    r"|si|s'ils?|sauf|seulement|uniquement|mais|cependant|toutefois|pourtant|peut-\u00eatre|probablement"
    r"|g\u00e9n\u00e9ralement|normalement|parfois|souvent|rarement|lorsqu(?:e|')|quand|\u00e0 moins|\u00e0 condition"
    r"|d\u00e9pend\w*|bien qu(?:e|'))(?!\w)"
)
_NOT = r"(?:not|never)"
_MODAL = r"\b(?:can|may|must|shall)"
_GOOD = r"(?:allowed|permitted|entitled|authori[sz]ed|legal|lawful|permissible|acceptable|eligible|free to)\b"
_BAD = r"(?:forbidden|prohibited|banned|illegal|unlawful|disallowed)\b"
_BARRING = r"(?:refuse|deny|deprive|prevent|stop|forbid|prohibit|ban|exclude)\b"
_ADVICE = r"(?:be|have|want|need|feel|find|wish|consider|contact|ask|try|check|talk|speak|face|risk|seem|cause|help)\b"
_PEUT = r"(?:peux|peut|puis|pouvez|pouvons|peuvent)"
_PERMIS = r"(?:autoris|permis|admis|libre|l\u00e9ga|l\u00e9gi|en droit)\w*"
_INTERDIT = r"(?:interdi|prohib|d\u00e9fendu|ill\u00e9ga)\w*"
_FRENCH_PATTERNS = (
    (r"\b(?:nul|nulle|personne|aucune?|rien|ni)\b", "unclear"),
    (rf"\b(?:cela|\u00e7a|ce|ceci|qui|que|o\u00f9|comment) (?:ne )?{_PEUT}\b", "unclear"),
    (
        rf"\bne {_PEUT} (?:pas|plus) (?:lui |leur |vous |en |y )?(?:\u00eatre|refuser|interdire|exclure|priver)\b",
        "unclear",
    ),
    (rf"\b{_PEUT} (?:\u00eatre|avoir|refuser|interdire|exclure|vous|contacter|demander|vouloir)\b", "unclear"),
    (rf"\bn(?:e |')(?:est|sont|\u00eates) (?:pas|plus) {_INTERDIT}", "yes"),
    (rf"\bne {_PEUT} (?:pas|plus)\b|\bn(?:e |')(?:est|sont|\u00eates) (?:pas|plus) {_PERMIS}", "no"),
    (r"\bn'(?:ai|as|a|avez|avons|ont) (?:pas|plus) (?:le |ce |de )?droit\b", "no"),
    (r"\bcontraire (?:\u00e0 la|aux) (?:loi|r\u00e8gles?)", "no"),
    (rf"\b(?:est|sont) (?:\w+ )?{_INTERDIT}", "no"),
    (r"\bn(?:e |')(?=\w)", "negated"),
    (rf"\b(?:est|sont|\u00eates) (?:\w+ )?{_PERMIS}|\b{_PEUT}\b", "yes"),
    (r"\b(?:vous|tu|il|elle|on|ils|elles) (?:avez|as|a|ont) (?:bien |tout )?(?:le )?droit\b", "yes"),
)
_VERDICT_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), verdict)
    for pattern, verdict in (
        (r"\b(?:have|has) no right\b|\b(?:do|does) not have (?:the|a|any) right\b", "no"),
        (r"\b(?:no|nobody|none|nothing|neither|nor)\b", "unclear"),
        (r"\b(?:i|it|this|that|there|who|which|what|how) (?:can|may)\b", "unclear"),
        (rf"{_MODAL} {_NOT} (?:\w+ )?(?:be\b|{_BARRING})", "unclear"),
        (rf"\b(?:can|may) (?:\w+ )?(?:{_ADVICE}|{_BARRING})", "unclear"),
        (rf"\bnot (?:\w+ )?{_BAD}", "yes"),
        (rf"\b{_NOT} (?:\w+ )?{_GOOD}|{_MODAL} {_NOT}\b|\bagainst the (?:rules?|law)\b", "no"),
        (rf"\b(?:is|are|be) (?:\w+ )?{_BAD}", "no"),
        (rf"\b{_NOT}\b", "negated"),
        (rf"\b(?:is|are|be) (?:\w+ )?{_GOOD}|\b(?:can|may)\b", "yes"),
        (r"\b(?:you|he|she|they|we) (?:\w+ )?(?:have|has) (?:the|a|every) right\b", "yes"),
        *_FRENCH_PATTERNS,
    )
)


def stated_verdict(answer: str) -> str | None:
    """Return the verdict that an answer states: ``yes``, ``no``, or None where it states none clearly.

    English and French are read. A leading Yes or No (Oui, Non) decides (after quotes, markup, "Answer:" or an echo
    of the question); "No one" and "No member" are not a leading No. Otherwise the first sentence that is not a
    question is searched for plain permission ("is allowed", "you may") and refusal ("is prohibited", "cannot"). The
    patterns are conservative: a condition ("only", "unless"), a quantified subject ("nobody may"), a passive ("may
    not be dismissed", which protects in one question and forbids in another), an obligation, a double negative
    other than "not prohibited", or signs of both verdicts give None.
    """
    text = unicodedata.normalize("NFKC", answer).casefold()
    text = re.sub("[\u2018\u2019\u02bc]", "'", re.sub('[*_#>`"\u201c\u201d\u00ab\u00bb]', "", text))
    sentences = [s for s in re.split(r"(?<=[.!?])['\])]*\s+|\n+", text.strip()) if re.search(r"\w", s)]
    statements = [s for s in sentences if not s.rstrip(" ')]").endswith("?")]
    if len(statements) > 1 and _LABEL_ALONE.fullmatch(statements[0]):
        statements = statements[1:]
    sentence = _OPENING.sub("", statements[0]).strip() if statements else ""
    if _MIXED.match(sentence):
        return None
    if _LEADING_YES.match(sentence):
        return "yes"
    if _LEADING_NO.match(sentence):
        return "no"
    return _sentence_verdict(sentence)


def _sentence_verdict(sentence: str) -> str | None:
    """Search one case-folded sentence for permission and refusal; each match is removed before the next pattern."""
    sentence = re.sub(r"\bcan't\b|\bcannot\b", "can not", sentence)
    sentence = re.sub(r"\bno longer\b", "not", re.sub(r"n't\b", " not", sentence))
    if _CONDITION.search(sentence):
        return None
    found = set()
    for pattern, verdict in _VERDICT_PATTERNS:
        sentence, count = pattern.subn(" | ", sentence)
        if count:
            found.add(verdict)
    if found == {"yes"}:
        return "yes"
    return "no" if found - {"negated"} == {"no"} else None


def verdict_correct(answer: str, verdict: str | None) -> float | None:
    """Return 1.0 where the answer states the right verdict, 0.0 where it does not, None for a question without one."""
    return None if verdict is None else float(stated_verdict(answer) == verdict)
