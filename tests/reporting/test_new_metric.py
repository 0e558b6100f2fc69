"""A new metric is one record: the scores, the tables and the page have it without being told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from pages import answer, comparison, page, passages

from valign.evaluation.metric_info import MANNER, MetricInfo, per_answer
from valign.evaluation.metrics import METRICS
from valign.evaluation.scores import choose_metrics, question_values, score_arm
from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.exports import csv_table
from valign.reporting.score_table import markdown_table

SHOUTING = MetricInfo(
    "shouting",
    "Shouting",
    "Share of the answer's characters that are exclamation marks.",
    higher_is_better=False,
    group=MANNER,
    compute=per_answer(lambda a: a.answer.count("!") / len(a.answer)),
    is_charted=True,
)


class Flat:
    """Embeds every text alike."""

    def embed(self, texts: list[str], /) -> np.ndarray:
        """Return unit rows."""
        return np.tile([1.0, 0.0], (len(texts), 1))


def scored(names: list[str] | None = None) -> Comparison:
    """Return two arms of six answers; those of SFT have one exclamation mark among four characters."""
    arms: list[ArmResult] = []
    for name, text in (("base", "Yes."), ("sft", "Yes!")):
        answers = [answer(name, i, text) for i in range(6)]
        values = choose_metrics(question_values(answers, passages(), Flat()), names)
        scores = score_arm(name, values, arms[0].values if arms else None, samples=100)
        arms.append(ArmResult(name, scores, answers, values))
    return dataclasses.replace(comparison(), arms=arms)


def test_a_new_metric_is_in_scores_tables_and_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(METRICS, "shouting", SHOUTING)
    shown = scored()
    base, sft = shown.arms
    assert (base.mean("shouting"), sft.mean("shouting"), sft.difference("shouting")) == (0, 0.25, (0.25, (0.25, 0.25)))
    assert "Shouting ↓ |" in markdown_table([arm.scores for arm in shown.arms])
    assert "sft,,shouting,6,0.25" in csv_table(shown)
    text = page(tmp_path, shown).text()
    assert text.count(SHOUTING.description) == 2
    assert "Shouting, mean and 95% interval: base 0.00 (0.00 to 0.00); SFT 0.25" in text
    manner, glossary = text.index("How is the answer written?"), text.index("The measures")
    assert manner < text.index("Shouting lower is better Share") < glossary < text.index("Shouting (lower is better)")


def test_metrics_that_are_not_chosen_are_not_shown(tmp_path: Path) -> None:
    """They are measured all the same, so that the answers need not be given again to show them."""
    shown = scored(["length", "verdict_accuracy"])
    assert shown.metrics == ["verdict_accuracy", "length"]
    assert list(shown.arms[1].scores["versus"]["base"]) == ["verdict_accuracy", "length"]
    assert "Words |" in markdown_table([arm.scores for arm in shown.arms])
    assert "ROUGE-L" not in markdown_table([arm.scores for arm in shown.arms])
    assert "Repetition" not in page(tmp_path, shown).text()
    assert scored().arms[0].scores.keys() == shown.arms[0].scores.keys()
