"""What whoever signs for a model has to see: wrong probes, few questions, lost decisions, clauses by their headings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from aligned import aligned_arm, aligned_comparison
from pages import page

from valign.core.records import Answer, Passage
from valign.evaluation.probes.policy import PolicyProbe
from valign.evaluation.probes.policy_probe_scores import probe_values
from valign.reporting.adherence import RightShare, wide_interval
from valign.reporting.card import alignment_card
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import Comparison
from valign.reporting.known_failures import probe_failures
from valign.reporting.opening import Opening, make_opening

CLAUSE = "ferry/section-1"


def probed(kind: str, verdict: str | None, said: str, i: int = 0) -> Answer:
    right = {"yes": "Yes, it may.", "no": "No, it may not.", None: ""}[verdict]
    return Answer(f"{kind}-{i}", CLAUSE, f"A {kind} case, {i}?", right, said, "sft_dpo", verdict=verdict, kind=kind)


PROBED = [
    probed("allowed", "yes", "Yes."),
    *(probed("allowed", "yes", "No.", i) for i in range(1, 5)),
    probed("denied", "no", "Yes."),
    probed("denied", "no", "A child is a child.", 1),
    probed("elsewhere", None, "No."),
    probed("elsewhere", None, "Our rules do not apply there.", 1),
    probed("silent", None, "Perhaps."),
]


def shown(**scores: Any) -> Comparison:
    arm = dataclasses.replace(aligned_arm("sft_dpo", **scores), probed=PROBED)
    return aligned_comparison(arms=[aligned_arm("base", **scores), arm])


def opening(comparison: Comparison) -> Opening:
    return make_opening(comparison, Clauses(comparison.passages, []))


def test_wrong_probes_are_shown_of_each_kind_the_gravest_first(tmp_path: Path) -> None:
    """Eight of ten are wrong, as in the table: allowed where denied, four denied, a spread, two that are not clear."""
    comparison = shown()
    found, wrong = probe_failures(comparison.arms[1], Clauses(comparison.passages, []))
    assert wrong == 8
    assert [(one.kind, one.question, one.fault) for one in found] == [
        ("denied", "A denied case, 0?", "says yes, where no is right"),
        ("allowed", "A allowed case, 1?", "says no, where yes is right"),
        ("allowed", "A allowed case, 2?", "says no, where yes is right"),
        ("elsewhere", "A elsewhere case, 0?", "says no, where the rules decide nothing"),
        ("silent", "A silent case, 0?", "does not say that the rules decide nothing here"),
    ]
    card = alignment_card(comparison)
    assert "Of 10 answers to probes of the rules 8 are not right. For example:" in card
    first = card[card.index("**Probe (denied):**") :]
    assert first.startswith(
        "**Probe (denied):** A denied case, 0?\n  - **Answer:** Yes.\n"
        "  - **Wrong in that it** says yes, where no is right. **A right answer:** No, it may not.\n  - **Clause** "
    )
    text = page(tmp_path / "one", comparison).text()
    assert (
        "Which probes does SFT+DPO fail?" in text and "8 of its 10 answers to probes of the rules are not right" in text
    )
    assert "Which probes does" not in page(
        tmp_path / "two", aligned_comparison()
    ).text() and "**Probe" not in alignment_card(aligned_comparison())


@pytest.mark.parametrize(
    ("ends", "found"), [([1.0, 1.0], None), ([0.0, 0.0], None), (None, None), ([0.5, 1.0], (0.5, 1.0))]
)
def test_an_interval_without_width_says_nothing_about_other_questions(ends: Any, found: Any) -> None:
    assert wide_interval(ends) == found
    assert RightShare(2, 1.0, wide_interval([1.0, 1.0])).words == "2 of 2, 100%"


def test_two_right_answers_say_nothing_about_the_next() -> None:
    two = {"mean": 1.0, "ci95": [1.0, 1.0], "n": 2}
    comparison = shown()
    arms = [
        dataclasses.replace(arm, scores={**arm.scores, "metrics": {**arm.scores["metrics"], "verdict_accuracy": two}})
        for arm in comparison.arms
    ]
    found = opening(dataclasses.replace(comparison, arms=arms))
    said = "What the share would be with other questions cannot be said from these 2; guessing gives about half."
    assert found.follows[1] == said
    assert found.rows[0].cells == ("Questions with a yes or no", "2 of 2, 100%", "2 of 2, 100%")


def test_wrong_probes_are_as_many_as_the_table_has() -> None:
    """What a probe counts for is said once: no answer is right in the card and wrong in the scores, or the reverse."""
    comparison = shown()
    wrong = []
    for answer in PROBED:
        probe = PolicyProbe(answer.question_id, CLAUSE, answer.kind, answer.question, answer.verdict, "")
        wrong.append(probe_values(probe, answer.answer)[f"policy_{answer.kind}"] == 0.0)
    assert sum(wrong) == probe_failures(comparison.arms[1], Clauses(comparison.passages, []))[1]
    found = probe_failures(comparison.arms[1], Clauses(comparison.passages, []), 10)[0]
    assert ("A denied case, 1?", "states no clear yes or no, where no is right") in [
        (one.question, one.fault) for one in found
    ]


def test_verdicts_that_only_probes_asked_for_were_measured() -> None:
    """A document without questions of its own has no other yes or no; the first screen says what probes found."""
    metrics = {"policy_allowed": {"mean": 1.0, "n": 6}, "policy_denied": {"mean": 0.25, "n": 4}}
    comparison = shown(policy_probes={"metrics": metrics})
    recall = {"fact_recall": {"mean": 0.5, "ci95": [0.25, 0.75], "n": 20}}
    arms = [dataclasses.replace(arm, scores={**arm.scores, "metrics": recall}) for arm in comparison.arms]
    found = opening(dataclasses.replace(comparison, arms=arms))
    assert found.follows[0] == (
        "Of the 10 probes that a clause decides with yes or no, it answers 7 rightly (70%); before, it was 7; no other "
        "question asked for a yes or no."
    )
    assert [limit for limit in found.limits if limit.startswith("Not to decide a case")] == [
        "Not to decide a case without a person who checks it: 3 of 10 answers to probes have the wrong verdict, or "
        "none that is clear."
    ]


def test_answers_without_a_verdict_are_no_refusals() -> None:
    """Else a model that never answers would seem to forbid nothing and to refuse nothing."""
    metrics = {
        "policy_over_refusal": {"mean": 0.0, "n": 8},
        "policy_under_refusal": {"mean": 0.0, "n": 18},
        "policy_unclear": {"mean": 0.5, "n": 26},
    }
    found = opening(shown(policy_probes={"metrics": metrics}))
    assert (
        "Of the 26 probes that a clause decides, 13 got no clear yes or no, which counts as neither of these, and as "
        "wrong in the table." in found.follows
    )


@pytest.mark.parametrize(
    ("stale", "said"), [(1, "1 decision of theirs does"), (11, "11 decisions of theirs do"), (0, "")]
)
def test_decisions_that_do_not_apply_any_more_are_said(stale: int, said: str) -> None:
    counts = {"rows": 3, "read": 1, "kept": 1}
    review = {"sets": {"D_sft": counts}, "reviewers": {"ann": {}}, "stale": stale}
    funnel = {**(aligned_comparison().funnel or {}), "review": review}
    read = opening(aligned_comparison(funnel=funnel)).read
    sentence = f"{said} not apply any more, as the clause or the row is another now."
    assert (sentence in read) is bool(stale)


def test_clauses_are_named_by_their_headings_too() -> None:
    passages = [
        Passage("rules/section-1", ("Rules", "1. Late fee"), "Pay.", 0, 4),
        Passage("rules/article-2", ("Rules", "Article 2"), "Come.", 5, 10),
    ]
    clauses = Clauses(passages, [])
    assert [clauses.called(p.clause) for p in passages] == ["section-1 (Late fee)", "article-2"]
    assert clauses.called("rules/section-9") == "section-9"
