"""What the page has computed beyond the arms' own scores, as JSON, for other programs and for trackers."""

from __future__ import annotations

from typing import Any

from valign.evaluation.differences import LEVEL, POWER
from valign.reporting.comparison import Comparison
from valign.reporting.differences import differences, sentences
from valign.reporting.lookup import lookups


def summary(comparison: Comparison) -> dict[str, Any]:
    """Return the content of ``comparison.json``.

    ``differences`` are tested with clustered errors and corrected over the whole list (``p_holm``);
    ``smallest_effect`` is the true difference that as many questions find with the power.
    """
    rows = differences(comparison)
    return {
        "experiment": comparison.experiment,
        "arms": [result.arm for result in comparison.arms],
        "level": LEVEL,
        "power": POWER,
        "findings": sentences(rows),
        "differences": [row.to_json() for row in rows],
        "wins": comparison.wins.to_json() if comparison.wins is not None else None,
        "retrieval": [row.to_json() for row in lookups(comparison)],
    }
