"""Checks of a text that need no model: its language, refusals, repetition, and wordings met before."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from valign.core.text import runs_of, words

LEAST_SCRIPT = 0.05
SHINGLE = 5
PERMUTATIONS = 128
CANDIDATES_FROM = 0.5
CUT_OFF = "\N{REPLACEMENT CHARACTER} cut off"  # stands for an answer that broke off


def repeated_share(text: str) -> float:
    """Return the share of a text's runs of three words that occurred in it before.

    >>> repeated_share("on and on and on and on")
    0.6
    """
    runs = runs_of(words(text), 3)
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


class Language:
    """How well a text fits the language of a document: by script, and by the stop words of some languages.

    Args:
        texts: The document's passages.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        letters = count_scripts(" ".join(texts))
        self.scripts = {name for name, n in letters.items() if n >= LEAST_SCRIPT * letters.total()}
        tokens = [word for text in texts for word in words(text)]
        counts = {name: sum(word in stop for word in tokens) for name, stop in _stop_words().items()}
        self.name = max(counts, key=lambda name: counts[name])
        self.known = counts[self.name] >= 0.1 * max(1, len(tokens))

    def score(self, text: str) -> float:
        """Return a number from 0 to 1, below 0.5 for another language.

        It is the share of letters in the document's scripts. Where another language has more of the text's stop words
        than the document's own has, it is multiplied by (own + 1) / (own + other + 1). Where the document's language
        is not among the lists, the script alone decides.
        """
        letters = count_scripts(text)
        share = sum(n for name, n in letters.items() if name in self.scripts) / letters.total() if letters else 1.0
        if not self.known:
            return share
        tokens = set(words(text))
        own = len(tokens & _stop_words()[self.name])
        other = max(len(tokens & stop) for name, stop in _stop_words().items() if name != self.name)
        return share * (own + 1) / (own + other + 1) if other > own else share


class Wordings:
    """Texts met so far, to find those of nearly the same letters (MinHash over runs of five letters)."""

    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self._index = MinHashLSH(threshold=CANDIDATES_FROM, num_perm=PERMUTATIONS)
        self._hashes: list[Any] = []

    def nearest(self, text: str) -> float:
        """Return the estimated Jaccard similarity with the nearest text, or 0 where that is below about 0.5."""
        own = _hash(text)
        found = [own.jaccard(self._hashes[i]) for i in self._index.query(own)]
        return max(found, default=0.0)

    def add(self, text: str) -> None:
        """Remember a text."""
        own = _hash(text)
        self._index.insert(len(self._hashes), own)
        self._hashes.append(own)


def count_scripts(text: str) -> Counter[str]:
    """Count a text's letters by script, as the first word of their Unicode name.

    >>> sorted(count_scripts("Haus дом 12").items())
    [('CYRILLIC', 3), ('LATIN', 4)]
    """
    return Counter(_script(letter) for letter in text if letter.isalpha())


@cache
def _script(letter: str) -> str:
    return unicodedata.name(letter, "unknown").split()[0]


def stop_words_of(language: str) -> frozenset[str]:
    """Return the stop words of a language by the name that ``Language`` gives it."""
    return _stop_words()[language]


@cache
def _stop_words() -> dict[str, frozenset[str]]:
    from bm25s import stopwords

    # English first: it is taken where another language has as many of a short text's words
    names = "EN_PLUS DANISH DUTCH FRENCH GERMAN ITALIAN NORWEGIAN PORTUGUESE RUSSIAN SPANISH SWEDISH TURKISH".split()
    return {name: _flat(getattr(stopwords, f"STOPWORDS_{name}")) for name in names}


def _flat(listed: Iterable[str]) -> frozenset[str]:
    """Return a list's words as ``words`` would find them: no apostrophes."""
    return frozenset(part for word in listed for part in words(word) if len(part) > 1 or part in "ai")


@cache
def _empty_hash() -> Any:
    """Return the hash of nothing, whose permutations all others share, as drawing them takes long."""
    from datasketch import MinHash

    return MinHash(num_perm=PERMUTATIONS, seed=1)


@lru_cache(maxsize=64)
def _hash(text: str) -> Any:
    plain = " ".join(words(text))
    found = _empty_hash().copy()
    found.update_batch([plain[i : i + SHINGLE].encode() for i in range(max(1, len(plain) - SHINGLE + 1))])
    return found
