"""What a retriever and an embedder offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from valign.core.records import Passage

if TYPE_CHECKING:
    import numpy as np


class Retriever(Protocol):
    """Finds passages for questions."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Return the k best passages of each query (all of them where there are fewer), best first."""
        ...


class Embedder(Protocol):
    """Turns N texts into an (N, D) array whose rows have length 1."""

    def embed(self, texts: list[str], /) -> np.ndarray:
        """Return one unit row for each text."""
        ...


@runtime_checkable
class TokenEmbedder(Protocol):
    """Turns N texts into N arrays (tokens, D) whose rows have length 1."""

    def embed_tokens(self, texts: list[str], /) -> list[np.ndarray]:
        """Return the rows of each text's tokens, special tokens left out."""
        ...
