"""The page's headline: what the interval, the corrected test and the limits allow to say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pages import MEANS, arm_result, comparison, page

from valign.reporting.comparison import metric_named
from valign.reporting.differences import arm_differences
from valign.reporting.headline import find_headline

MINUS = "\u2212"


@pytest.mark.parametrize(
    ("ci", "finding", "words"),
    [
        ((0.6, 0.9), "better", "(95% interval +60 to +90)."),
        ((-0.1, 0.9), "unclear", "this may be chance, as the interval includes zero."),
        ((-0.9, -0.6), "worse", f"(95% interval {MINUS}90 to {MINUS}60); base does better."),
        ((None, None), "unclear", "chance cannot be ruled out."),
    ],
)
def test_verdict_says_what_the_interval_allows(ci: tuple[float | None, float | None], finding: str, words: str) -> None:
    """The best arm by mean is SFT+DPO with 0.75, base has 0: +75 points, claimed only where zero is outside."""
    found = find_headline(comparison(arm_result("base"), arm_result("sft"), arm_result("sft_dpo", ci)))
    assert found.finding == finding
    assert found.sentence.startswith("SFT+DPO states 75% of the facts that right answers need, against 0% for base")
    assert found.sentence.endswith(words)
    assert any("best of 2 arms" in note for note in found.notes)


def test_the_verdicts_figures_add_up() -> None:
    """0.374 - 0.078 = 0.296: "37%, 8%, +30" would not add up, so a decimal is shown; 0.38 - 0.08 = 0.30 needs none."""
    base, sft = arm_result("base"), arm_result("sft", (0.2, 0.4))
    for first, second, words in ((0.078, 0.374, "37.4% {} 7.8% {} +29.6"), (0.08, 0.38, "38% {} 8% {} +30")):
        base.scores["metrics"]["fact_recall"]["mean"] = first
        sft.scores["metrics"]["fact_recall"]["mean"] = second
        sft.scores["versus"]["base"]["fact_recall"]["mean"] = second - first
        expected = words.format("of the facts that right answers need, against", "for base: a difference of")
        assert expected in find_headline(comparison(base, sft)).sentence


def test_verdict_is_unclear_where_the_corrected_test_does_not_agree() -> None:
    arms = comparison(arm_result("base"), arm_result("sft_dpo", (0.6, 0.9)))
    (known, *others) = [d for d in arm_differences(arms) if d.metric.name == "fact_recall"]
    assert others == []
    for p_holm, finding in ((0.049, "better"), (0.05, "unclear"), (None, "better")):
        found = find_headline(arms, [dataclasses.replace(known, p_holm=p_holm)])
        assert found.finding == finding
    found = find_headline(arms, [dataclasses.replace(known, p_holm=0.648)])
    assert found.notes[0].endswith(
        "of 1 differences that were tested some do so by chance: corrected for their number, p is 0.648."
    )


def test_the_headline_says_what_the_best_arm_is_worse_in(tmp_path: Path) -> None:
    """Contradiction rises from 0.02 to 0.40 beyond chance, and a limit of the tax is crossed; both stand in red."""
    base, sft = arm_result("base"), arm_result("sft_dpo", (0.6, 0.9))
    for result, mean in ((base, 0.02), (sft, 0.4)):
        result.scores["metrics"]["contradiction"] = {"mean": mean, "ci95": [0.0, 0.5], "n": 6}
    sft.scores["versus"]["base"]["contradiction"] = {"mean": 0.38, "ci95": [0.3, 0.46]}
    sft.scores["tax"] = {
        "metrics": {"everyday_drop": {"mean": 0.23, "ci95": [0.1, 0.4], "n": 40}},
        "limits": {"everyday_drop": 0.1},
        "crossed": ["everyday_drop"],
    }
    arms = comparison(base, sft)
    (facts,) = [d for d in arm_differences(arms) if d.metric.name == "fact_recall"]
    risen = dataclasses.replace(facts, metric=metric_named("contradiction"), p_holm=0.001)
    assert find_headline(arms, [facts, risen]).warnings == (
        "SFT+DPO is worse than base in: Contradiction 0.40 (base 0.02).",
        "Limit crossed: Accuracy drop of SFT+DPO is 0.23, above 0.1.",
    )
    assert find_headline(arms, [facts, dataclasses.replace(risen, p_holm=0.2)]).warnings[0].startswith("Limit crossed")
    shown = [p["class"] for p in page(tmp_path, arms).all("p") if "crossed" in (p.get("class") or "")]
    assert shown == ["crossed"]


def test_made_questions_are_called_so() -> None:
    arms = [arm_result("base"), arm_result("sft")]
    made = {"evaluation": {"questions": None}, "document": {"questions": None}}
    assert any("The teacher made these questions" in n for n in find_headline(comparison(*arms, config=made)).notes)
    given = {"evaluation": {"questions": "mine.jsonl"}, "document": {"questions": None}}
    for config in (given, {}):
        assert not any("The teacher made" in n for n in find_headline(comparison(*arms, config=config)).notes)


def test_verdict_without_base_or_without_others() -> None:
    """One arm alone is described and nothing is claimed; the interval of SFT is 0.5 ± 0.2."""
    for name, missing in (("sft", "Base was not run"), ("base", "No other arm was run")):
        found = find_headline(comparison(arm_result(name)))
        assert found.finding == "alone" and missing in found.sentence
    assert "SFT states 50% of the facts that right answers need (95% interval 30% to 70%)" in (
        find_headline(comparison(arm_result("sft"))).sentence
    )


def test_verdict_names_the_best_trained_arm_beside_one_that_looks_up() -> None:
    """RAG wins by mean; SFT, which answers from memory, is named as well."""
    shown = arm_result("sft_dpo")
    looked_up = [dataclasses.replace(a, retrieved=("ferry/section-1",)) for a in shown.answers]
    found = find_headline(
        comparison(arm_result("base"), arm_result("sft"), dataclasses.replace(shown, answers=looked_up))
    )
    assert "without looking the document up: SFT states 50%" in " ".join(found.notes)


def test_verdict_on_similarity_warns_of_manner() -> None:
    """Without facts and verdicts, the first metric with a direction leads, and the page says what it rewards."""
    arms = []
    for name in ("base", "sft"):
        result = arm_result(name)
        score = {"similarity": {"mean": 0.3 + MEANS[name], "ci95": [0.2, 0.4], "n": 6}}
        versus = {"base": {"similarity": {"mean": 0.5, "ci95": [0.4, 0.6]}}} if name == "sft" else {}
        arms.append(dataclasses.replace(result, scores={**result.scores, "metrics": score, "versus": versus}))
    found = find_headline(comparison(*arms))
    assert found.finding == "better"
    assert "0.80, against 0.30 for base: a difference of +0.50 (95% interval +0.40 to +0.60)." in found.sentence
    assert any("rewards the manner" in note for note in found.notes)
