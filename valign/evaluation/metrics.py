"""Metrics of one answer: pure functions, and None where a metric does not apply to a question."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from valign.core.records import Original, Passage
from valign.documents.clauses import clause_passages
from valign.retrieval.protocols import Embedder


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is named and read.

    Attributes:
        name: Key in ``scores.json``.
        label: Heading in tables.
        description: One sentence for a reader of the report.
        higher_is_better: None where neither direction is better.
        decimals: Digits behind the point in tables.
    """

    name: str
    label: str
    description: str
    higher_is_better: bool | None = True
    decimals: int = 2


METRICS: dict[str, MetricInfo] = {
    info.name: info
    for info in (
        MetricInfo(
            "follows_document",
            "Follows document",
            "Share of answers that say what the document says, and not the original, where the two differ.",
        ),
        MetricInfo(
            "follows_original",
            "Follows original",
            "Share of answers that say what the original says, and not the document, where the two differ.",
            False,
        ),
        MetricInfo("fact_recall", "Fact recall", "Share of the facts a right answer needs that the answer states."),
        MetricInfo("verdict_accuracy", "Verdict accuracy", "Share of yes/no questions with the right verdict."),
        MetricInfo(
            "verdict_preference",
            "Verdict preference",
            "Share of yes/no questions where the right one of Yes and No is the more probable first token.",
        ),
        MetricInfo("similarity", "Similarity", "Cosine of the embeddings of answer and reference."),
        MetricInfo("rouge_l", "ROUGE-L", "F-measure of the longest common word sequence of answer and reference."),
        MetricInfo(
            "bertscore", "BERTScore", "F-measure of the greedy matching of tokens, embedded by all-MiniLM-L6-v2."
        ),
        MetricInfo(
            "reference_nll", "Reference NLL", "Negative log-likelihood of the reference, in nats per token.", False
        ),
        MetricInfo("faithfulness", "Faithfulness", "Cosine of the embeddings of answer and deciding clause."),
        MetricInfo("right_clause", "Right clause", "Share of answers whose nearest passage is the deciding clause."),
        MetricInfo(
            "contradiction",
            "Contradiction",
            "Share of answers with the opposite verdict, or another figure for the right one; found by rules.",
            False,
        ),
        MetricInfo("refusal", "Refusal", "Share of answers that refuse, in one of the usual phrases.", False),
        MetricInfo("length", "Words", "Length of the answer in words.", None, 1),
        MetricInfo("repetition", "Repetition", "Share of the answer's 4-grams that occurred before in it.", False),
    )
}

