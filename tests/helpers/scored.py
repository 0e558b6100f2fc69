"""A comparison of arms with given values."""

from __future__ import annotations

from typing import Any

from valign.reporting.comparison import ArmResult, Comparison


def comparison() -> Comparison:
    """Return two arms on four clauses: similarity and length differ, fact recall differs on two clauses."""
    base = {"fact_recall": [0.0, 0.0, 0.0, 0.0], "similarity": [0.1, 0.2, 0.3, 0.4], "length": [9.0] * 4}
    tuned = {"fact_recall": [1.0, 1.0, 0.0, 0.0], "similarity": [0.6, 0.8, 0.7, 1.0], "length": [1.0, 2.0, 3.0, 4.0]}
    arms = []
    for name, columns in (("base", base), ("sft", tuned)):
        rows: list[dict[str, Any]] = [
            {"question_id": f"q{i}", "clause": f"c{i}", **{m: values[i] for m, values in columns.items()}}
            for i in range(4)
        ]
        cells = {m: {"mean": sum(values) / 4, "ci95": [0.2, 0.8], "n": 4} for m, values in columns.items()}
        versus = {"base": cells, "elsewhere": cells} if name == "sft" else {}
        arms.append(ArmResult(name, {"arm": name, "n": 4, "metrics": cells, "versus": versus}, [], rows))
    return Comparison("Rules", "rules", "ab", [], arms)
