"""What a recipe compares: its arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valign.retrieval.search import WHOLE_DOCUMENT

IN_CONTEXT = "in_context"


@dataclass(frozen=True)
class Arm:
    """A way to answer: the training stages behind the model, and whether and how it looks passages up.

    Attributes:
        name: Such as ``sft_dpo`` or ``rag``.
        stages: What was trained, in order.
        retrieval: Whether passages of the document are in the prompt.
        retriever: What finds them: ``bm25``, ``embedding``, ``oracle`` or ``document``; None for ``retrieval.kind``.
    """

    name: str
    stages: tuple[str, ...]
    retrieval: bool
    retriever: str | None = None


def recipe_arms(stages: Sequence[str], retrieval: bool, retriever: str | None = None) -> list[Arm]:
    """Return the arms that a recipe compares: base, each step on its way, and with retrieval where it has that.

    >>> [arm.name for arm in recipe_arms(["sft", "dpo"], False)]
    ['base', 'sft', 'sft_dpo']
    >>> [arm.name for arm in recipe_arms([], True, "oracle")]
    ['base', 'rag_oracle']
    """
    arms = [Arm("_".join(stages[:i]) or "base", tuple(stages[:i]), False) for i in range(len(stages) + 1)]
    if retrieval:
        way = IN_CONTEXT if retriever == WHOLE_DOCUMENT else f"rag_{retriever}" if retriever else "rag"
        arms.append(Arm("_".join((*stages, way)), tuple(stages), True, retriever))
    return arms
