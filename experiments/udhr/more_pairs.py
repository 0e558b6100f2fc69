"""What DPO adds with other pairs and another beta: ``python experiments/udhr/more_pairs.py RUN``.

RUN is the folder of a finished run of ``udhr_long``, whose SFT is trained on by DPO in each variant. The contrast cases
(``contrast_rows.jsonl``) are pairs that this SFT has not seen. Of each variant a line is printed: verdict preference on
development cases and questions, balanced over yes and no, and the reference NLL.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from valign.core.files import read_json, read_jsonl
from valign.core.records import Preference, Question
from valign.evaluation.likelihoods import measure_likelihoods
from valign.generation.generator import Generator
from valign.pipeline.arm_model import load_arm
from valign.pipeline.artifacts import pinned_by
from valign.pipeline.context import Context
from valign.pipeline.finished_run import context_of_run
from valign.training.fit import fit
from valign.training.stage import Stage

HERE = Path(__file__).parent
QUESTIONS = HERE.parents[1] / "valign" / "documents" / "data"
SETS = {"cases": "udhr_verdict_dev.jsonl", "questions": "udhr_dev_questions.jsonl"}


def contrast_pairs(like: Preference) -> list[Preference]:
    """Return the contrast cases as pairs; what says where a row came from is that of another pair."""
    rows = [json.loads(line) for line in (HERE / "contrast_rows.jsonl").read_text(encoding="utf-8").splitlines()]
    return [
        replace(
            like,
            example_id=f"contrast-{i}",
            family=f"contrast-{i}",
            clauses=(row["clause"],),
            question=row["question"],
            chosen=row["answer"],
            rejected=row["rejected"],
            rejected_kind=row["rejected_kind"],
            verdict=row["verdict"],
        )
        for i, row in enumerate(rows)
    ]


def score(context: Context, weights: Sequence[Path]) -> dict[str, float]:
    """Return preference and reference NLL on each set of questions."""
    model, tokenizer = load_arm(context, weights)
    generator = Generator(model, tokenizer, "more_pairs", context.settings.evaluation.batch_tokens or 4096)
    found: dict[str, float] = {}
    for name, file in SETS.items():
        asked = read_jsonl(QUESTIONS / file, Question)
        shown: list[list[Any]] = [[] for _ in asked]
        system = context.settings.base_model.system_prompt
        measured = measure_likelihoods(generator, asked, shown, arm=name, system=system)
        preferred = list(zip(asked, measured.verdict_preference, strict=True))
        sides = [[p for q, p in preferred if q.verdict == side and p is not None] for side in ("yes", "no")]
        found[f"{name}: preference"] = round(sum(sum(side) / len(side) for side in sides) / 2, 3)
        known = [nll for nll in measured.reference_nll if nll is not None]
        found[f"{name}: reference NLL"] = round(sum(known) / len(known), 3)
    return found


def train(context: Context, sft: Path, pairs: Sequence[Preference], settings: dict[str, Any]) -> Path:
    """Train DPO on top of SFT, with some settings changed, and return its adapter."""
    base = context.settings.base_model
    stage = Stage(
        folder=Path(tempfile.mkdtemp(prefix="more-pairs-")),
        model=context.model_path,
        initial=[sft],
        adapter=context.settings.adapter,
        settings=replace(context.settings.dpo, **settings),
        trainer=context.settings.trainer,
        seed=context.settings.seed,
        system_prompt=base.system_prompt,
        precision=base.precision,
        logger=False,
        ranks=context.ranks,
    )
    fit(stage, pairs)
    return stage.folder / "adapter"


def main(run: Path) -> None:
    """Train and print the variants."""
    context, pinned = context_of_run(run, False), pinned_by(read_json(run / "run.json"))
    own = read_jsonl(context.store / "data" / pinned["data"] / "preferences.jsonl", Preference)
    sft = context.store / "sft" / pinned["sft"] / "adapter"
    contrast = contrast_pairs(own[0])
    variants: dict[str, tuple[list[Preference], dict[str, Any]]] = {
        "its own pairs": (own, {}),
        "contrast cases": (contrast, {}),
        "both": (own + contrast, {}),
        "both, beta 1": (own + contrast, {"beta": 1.0}),
    }
    print("SFT", score(context, [sft]), flush=True)
    for name, (pairs, settings) in variants.items():
        print(name, score(context, [sft, train(context, sft, pairs, settings)]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
