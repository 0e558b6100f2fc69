"""Run folders of several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from valign.core.files import to_dict, write_json, write_jsonl
from valign.core.records import Answer, Passage
from valign.evaluation.scores import score_arm
from valign.runs.layout import RUN


def rows(seed: int | None, recall: dict[str, float]) -> list[dict[str, Any]]:
    named = {} if seed is None else {"seed": seed}
    return [
        {"question_id": q, "clause": f"d/{q}", "kind": "", "fact_recall": value, **named} for q, value in recall.items()
    ]


def run(folder: Path, seed: int, arms: dict[str, dict[str, float]], **config: Any) -> Path:
    """Write a run of some arms with a fact recall for each question."""
    for arm, recall in arms.items():
        place = folder / "arms" / arm
        values = rows(None, recall)
        said = [Answer(q, f"d/{q}", "Why?", "So.", f"{arm} {seed} {value}", arm) for q, value in recall.items()]
        base = None if arm == "base" else rows(None, arms["base"])
        write_jsonl(place / "answers.jsonl", [Answer(**{**vars(a), "answer": "I"}) for a in said] if not base else said)
        write_jsonl(place / "values.jsonl", values)
        write_json(place / "scores.json", score_arm(arm, values, base))
    details: dict[str, Any] = {key: {} for key in ("funnel", "timings", "artifacts")}
    write_json(
        folder / RUN,
        {
            **details,
            "curves": {"sft/loss": [[1, float(seed)]]},
            "config": {"seed": seed, "run_name": folder.name, **config},
            "arms": [{"name": arm, "stages": [] if arm == "base" else ["sft"]} for arm in arms],
            "document": {"title": "Rules", "sha256": "ab", "name": "d"},
            "experiment": "rules",
            "passages": [to_dict(Passage(f"d/{q}", (), "Nobody may.", 0, 11)) for q in BASE],
            "leak": None,
            "judge": None,
        },
    )
    return folder


BASE = {"q1": 0.0, "q2": 0.0}
