"""The jobs of the study on development questions: ``python experiments/teacher_size/jobs.py > jobs.jsonl``.

``run.py`` runs them. Each has the shipped rows of a large teacher; what differs is in its name.
"""

from __future__ import annotations

import json
from pathlib import Path

DEVELOPMENT = Path(__file__).resolve().parents[2] / "valign" / "documents" / "data" / "udhr_dev_questions.jsonl"
SETTINGS = {
    "declaration": ["+experiment=udhr_large", f"evaluation.questions={DEVELOPMENT}"],
    "saltmarsh": [
        *("+experiment=lanternfield", "document=saltmarsh", "teacher=none", "synthesis.rows=shipped"),
        *("synthesis.filters.waive=[relevance,faithfulness,grounding]", "synthesis.instructions.chosen_answers=true"),
        *("synthesis.preferences.claim_pairs_per_passage=0", "dpo.epochs=2", "dpo.sft_weight=0.2", "dpo.beta=0.1"),
    ],
}
CASES_ALONE = "synthesis.instructions.chosen_answers=false"
VARIANTS = {
    "declaration": {
        "rows": [CASES_ALONE, "dpo.beta=0.1"],
        "rows-3": [CASES_ALONE, "dpo.beta=0.1", "sft.epochs=3"],
        "chosen": ["dpo.beta=0.1"],
        "chosen-3": ["dpo.beta=0.1", "sft.epochs=3"],
        "chosen-beta": [],
        "chosen-weight": ["dpo.beta=0.1", "dpo.sft_weight=1.0"],
        "chosen-once": ["dpo.beta=0.1", "dpo.epochs=1"],
        "chosen-rate": ["dpo.beta=0.1", "dpo.learning_rate=2e-4"],
    },
    "saltmarsh": {
        "rows-3": [CASES_ALONE, "sft.epochs=3"],
        "chosen-3": ["sft.epochs=3"],
        "chosen-5": ["sft.epochs=5"],
        "chosen-3-beta": ["sft.epochs=3", "dpo.beta=0.3"],
        "chosen-3-once": ["sft.epochs=3", "dpo.epochs=1", "dpo.sft_weight=1.0"],
    },
}


def list_jobs(seeds: range = range(5)) -> list[dict[str, object]]:
    """Return the jobs, all variants of a seed before the next seed."""
    common = ["logger=none", "evaluation.judge=null", "evaluation.tax.measure=false"]
    return [
        {
            "name": f"{name}-{seed}",
            "overrides": [
                *SETTINGS[document],
                *common,
                f"experiment_name=teacher_size_{document}",
                *more,
                f"seed={seed}",
            ],
        }
        for seed in seeds
        for document, variants in VARIANTS.items()
        for name, more in variants.items()
    ]


if __name__ == "__main__":
    for job in list_jobs():
        print(json.dumps(job))
