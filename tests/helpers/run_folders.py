"""Run folders with judged answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from valign.core.files import write_json, write_jsonl
from valign.core.records import Answer
from valign.evaluation.judging.judgement import Judgement
from valign.runs.layout import JUDGEMENTS, RUN


def judged_run(folder: Path, arms: dict[str, str], judge: str | None) -> Path:
    """Write a run whose arms gave one answer each, and in which every arm but the first beat the first."""
    for arm, text in arms.items():
        place = folder / "arms" / arm
        write_jsonl(place / "answers.jsonl", [Answer("q1", "d/1", "Why?", "So.", text, arm)])
        write_jsonl(place / "values.jsonl", [{"question_id": "q1", "clause": "d/1", "similarity": 0.5}])
        write_json(place / "scores.json", {"arm": arm, "n": 1, "metrics": {}, "by_clause": {}, "versus": {}})
    first, *others = arms
    write_jsonl(folder / JUDGEMENTS, [Judgement("q1", "d/1", arm, first, 1.0, 0) for arm in others])
    details: dict[str, Any] = {key: {} for key in ("funnel", "curves", "timings", "artifacts", "config")}
    write_json(
        folder / RUN,
        {
            **details,
            "arms": [{"name": arm} for arm in arms],
            "document": {"title": "Rules", "sha256": "ab"},
            "experiment": "rules",
            "passages": [],
            "leak": None,
            "judge": judge and {"kind": "api", "model": judge, "tie": 0.0, "warning": ""},
        },
    )
    return folder
