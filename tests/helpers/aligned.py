"""A comparison whose figures can be counted on the fingers: nine questions with a verdict on three of four clauses."""

from __future__ import annotations

import dataclasses
from typing import Any

from valign.core.records import Answer, Instruction, Passage, Preference, Provenance
from valign.evaluation.scores import score_arm
from valign.evaluation.verdicts import verdict_correct
from valign.models.terms import BaseModel
from valign.reporting.comparison import ArmResult, Comparison

DATA = "0123456789abcdef"
RIGHT = {"yes": "Yes, it is.", "no": "No, it is not."}
WRONG = {6: "No.", 7: "I am not sure.", 8: "No."}
"""What the trained model answers on the third clause; all else is right."""
STAGES = {"base": (), "sft": ("sft",), "sft_dpo": ("sft", "dpo")}


def verdict_of(i: int) -> str:
    """Return the right verdict: yes for the five even questions, no for the four odd ones."""
    return "no" if i % 2 else "yes"


def said_by(arm: str, i: int) -> str:
    """Return what an arm answers: base is right on question 1 alone and else unclear, SFT on the first three."""
    right = {"base": (1,), "sft": (0, 1, 2), "sft_dpo": range(6)}[arm]
    return (
        RIGHT[verdict_of(i)] if i in right else WRONG.get(i, "I am not sure.") if arm == "sft_dpo" else "I am not sure."
    )


def aligned_arm(arm: str, **scores: Any) -> ArmResult:
    """Return an arm with its answers, its values, and the scores that follow from them."""
    answers = [
        Answer(
            f"q{i}", f"ferry/section-{i // 3 + 1}", f"Is thing {i} right?", RIGHT[verdict_of(i)], said_by(arm, i), arm,
            verdict=verdict_of(i),
        )
        for i in range(9)
    ]  # fmt: skip
    values, base = _values(answers), None
    if arm != "base":
        base = _values([dataclasses.replace(a, answer=said_by("base", i)) for i, a in enumerate(answers)])
    found = {**score_arm(arm, values, base, samples=200), **scores}
    return ArmResult(arm, found, answers, values, STAGES[arm], DATA if STAGES[arm] else "")


def _values(answers: list[Answer]) -> list[dict[str, Any]]:
    return [
        {
            "question_id": a.question_id,
            "clause": a.clause,
            "kind": "",
            "verdict_accuracy": verdict_correct(a.answer, a.verdict),
        }
        for a in answers
    ]


def tax(right: float, crossed: list[str]) -> dict[str, Any]:
    """Return the part ``tax`` of an arm that does so many of 40 everyday instructions right."""
    metrics = {
        "everyday_accuracy": {"mean": right, "ci95": [right - 0.1, right + 0.1], "n": 40},
        "everyday_drop": {"mean": 0.5 - right, "ci95": [0.1, 0.4], "n": 40},
        "perplexity_ratio": {"mean": 1.5, "ci95": [1.4, 1.6], "n": 900},
    }
    return {"metrics": metrics, "limits": {"everyday_drop": 0.1, "general_nll_increase": 0.5}, "crossed": crossed}


def aligned_comparison(**changes: Any) -> Comparison:
    """Return a run of SFT+DPO: 6 of 9 right after, 1 of 9 before; 10 of 40 everyday instructions, 20 before."""
    origin = Provenance("kept", 0, 4, "question", "0" * 16, "parrot@1")
    rows: list[Instruction | Preference] = [
        Instruction("sft-1", ("ferry/section-1",), "question", "What?", "That.", origin),
        Instruction(
            "sft-2", ("ferry/section-1",), "claim", "So?", "So.", dataclasses.replace(origin, teacher="valign")
        ),
        Preference("dpo-1", ("ferry/section-2",), "question", "Why?", "So.", "No.", "edit", origin),
    ]
    counts = {"made": 5, "dropped": {"relevance": 3}, "kept": 2, "per_clause": {"ferry/section-1": 2}}
    pairs = {"made": 1, "dropped": {}, "kept": 1, "per_clause": {"ferry/section-2": 1}}
    stage = {"epochs": 2.0, "learning_rate": 0.001}
    whole = Comparison(
        title="Rules of the ferry",
        experiment="ferry",
        document_sha256="ab" * 32,
        passages=[
            Passage(f"ferry/section-{i}", ("Rules",), f"The thing {i} is in the rules.", 0, 5) for i in range(1, 5)
        ],
        arms=[
            aligned_arm("base", tax=tax(0.5, [])),
            aligned_arm("sft"),
            aligned_arm("sft_dpo", tax=tax(0.25, ["everyday_drop"])),
        ],
        funnel={"sft": counts, "preference": pairs},
        leak={"rate": 0.0, "questions": []},
        timings={"sft": 61.0, "sft_dpo": 3.0},
        config={
            "seed": 7,
            "adapter": {"kind": "lora", "rank": 4, "alpha": 8},
            "base_model": {"model": "owner/base"},
            "document": {"questions": "mine.jsonl"},
            "sft": stage,
            "dpo": {**stage, "beta": 0.3},
            "synthesis": {"filters": {"waive": ["grounding"]}},
            "teacher": {"kind": "local", "model": "parrot"},
            "evaluation": {"bootstrap": 200, "questions": None},
        },
        artifacts={"data": DATA, "sft": "a" * 16, "sft_dpo": "b" * 16},
        work={"sft": {"steps": 12, "precision": "bfloat16"}},
        examples={DATA: rows},
        document_name="ferry",
        base_model=BaseModel("owner/base", "", "apache-2.0", "", ("LICENSE",)),
        results=("sft_dpo",),
    )
    return dataclasses.replace(whole, **changes)
