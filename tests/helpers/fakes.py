"""An embedder and teachers that need no model."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from valign.generation.requests import Completion, Request

WIDTH = 1024


class Bag:
    """Embeds a text as its counted words, so that cosines follow from common words."""

    id = "bag@1"

    def embed(self, texts: Sequence[str], /) -> np.ndarray:
        """Return one unit row for each text."""
        return np.stack([_counted(text) for text in texts]) if texts else np.zeros((0, WIDTH), np.float32)


@lru_cache(4096)
def _counted(text: str) -> np.ndarray:
    row = np.zeros(WIDTH, np.float32)
    for word in re.findall(r"\w+", text.lower()):
        row[zlib.crc32(word.encode()) % WIDTH] += 1
    return row / np.maximum(np.linalg.norm(row), 1e-9)


class Noting:
    """A teacher that notes what it is asked; what it says is up to those made from it."""

    def __init__(self) -> None:
        """Nothing was asked."""
        self.asked: list[Request] = []

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group all requests."""
        return [list(range(len(requests)))]


class Parrot:
    """A teacher that asks about words of the passage; each fourth of its completions is no question."""

    id = "parrot@1"

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group all requests."""
        return [list(range(len(requests)))]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Return as many completions as are asked for."""
        return [[self._one(request, i) for i in range(request.sampling.n)] for request in requests]

    def _one(self, request: Request, i: int) -> Completion:
        opening = request.openings[i] if request.openings else "What about"
        words = re.findall(r"[\w'-]+", request.messages[-1]["content"])
        begin = (5 * i) % max(1, len(words) - 9)
        text = f"{opening} {' '.join(dict.fromkeys(w.lower() for w in words[begin : begin + 9]))}"
        return Completion(text if i % 4 == 3 else f"{text}?", 20, i % 7 != 6)
