"""Verbatim quotes: which sentences of a passage answer a question, and where they stand in the document."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from valign.core.records import Passage
from valign.core.text import ENDS, IDEOGRAPHS, WIDE_ENDS, count_words, cut_at_rows, join_sentence_lines, row_breaks
from valign.retrieval.protocols import Embedder

SENTENCE = re.compile(rf"\S.*?(?:[{ENDS}](?=\s|$)|[{WIDE_ENDS}][\u201d\u2019\u300d\u300f\uff09]*|$)", re.S)
LIST_NUMBER = re.compile(r"(?:^|\n)[^\S\n]*\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,4})[.)]$")  # whose mark ends no sentence
ENDED = (".", "!", "?", *(set(ENDS + WIDE_ENDS) - {";", "\u037e", "\u061b", "\uff1b"}))


@dataclass(frozen=True)
class Quote:
    """Words of the document: ``document.text[start:end]``."""

    text: str
    start: int
    end: int

    @property
    def sentence(self) -> str:
        """The quote as a sentence of its own: a capital in front, a full stop behind, line breaks as spaces.

        Rows of a table stay lines.
        """
        words = join_sentence_lines(self.text).rstrip(";,:\uff1b\uff0c\uff1a\u061b\u060c ")
        if not words.endswith(ENDED):
            words += "\u3002" if re.search(f"[{IDEOGRAPHS}]$", words) else "."
        return words[:1].upper() + words[1:]


def split_sentences(passage: Passage) -> list[Quote]:
    """Split a passage at full stops, semicolons and a table's rows; every word lies in one of the pieces."""
    text = passage.text
    spans: list[tuple[int, int]] = []
    for found in SENTENCE.finditer(text):
        if spans and LIST_NUMBER.search(text[slice(*spans[-1])]):
            spans[-1] = (spans[-1][0], found.end())
        elif found.group().strip():
            spans.append(found.span())
    breaks = row_breaks(text)
    parts = [
        part
        for start, end in spans
        for part in pairwise([start, *breaks[bisect_right(breaks, start) : bisect_left(breaks, end)], end])
    ]
    pieces = [(b - len(text[a:b].lstrip()), a + len(text[a:b].rstrip())) for a, b in parts]
    return [Quote(text[a:b], passage.start + a, passage.start + b) for a, b in pieces if a < b]


def best_quote(question: str, passage: Passage, embedder: Embedder, max_words: int) -> Quote:
    """Return the part of a passage that answers a question.

    A passage of at most ``max_words`` words is quoted whole, so that no condition or exception is lost. Of a longer
    one, the run of neighbouring sentences around the one nearest in meaning, as many as fit.
    """
    if count_words(passage.text) <= max_words:
        return Quote(passage.text, passage.start, passage.end)
    pieces = split_sentences(passage)
    near = embedder.embed([piece.text for piece in pieces]) @ embedder.embed([question])[0]
    first = last = int(near.argmax())
    words = [count_words(piece.text) for piece in pieces]
    while True:
        room = max_words - sum(words[first : last + 1])
        before = first > 0 and words[first - 1] <= room
        behind = last + 1 < len(pieces) and words[last + 1] <= room
        if behind and (not before or near[last + 1] >= near[first - 1]):
            last += 1
        elif before:
            first -= 1
        else:
            return _join(passage, pieces[first : last + 1])


def _join(passage: Passage, pieces: Sequence[Quote]) -> Quote:
    start, end = pieces[0].start, pieces[-1].end
    return Quote(passage.text[start - passage.start : end - passage.start], start, end)


def find_unique_phrases(passages: Sequence[Passage], limit: int, stop: Collection[str]) -> dict[str, list[str]]:
    """Return, for each clause, phrases that only this clause of the document has, the longest first.

    A phrase is a run of words between stop words and punctuation (Rose et al., 2010, rapid automatic keyword
    extraction), at most three words long.

    Args:
        passages: The document's passages.
        limit: Phrases of a clause.
        stop: Stop words, in lower case; there are no phrases where there are none.
    """
    if not stop:
        return {passage.clause: [] for passage in passages}
    found: dict[str, list[str]] = {}
    for passage in passages:
        runs: list[str] = []
        for part in (part for row in cut_at_rows(passage.text) for part in re.split(r"[^\w\s'-]+", row)):
            run: list[str] = []
            for word in [*part.split(), ""]:
                if word and word.lower() not in stop and not word.isdigit():
                    run.append(word.lower())
                elif run:
                    runs.append(" ".join(run[:3]))
                    run = []
        found[passage.clause] = list(dict.fromkeys(runs))
    places = _Places({p.clause: " ".join(p.text.lower().split()) for p in passages})
    unique: dict[str, list[str]] = {}
    for clause, runs in found.items():
        own = [r for r in runs if len(r) > 3 and not places.is_in_another(r, clause)]
        unique[clause] = sorted(own, key=lambda r: (-len(r.split()), runs.index(r)))[:limit]
    return unique


class _Places:
    """Texts of single-spaced words, to find those that hold a phrase without reading all of them."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self.clauses: dict[str, list[str]] = {}
        for clause, text in texts.items():
            for word in dict.fromkeys(text.split()):
                self.clauses.setdefault(word, []).append(clause)
        self.ends = sorted((word[i:], word) for word in self.clauses for i in range(len(word)))

    def is_in_another(self, phrase: str, clause: str) -> bool:
        """Tell whether another text than the clause's has the phrase, which may begin and end inside a word."""
        parts = phrase.split(" ")
        rarest = min((self._words(part, i > 0, i + 1 < len(parts)) for i, part in enumerate(parts)), key=self._count)
        return any(other != clause and phrase in self.texts[other] for word in rarest for other in self.clauses[word])

    def _count(self, words: Sequence[str]) -> int:
        return sum(len(self.clauses[word]) for word in words)

    def _words(self, part: str, is_begun: bool, is_ended: bool) -> list[str]:
        """Return the words that hold a part, at their beginning where another part is before it, and so at the end."""
        if is_begun and is_ended:
            return [part] if part in self.clauses else []
        found = set()
        for i in range(bisect_left(self.ends, (part,)), len(self.ends)):
            end, word = self.ends[i]
            if not end.startswith(part) or (is_ended and end != part):
                break
            if not is_begun or end == word:
                found.add(word)
        return sorted(found)
