"""What each stage took: time, work, and the teacher's calls with their price where one is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valign.reporting.comparison import Comparison
from valign.reporting.numbers import finite_number, format_number
from valign.teachers.usage import cost

_WORK = {
    "instructions": "examples of D_sft",
    "preferences": "pairs of D_pref",
    "general": "general instructions",
    "examples": "examples",
    "steps": "steps",
    "supervised_tokens": "tokens with a loss",
    "questions": "questions",
    "judgements": "judgements",
    "calls": "new calls of the teacher",
    "calls_cached": "calls from the cache",
}


@dataclass(frozen=True)
class StageCost:
    """One stage: its seconds, their share of all in percent, and what it did in words."""

    stage: str
    seconds: float
    share: float
    work: str


@dataclass(frozen=True)
class Costs:
    """All stages; ``teacher`` says in a sentence what the teacher's calls took, or nothing."""

    seconds: float
    stages: list[StageCost]
    teacher: str


def stage_costs(comparison: Comparison) -> Costs:
    """Collect the stages' times in the order in which they were given."""
    total = sum(comparison.timings.values())
    stages = [
        StageCost(stage, spent, round(100 * spent / total, 1) if total else 0.0, _work(comparison.work.get(stage, {})))
        for stage, spent in comparison.timings.items()
    ]
    return Costs(total, stages, _teacher(comparison))


def _work(counts: Mapping[str, Any]) -> str:
    """Write what a manifest counts, without the zeros."""
    found = {name: finite_number(counts.get(name)) for name in _WORK}
    words = [f"{value:,.0f} {_WORK[name]}" for name, value in found.items() if value]
    return ", ".join([*words, *([f"in {counts['precision']}"] if "precision" in counts else [])])


def _teacher(comparison: Comparison) -> str:
    """Say what the calls behind the data took: tokens, and their price where the config has prices."""
    counts = comparison.work.get("data", {})
    prompt, completion = (finite_number(counts.get(f"{kind}_tokens")) for kind in ("prompt", "completion"))
    if prompt is None or completion is None:
        return ""
    teacher = comparison.config.get("teacher")
    settings = teacher if isinstance(teacher, Mapping) else {}
    price = cost(prompt, completion, finite_number(settings.get("price_in")), finite_number(settings.get("price_out")))
    if price is not None and settings.get("kind") == "batch":
        price *= finite_number(settings.get("batch_discount")) or 1.0
    tokens = f"{prompt:,.0f} prompt tokens and {completion:,.0f} completion tokens"
    ending = "no price was given" if price is None else f"at the prices given, {format_number(price)}"
    return f"The teacher's calls for the training data took {tokens}, whenever they were made; {ending}."