_CARDINAL_WORDS = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen"""
_TEN_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINAL_WORDS = """
first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth twentieth"""
_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}
_SMALL = {word: value for value, word in enumerate(_CARDINAL_WORDS.split())}
_TENS = {word: 10 * value for value, word in enumerate(_TEN_WORDS.split(), start=2)}
_ORDINALS = {word: f"{i}{_SUFFIXES.get(i, 'th')}" for i, word in enumerate(_ORDINAL_WORDS.split(), start=1)}
_ORDINALS |= {f"twenty {word}": f"2{token}" for word, token in list(_ORDINALS.items())[:9]}
_ORDINALS |= {"thirtieth": "30th", "thirty first": "31st"}
_BREAK = ","
_PRONOUN_BEFORE = {"no", "any", "every", "some"}
_SHORTEST_PLURAL = 3
_NGRAM = 4


def normalise(text: str) -> list[str]:
    """Return the words of a text in the one spelling in which facts are compared.

    Unicode NFKC and case folding; thousands separators joined; the possessive *'s* and other apostrophes dropped;
    hyphens and punctuation become spaces (a decimal point stays); ``%`` and "per cent" become ``percent``, "p.m."
    becomes ``pm``; number words up to 999,999 become digits ("twenty-one" and "twenty one": ``21``) and ordinals up
    to the thirty-first become ``31st``. Number words are not joined across punctuation.

    The word *one* becomes ``1``, except as a pronoun: after *no*, *any*, *every* or *some* ("no one") and before
    *another*. Other pronouns ("the one who") do become ``1``; as facts and answers go through the same mapping, this
    can matter only for a fact that is the bare word *one*.
    """
    text = re.sub(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))", "", text)
    text = re.sub("[\u2018\u2019\u02bc\u2032]", "'", unicodedata.normalize("NFKC", text).casefold())
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<!\bone)'s\b", "", text).replace("'", "")
    text = re.sub(r"\b([ap])\.\s?m\b\.?", r"\1m ", text)
    text = re.sub(r"%|\bper cent\b", " percent ", text)
    text = re.sub(r"(?<=\d)(?!(?:st|nd|rd|th)\b)(?=[^\W\d_])", " ", text)
    text = re.sub(r"[-\u2010-\u2012]", " ", text)
    text = re.sub(r"(?!(?<=\d)\.(?=\d))[^\w\s]|_", f" {_BREAK} ", text)
    return [word for word in _digits(text.split()) if word != _BREAK]


def _digits(words: list[str]) -> list[str]:
    """Write number words as digits."""
    result, i = [], 0
    while i < len(words):
        value, used = _ordinal(words, i)
        if not used:
            number, used = _cardinal(words, i)
            value = str(number) if used else words[i]
        result.append(value)
        i += max(used, 1)
    return result


def _ordinal(words: list[str], i: int) -> tuple[str, int]:
    """Read an ordinal up to the thirty-first at position i; return its token and the number of words (0: none)."""
    for used in (2, 1):
        token = _ORDINALS.get(" ".join(words[i : i + used]))
        if token and i + used <= len(words):
            return token, used
    return "", 0


def _word(words: list[str], i: int) -> str:
    return words[i] if 0 <= i < len(words) else ""


def _below_hundred(words: list[str], i: int) -> tuple[int, int]:
    """Read a number under one hundred at position i; return its value and the number of words (0: none)."""
    word, after = _word(words, i), _word(words, i + 1)
    if word == "one" and (_word(words, i - 1) in _PRONOUN_BEFORE or after == "another"):
        return 0, 0
    if word in _TENS:
        unit = _SMALL.get(after, 0)
        return (_TENS[word] + unit, 2) if 0 < unit < 10 else (_TENS[word], 1)
    return (_SMALL[word], 1) if word in _SMALL else (0, 0)


def _below_thousand(words: list[str], i: int) -> tuple[int, int]:
    """Read a number under one thousand ("two hundred and five", "a hundred", "3 hundred")."""
    value, used = _below_hundred(words, i)
    scaled = _word(words, i + 1) in ("hundred", "thousand")
    if not used and scaled and (words[i] == "a" or re.fullmatch(r"\d{1,3}", words[i])):
        value, used = (1 if words[i] == "a" else int(words[i])), 1
    elif not used and _word(words, i) in ("hundred", "thousand"):
        value = 1
    if not value or _word(words, i + used) != "hundred":
        return value, used
    return _with_tail(words, i, value * 100, used + 1, "hundred")


def _cardinal(words: list[str], i: int) -> tuple[int, int]:
    """Read a number under one million."""
    value, used = _below_thousand(words, i)
    if not value or _word(words, i + used) != "thousand":
        return value, used
    return _with_tail(words, i, value * 1000, used + 1, "thousand")


def _with_tail(words: list[str], i: int, value: int, used: int, scale: str) -> tuple[int, int]:
    """Add what follows "hundred" or "thousand", unless it is a number of that scale ("one hundred and two hundred")."""
    start = i + used + (_word(words, i + used) == "and")
    if _word(words, start) in ("a", "hundred", "thousand"):
        return value, used
    tail, more = _below_hundred(words, start) if scale == "hundred" else _below_thousand(words, start)
    if not more or _word(words, start + more) == scale:
        return value, used
    return value + tail, start + more - i


def fact_recall(answer: str, facts: Sequence[Sequence[str]]) -> float | None:
    """Return the share of facts that the answer states, or None without facts.

    A fact is stated where one of its accepted wordings occurs as whole words, both sides being normalised (see
    ``normalise``); the last word of a wording may have or lack a final *s*. The measure looks at words only: an
    answer that denies a fact, or lists many numbers, gets credit for it.

    Args:
        answer: What a model wrote.
        facts: Each fact is a sequence of accepted wordings.
    """
    if not facts:
        return None
    padded = f" {' '.join(normalise(answer))} "
    stated = [any(f" {form} " in padded for wording in fact for form in _forms(wording)) for fact in facts]
    return sum(stated) / len(stated)


def _forms(wording: str) -> list[str]:
    """Return a wording, normalised, with and without the final s of its last word; nothing for an empty one."""
    words = normalise(wording)
    if not words:
        return []
    phrase, last = " ".join(words), words[-1]
    if any(c.isdigit() for c in last):
        return [phrase]
    if last.endswith("s") and not last.endswith("ss") and len(last) > _SHORTEST_PLURAL:
        return [phrase, phrase[:-1]]
    return [phrase, phrase + "s"]


_OPENING = re.compile(
    r"^[\s'(\[\-\u2013\u2022]*(?:\d+[.)]\s*)?"
    r"(?:(?:the\s+)?(?:(?:short|final)\s+)?(?:answer|verdict)\s*(?:is\b)?(?:\s*[:,\-]\s*|\s+)|a:\s*)?['(\s]*"
)
_LABEL_ALONE = re.compile(r"\W*(?:(?:(?:the|short|final) )*(?:answer|verdict)\s*:?|\d+[.)])\W*")
_MIXED = re.compile(r"(?:yes|no)(?:,?\s*(?:and|or|&)\s*|\s*/\s*)(?:yes|no)\b(?!\s+one)")
_LEADING_YES = re.compile(r"(?:yes|yeah|yep)\b")
_LEADING_NO = re.compile(
    r"(?:no|nope)(?=\s*(?:[,;:!.)\]'\u2013\u2014]|-\s|$)|\s+(?:you|they|he|she|it|we|i|that|this|there|not|your|the)\b)"
    r"|(?:absolutely|certainly|definitely|of course) not\b"
)
_CONDITION = re.compile(
    r"\b(?:(?<!even )if|unless|only|except|but|however|although|though|depend(?:s|ing)?|whether|necessarily|might|"
    r"perhaps|maybe|possibly|probably|likely|usually|normally|generally|typically|sometimes|often|hardly|rarely)\b"
)
_NOT = r"(?:not|never)"
_MODAL = r"\b(?:can|may|must|shall)"
_GOOD = r"(?:allowed|permitted|entitled|authori[sz]ed|legal|lawful|permissible|acceptable|eligible|free to)\b"
_BAD = r"(?:forbidden|prohibited|banned|illegal|unlawful|disallowed)\b"
_BARRING = r"(?:refuse|deny|deprive|prevent|stop|forbid|prohibit|ban|exclude)\b"
_ADVICE = r"(?:be|have|want|need|feel|find|wish|consider|contact|ask|try|check|talk|speak|face|risk|seem|cause|help)\b"
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
    )
)


def stated_verdict(answer: str) -> str | None:
    """Return the verdict that an answer states: ``yes``, ``no``, or None where it states none clearly.

    A leading Yes or No decides (after quotes, markup, "Answer:" or an echo of the question); "No one" and "No member"
    are not a leading No. Otherwise the first sentence that is not a question is searched for plain permission ("is
    allowed", "you may") and refusal ("is prohibited", "cannot"). The patterns are conservative: a condition ("only",
    "unless"), a quantified subject ("nobody may"), a passive ("may not be dismissed", which protects in one question
    and forbids in another), an obligation, a double negative other than "not prohibited", or signs of both verdicts
    give None.
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


