"""The names of arms for readers, and the order in which arms stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

ARM_LABELS = {
    "base": "base",
    "in_context": "in context",
    "rag": "RAG",
    "rag_bm25": "RAG (BM25)",
    "rag_embedding": "RAG (embedding)",
    "rag_oracle": "RAG (oracle)",
    "sft": "SFT",
    "dpo": "DPO",
    "sft_dpo": "SFT+DPO",
    "sft_dpo_rag": "SFT+DPO+RAG",
}


def is_arm_name(name: object) -> bool:
    """Tell whether something can be the name of an arm, and so of its folder in a run: no path leads out of there."""
    return isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name) is not None


def arm_label(arm: str) -> str:
    """Return an arm's name for readers; settings in brackets behind it stay as they are.

    >>> arm_label("sft_dpo (sft.epochs-3)")
    'SFT+DPO (sft.epochs-3)'
    """
    named, bracket, settings = arm.partition(" (")
    if bracket:
        return f"{arm_label(named)}{bracket}{settings}"
    model, _, way = arm.rpartition("_rag") if "_rag" in arm else arm.rpartition("_in_context")
    shown = arm[len(model) + 1 :]
    if arm not in ARM_LABELS and way in ("", "_bm25", "_embedding", "_oracle") and {model, shown} <= set(ARM_LABELS):
        return f"{ARM_LABELS[model]}+{ARM_LABELS[shown]}"
    return ARM_LABELS.get(arm, arm)


def sort_scores(scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the arms in the order of tables: base, RAG, SFT, DPO, SFT+DPO, SFT+DPO with RAG, then others as given."""
    order = {arm: i for i, arm in enumerate(ARM_LABELS)}
    return sorted(scores, key=lambda s: order.get(s["arm"], len(order)))
