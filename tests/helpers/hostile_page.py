"""A page of five arms, three clauses and nine questions whose every text tries to break out of it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from valign.core.records import Answer, Instruction, Original, Passage, Preference, Provenance
from valign.evaluation.judging.judge import Judge
from valign.evaluation.judging.policy_judgement import PolicyJudgement
from valign.evaluation.judging.policy_scores import policy_scores
from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.page import render_page

BREAKOUT = (
    "</script><script>alert(1)</script><img src=http://example.invalid/x onerror=alert(2)>\"'<b>`${alert(3)}`{{7*7}}"
)
RIGHT_TO_LEFT = "שלום \u202eevil\u202c عربي"
LONG_WORD = "Donaudampfschiffahrt" * 12
TEXTS = (BREAKOUT, RIGHT_TO_LEFT, LONG_WORD)
CLAUSES = [f"rules/section-{i}-{text}" for i, text in enumerate(TEXTS, start=1)]
ARMS = {"base": (), "rag": (), "sft": ("sft",), "dpo": ("dpo",), "sft_dpo": ("sft", "dpo")}
QUESTIONS = 9
RULINGS = (
    ("violates", BREAKOUT, ""),
    ("complies", RIGHT_TO_LEFT, ""),
    ("undecided", LONG_WORD * 2, "unverified"),
    ("undecided", "", "unread"),
)
DATA = "0123456789abcdef"


def render_hostile(file: Path) -> Path:
    """Write the page.

    Question i is on clause i modulo 3 and is about yellow things. Recall is 1 for SFT and SFT+DPO; base has it for the
    first question alone, DPO and RAG for none. So all arms disagree on every question, and base and DPO on one.
    """
    passages = [Passage(c, (BREAKOUT, LONG_WORD), text, 0, 5) for c, text in zip(CLAUSES, TEXTS, strict=True)]
    counts = {"made": 9, "dropped": {BREAKOUT: 2}, "kept": 7, "per_clause": {CLAUSES[0]: 7}}
    comparison = Comparison(
        title=f"Rules {BREAKOUT}",
        experiment=LONG_WORD,
        document_sha256="ab" * 32,
        passages=passages,
        arms=[_arm(arm) for arm in ARMS],
        funnel={"sft": counts, "preference": counts},
        leak={"rate": 0.1, "questions": [{"question": BREAKOUT, "training": LONG_WORD, "shared": "yellow"}]},
        curves={"sft/loss": [(i, 3.0 / (i + 1)) for i in range(60)], f"dpo/{BREAKOUT}": [(0, 0.7), (9, 0.1)]},
        timings={"data": 60.0, BREAKOUT: 20.0},
        config={BREAKOUT: LONG_WORD, "teacher": {"price_in": 1.0, "price_out": 2.0}},
        artifacts={BREAKOUT: LONG_WORD, "data": DATA},
        work={"data": {"instructions": 7, "calls": 9, "prompt_tokens": 900, "completion_tokens": 90}},
        examples={DATA: _examples()},
        judge=Judge("reference", tie=0.02, warning=BREAKOUT),
    )
    return render_page(comparison, file)


def _recall(arm: str, i: int) -> float:
    return float("sft" in arm or (arm == "base" and i == 0))


def _arm(arm: str) -> ArmResult:
    said = [TEXTS[i % 3] + (" It is yellow." if _recall(arm, i) else " I cannot say.") for i in range(QUESTIONS)]
    answers = [
        Answer(
            f"q{i}-{BREAKOUT}", CLAUSES[i % 3], f"Question {i}? {TEXTS[i % 3]}", f"Yellow. {TEXTS[i % 3]}", said[i],
            arm, (("yellow", BREAKOUT), (LONG_WORD,)), "yes", original=Original((("blue",),), "no"),
            retrieved=(CLAUSES[0],) if arm == "rag" else (), finished=i > 0,
        )
        for i in range(QUESTIONS)
    ]  # fmt: skip
    recall = [_recall(arm, i) for i in range(QUESTIONS)]
    mean = sum(recall) / QUESTIONS
    values: list[dict[str, Any]] = [
        {"question_id": a.question_id, "clause": a.clause, "fact_recall": value, "similarity": value / 2 + 0.01 * i}
        for i, (a, value) in enumerate(zip(answers, recall, strict=True))
    ]
    cell = {"mean": mean, "ci95": [max(0.0, mean - 0.1), min(1.0, mean + 0.1)], "n": QUESTIONS}
    by_clause = {
        c: {"n": 3, "fact_recall": sum(recall[i::3]) / 3, "reference_nll": 3 - sum(recall[i::3]) / 3}
        for i, c in enumerate(CLAUSES)
    }
    scores: dict[str, Any] = {
        "arm": arm,
        "n": QUESTIONS,
        "metrics": {
            "fact_recall": cell,
            "similarity": cell,
            "reference_nll": {**cell, "mean": 3 - mean},
            BREAKOUT: cell,
        },
        "by_clause": by_clause,
        "by_kind": {"metrics": {f"fact_recall/{BREAKOUT}": cell, f"similarity/{LONG_WORD}": cell}},
        "tax": {"metrics": {"everyday_drop": cell}, "limits": {"everyday_drop": 0.5}, "crossed": []},
        "probes": {"metrics": {"silent_invented": cell}},
        "server": {"model": BREAKOUT, "likelihoods": "none"},
        "versus": {}
        if arm == "base"
        else {"base": {"fact_recall": {"mean": mean - 1 / 9, "ci95": [0.1, 0.9], "n": 9}}},
    }
    if mean > 0.5:
        scores["tax"]["crossed"] = ["everyday_drop"]
    policy = [
        PolicyJudgement(a.question_id, a.clause, arm, verdict, quote, fault, verdict)
        for a, (verdict, quote, fault) in zip(answers, itertools.cycle(RULINGS), strict=False)
    ]
    scores["policy"] = policy_scores(policy, answers, Judge("api", BREAKOUT, warning=LONG_WORD), samples=100)
    return ArmResult(arm, scores, answers, values, ARMS[arm], DATA if ARMS[arm] else "", policy)


def _examples() -> list[Instruction | Preference]:
    origin = Provenance(BREAKOUT, 0, 5, "question", "0" * 16, "teacher")
    rows: list[Instruction | Preference] = []
    for i, text in enumerate(TEXTS):
        rows.append(Instruction(f"sft-{i}", (CLAUSES[i],), BREAKOUT, f"Ask {text}", f"Say {text}", origin))
        rows.append(
            Preference(f"dpo-{i}", (CLAUSES[i],), BREAKOUT, text, f"Right {text}", f"Wrong {text}", "edit", origin)
        )
    return rows
