"""What retrieval can be told."""

from __future__ import annotations

from dataclasses import dataclass

from valign.core.settings import setting

SEARCHES = ("bm25", "embedding")
RETRIEVERS = (*SEARCHES, "oracle", "document")


@dataclass(frozen=True, kw_only=True)
class RetrievalSettings:
    """How RAG finds passages.

    Attributes:
        kind: By words (BM25) or by meaning (embeddings).
        top_k: Passages a question.
    """

    kind: str = setting(choices=SEARCHES)
    top_k: int = setting(above=0)
