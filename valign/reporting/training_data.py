"""Where the training data came from: funnels of the filters, and what evaluation questions share with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valign.reporting.comparison import Comparison
from valign.reporting.numbers import finite_number, format_number

_FACTS = "facts"
_DATA_TITLES = {"sft": "Questions and answers (D_sft)", "preference": "Pairs of answers (D_pref)"}


@dataclass(frozen=True)
class FunnelStep:
    """One row of a funnel; ``share`` is the percentage of what was made."""

    name: str
    count: int
    share: float
    kind: str


@dataclass(frozen=True)
class FunnelTable:
    """How many examples of one kind were made, dropped by each filter, and kept."""

    title: str
    steps: list[FunnelStep]


def written_data(comparison: Comparison) -> dict[str, Mapping[str, Any]]:
    """Return the counts of each kind of data of which something was written."""
    return {kind: counts for kind, counts in (comparison.funnel or {}).items() if counts.get("made")}


def funnels(comparison: Comparison) -> list[FunnelTable]:
    """Return the funnel of each kind of training data, filters in the order in which they were given."""
    found = []
    for kind, counts in written_data(comparison).items():
        if kind == _FACTS:
            continue
        made = int(counts.get("made", 0))
        steps = [("Written by the teacher", made, "made")]
        steps += [
            (f"Dropped by filter: {name.replace('_', ' ')}", int(n), "dropped") for name, n in counts["dropped"].items()
        ]
        steps.append(("Kept for training", int(counts.get("kept", 0)), "kept"))
        rows = [FunnelStep(name, n, round(100 * n / made, 1) if made else 0.0, step) for name, n, step in steps]
        found.append(FunnelTable(_DATA_TITLES.get(kind, kind), rows))
    return found


def review_rows(comparison: Comparison) -> list[tuple[str, list[int]]]:
    """Return each kind of data with its rows as written, and how many people read, kept, edited, dropped and added."""
    sets = (comparison.funnel or {}).get("review", {}).get("sets", {})
    columns = ("rows", "read", "kept", "edited", "dropped", "added")
    return [(str(name), [int(counts.get(column, 0)) for column in columns]) for name, counts in sets.items()]


def leak_sentence(comparison: Comparison) -> str:
    """Say how many evaluation questions share a run of words with a training question."""
    if comparison.leak is None:
        return "The overlap of the evaluation questions with the training data was not measured."
    rate = finite_number(comparison.leak.get("rate")) or 0.0
    nearest = comparison.leak.get("max_jaccard")
    found = [finite_number(value) for value in (nearest if isinstance(nearest, list | tuple) else [nearest])]
    top = max((value for value in found if value is not None), default=None)
    close = "" if top is None else f" The closest two have {100 * top:.0f}% of their words in common."
    share = f"{100 * rate:.1f}%" if rate or leak_rows(comparison) else "None"
    repeats = f"{share} of the evaluation questions repeat a run of words of a training question.{close}"
    return " ".join(filter(None, [repeats, _wording_sentence(comparison.leak.get("wording"))]))


def _wording_sentence(found: Any) -> str:
    """Say how many verdicts the questions' words alone tell; nothing where that was not measured."""
    names = ("accuracy", "accuracy_yes", "accuracy_no")
    shares = [finite_number(found.get(name)) for name in names] if isinstance(found, Mapping) else [None]
    if None in shares:
        return ""
    of_all, yes, no = (format_number(share) for share in shares)
    return (
        f"From their words alone, as training questions are worded, {of_all} of the verdicts are guessed rightly "
        f"(yes {yes}, no {no}); verdict accuracy that is no higher shows nothing beyond wording."
    )


def leak_rows(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return the questions that leak: the question, the training question, the words they share."""
    rows = (comparison.leak or {}).get("questions", [])
    keys = ("question", "training", "shared")
    found = [row if isinstance(row, Mapping) else {"question": row} for row in rows]
    return [(str(row.get(keys[0], "")), str(row.get(keys[1], "")), str(row.get(keys[2], ""))) for row in found]
