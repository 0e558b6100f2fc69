"""Sets of words, and of those the one that is most like another: all are compared at once, by the words they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable


class WordIndex:
    """Sets of words by their words, to find the highest Jaccard index of another set with any of them."""

    def __init__(self, sets: Iterable[Collection[str]]) -> None:
        """Note in which sets each word is; equal sets count once."""
        import numpy as np

        places: dict[str, list[int]] = defaultdict(list)
        distinct = dict.fromkeys(frozenset(words) for words in sets)
        for i, words in enumerate(distinct):
            for word in words:
                places[word].append(i)
        self._sizes = np.array([len(words) for words in distinct], np.int64)
        self._places = {word: np.array(found, np.int64) for word, found in places.items()}
        self._known: dict[frozenset[str], float] = {}

    def nearest(self, words: Collection[str]) -> float:
        """Return the highest Jaccard index with a set, 0 where no set shares a word."""
        import numpy as np

        own = frozenset(words)
        if own not in self._known:
            met = [self._places[word] for word in own if word in self._places]
            best = 0.0
            if met:
                shared = np.bincount(np.concatenate(met), minlength=len(self._sizes))
                best = float((shared / (len(own) + self._sizes - shared)).max())
            self._known[own] = best
        return self._known[own]