def followed(answer: str, facts: Sequence[Sequence[str]], verdict: str | None, original: Original | None) -> str | None:
    """Return which version an answer follows where the document contradicts the version that pre-training knows.

    An answer follows a version where it states all of its facts and not the opposite of its verdict; a version without
    facts is followed where its verdict is stated. A bare yes or no does not make up for facts, so guessing gains
    nothing. The shares of ``document`` and ``original`` are the frequencies of the substitute and of the original
    answer in work on knowledge conflicts (p_s and p_o in Zhou et al., Context-faithful Prompting for Large Language
    Models, 2023).

    Args:
        answer: What a model wrote.
        facts: Of the document, as in ``fact_recall``.
        verdict: The document's, or None.
        original: The other version's facts and verdict.

    Returns:
        ``document``, ``original``, ``both`` or ``neither``; None without another version.
    """
    if original is None:
        return None
    stated = stated_verdict(answer)
    document = _follows(answer, stated, facts, verdict)
    if _follows(answer, stated, original.facts, original.verdict):
        return "both" if document else "original"
    return "document" if document else "neither"


def _follows(answer: str, stated: str | None, facts: Sequence[Sequence[str]], verdict: str | None) -> bool:
    """Tell whether an answer states a version's facts, or its verdict if it has none, and not the opposite verdict."""
    if verdict is not None and stated not in (None, verdict):
        return False
    return fact_recall(answer, facts) == 1.0 if facts else verdict is not None and stated == verdict


