"""The card's tables of the training data and of the training, from a run's settings and counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valign.models.terms import short_name
from valign.reporting.comparison import Comparison
from valign.reporting.numbers import finite_number, format_duration
from valign.reporting.subject import Subject

NOT_NOTED = "not noted"
_DATA = (("sft", "Questions with answers (D_sft)"), ("preference", "Pairs of answers (D_pref)"))
_SETTINGS = {
    "epochs": "epochs",
    "learning_rate": "learning rate",
    "batch_size": "batch size",
    "accumulate": "batches accumulated",
    "loss": "loss",
    "tokens": "tokens compared",
    "beta": "beta",
    "sft_weight": "weight of the SFT loss",
    "replay": "share of general instructions",
}


def data_facts(comparison: Comparison, subject: Subject) -> list[tuple[str, str]]:
    """Return what is to be said of the training data: name and value.

    Args:
        comparison: The arms.
        subject: The arm that the card is about.
    """
    if not subject.is_trained:
        return []
    found = []
    for kind, label in _DATA:
        counts = (comparison.funnel or {}).get(kind)
        if counts:
            dropped = {name: int(n) for name, n in counts.get("dropped", {}).items() if n}
            words = ", ".join(f"{n:,} ({name.replace('_', ' ')})" for name, n in dropped.items()) or "none"
            found.append(
                (label, f"{int(counts.get('kept', 0)):,} of {int(counts.get('made', 0)):,} kept; dropped: {words}")
            )
    teacher, synthesis = (_group(comparison.config, name) for name in ("teacher", "synthesis"))
    if teacher:
        name = short_name(str(teacher.get("model") or NOT_NOTED))
        found.append(
            ("Teacher", "none" if teacher.get("kind") == "none" else f"{name} ({teacher.get('kind', NOT_NOTED)})")
        )
    rows = synthesis.get("rows")
    if rows:
        found.append(("Given rows", "those that come with valign" if rows == "shipped" else "from a file"))
    waived = _group(synthesis, "filters").get("waive")
    if waived:
        found.append(("Filters waived for given rows", ", ".join(str(name) for name in waived)))
    held_out = synthesis.get("hold_out_clauses")
    if held_out:
        found.append(("Clauses held out of training", ", ".join(str(clause) for clause in held_out)))
    if comparison.artifacts.get("data"):
        found.append(("Hash of the data", str(comparison.artifacts["data"])))
    return found


def training_facts(comparison: Comparison, subject: Subject) -> list[tuple[str, str]]:
    """Return what is to be said of the training: name and value, stage by stage.

    Args:
        comparison: The arms.
        subject: The arm that the card is about.
    """
    if not subject.is_trained:
        return []
    found = [("Recipe", " then ".join(stage.upper() for stage in subject.arm.stages))]
    adapter = _group(comparison.config, "adapter")
    if adapter:
        sizes = [f"{name} {adapter[name]}" for name in ("rank", "alpha", "target_modules") if name in adapter]
        found.append(
            ("Trained", f"{adapter.get('kind', NOT_NOTED)}: {', '.join(sizes)}" if sizes else str(adapter.get("kind")))
        )
    for i, stage in enumerate(subject.arm.stages):
        key = "_".join(subject.arm.stages[: i + 1])
        found.append((stage.upper(), _stage(comparison, stage, key)))
        if comparison.artifacts.get(key):
            found.append((f"Hash of {stage.upper()}", str(comparison.artifacts[key])))
    seeds = subject.arm.scores.get("seeds") or [comparison.config.get("seed", NOT_NOTED)]
    found.append(("Seeds" if len(seeds) > 1 else "Seed", ", ".join(str(seed) for seed in seeds)))
    return found


def _stage(comparison: Comparison, stage: str, key: str) -> str:
    """Write a stage's settings, what it did and how long it took, as far as the run notes it."""
    settings, work = _group(comparison.config, stage), comparison.work.get(key, {})
    words = [f"{label} {settings[name]}" for name, label in _SETTINGS.items() if settings.get(name) is not None]
    steps, precision = finite_number(work.get("steps")), work.get("precision")
    words += [f"{steps:,.0f} steps"] if steps else []
    words += [f"in {precision}"] if precision else []
    seconds = finite_number(comparison.timings.get(key))
    words += [format_duration(seconds)] if seconds else []
    return ", ".join(words) or NOT_NOTED


def _group(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a group of settings; an empty one where there is none."""
    found = settings.get(name)
    return found if isinstance(found, Mapping) else {}
