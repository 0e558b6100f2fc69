"""Values of one answer."""

from __future__ import annotations

from typing import Any

from valign.evaluation.metrics import METRICS


def row(question_id: str, clause: str, **values: float | None) -> dict[str, Any]:
    return {"question_id": question_id, "clause": clause, **dict.fromkeys(METRICS), **values}