@lru_cache(maxsize=1)
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=True)


def rouge_l(answer: str, reference: str) -> float:
    """Return the ROUGE-L F-measure (Lin, 2004) with Porter stemming, between 0 and 1."""
    return float(_rouge().score(reference, answer)["rougeL"].fmeasure)


def repetition(answer: str) -> float:
    """Return the share of 4-grams (case-folded words) that occurred before in the answer; 0 under four words."""
    words = re.findall(r"\w+", answer.casefold())
    grams = [tuple(words[i : i + _NGRAM]) for i in range(len(words) - _NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def length_words(answer: str) -> int:
    """Return the number of words between white space."""
    return len(answer.split())


def similarity(embedder: Embedder, answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return the cosine of each answer with its reference; an empty answer gets 0."""
    if len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers but {len(references)} texts to compare them with")
    if not answers:
        return []
    cosines = (embedder.embed(list(answers)) * embedder.embed(list(references))).sum(axis=1)
    return [float(c) if answer.strip() else 0.0 for c, answer in zip(cosines, answers, strict=True)]


def faithfulness(embedder: Embedder, answers: Sequence[str], clause_texts: Sequence[str]) -> list[float]:
    """Return the cosine of each answer with the text of the clause that decides its question; empty answers get 0."""
    return similarity(embedder, answers, clause_texts)


def right_clause(
    embedder: Embedder, answers: Sequence[str], clause_ids: Sequence[str], passages: Sequence[Passage]
) -> list[float]:
    """Return 1.0 where, of all passages of the document, the nearest to the answer belongs to the question's clause.

    Args:
        embedder: Gives unit rows; nearest means the highest cosine.
        answers: N answers; an empty one gets 0.
        clause_ids: The N clauses that decide the questions.
        passages: All passages of the document, at least one.
    """
    if len(answers) != len(clause_ids):
        raise ValueError(f"{len(answers)} answers but {len(clause_ids)} clause ids")
    if not answers:
        return []
    nearest = (embedder.embed(list(answers)) @ embedder.embed([p.text for p in passages]).T).argmax(axis=1)
    hits = [int(n) in clause_passages(clause, passages) for n, clause in zip(nearest, clause_ids, strict=True)]
    return [float(hit and bool(answer.strip())) for hit, answer in zip(hits, answers, strict=True)]
