"""What is written, and how much: the library's side of ``synthesis`` in ``conf/config.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """What is written, and how much; see ``synthesis`` in ``conf/config.yaml``."""

    questions_per_passage: int
    phrases_per_passage: int
    recitations_per_passage: int
    claims_per_passage: int
    claim_pairs_per_passage: int
    scenarios_per_passage: int
    held_out_per_passage: int
    rejected: Mapping[str, float]
    answers: str
    max_quote_words: int
    openings: tuple[str, ...]
    scenario_openings: tuple[str, ...]
    temperature: float
    top_p: float
    max_new_tokens: int
    examples_per_fact: int = 0
    extract: str = "rules"
    kinds: Mapping[str, float] = field(default_factory=lambda: {"question": 1.0})
    personas: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    cite: bool = False
    templates: str | None = None
    faithfulness: str = "embedding"
    faithfulness_model: str | None = None
    min_instructions: int = 0
    min_preferences: int = 0
    min_questions: int = 0
    top_up_rounds: int = 0
    waive_coverage: bool = False
    hold_out_clauses: tuple[str, ...] = ()
