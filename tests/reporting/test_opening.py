"""The page's first screen: sentences that follow from the run, and that say plainly what was not measured."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from aligned import STAGES, aligned_arm, aligned_comparison, tax
from pages import arm_result, comparison, page
from seeded_runs import BASE, run

from valign.evaluation.judging.labels import Label
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import Comparison
from valign.reporting.opening import Opening, make_opening
from valign.reporting.study import compare_runs
from valign.reporting.subject import find_subject


def opening(shown: Comparison, arm: str | None = None) -> Opening:
    return make_opening(shown, Clauses(shown.passages, []), arm=arm)


def share(mean: float, n: int) -> dict[str, Any]:
    return {"mean": mean, "ci95": [mean / 2, mean], "n": n}


def test_how_far_it_follows_is_counted_apart_for_yes_and_no() -> None:
    """Right are questions 0 to 5 of 9: three of the five with yes, three of the four with no; before, question 1."""
    found = opening(aligned_comparison())
    assert found.follows[0] == (
        "Of the 9 questions that the rules decide with yes or no, it answers 6 rightly (67%); before, it was 1."
    )
    assert [
        (row.label, row.before.count, row.after.count, row.after.n) for row in found.rows if row.before and row.after
    ] == [
        ("Questions with a yes or no", "1", "6", 9),
        ("Of these, the right answer is yes", "0", "3", 5),
        ("Of these, the right answer is no", "1", "3", 4),
    ]
    words = "An answer without a clear yes or no counts as wrong: 1 of its answers gave none; before, 8 gave none."
    assert words in found.follows
    assert found.rows[0].cells[2] == "6 of 9, 67% (0% to 100%)"


def test_what_was_aligned_to_what() -> None:
    first, how, which = opening(aligned_comparison()).aligned
    assert which == "Of 2 trained models that are compared, these sentences are about SFT+DPO."
    assert first == (
        "The language model owner/base was trained to follow the document \u201cRules of the ferry\u201d (4 clauses; "
        f"SHA-256 of its file: {'ab' * 32})."
    )
    assert how.endswith("from 2 questions with answers and 1 pair of answers.") and "(SFT), then, of pairs" in how
    (looked_up,) = opening(dataclasses.replace(aligned_comparison(), results=()), "base").aligned
    assert looked_up.startswith("Nothing was aligned: the language model owner/base was asked as it is")


def test_what_it_forgot_and_what_was_never_measured() -> None:
    """Ten of 40 everyday instructions, 20 before; without the measure, without labels and reviews it says so."""
    shown = aligned_comparison()
    first, second = opening(shown).forgot
    assert first.startswith("Of 40 everyday instructions") and "it does 10 right; before, 20." in first
    assert first.endswith("That is a greater loss than this run allows.")
    assert (
        second
        == "General text surprises it 1.50 times as much as before (perplexity). That is within the limit of this run."
    )
    bare = opening(dataclasses.replace(shown, arms=[aligned_arm(arm) for arm in STAGES]))
    assert bare.forgot == ["Not measured: nothing is known of what the training cost of other abilities."]
    assert bare.read[0] == "The training data: no person has read them, as far as this run notes."
    assert bare.read[1:] == [
        "The evaluation questions: from a file of whoever started this run.",
        "The answers: no person has judged them.",
    ]
    assert bare.follows[-1].endswith("were not told apart: no such probes were asked.")
    assert any("was not measured" in limit for limit in bare.limits)


def test_reviews_probes_and_judges_are_taken_where_a_run_has_them() -> None:
    """Of 5 rows 2 were read and 1 edited; 3 of 4 forbidden things refused; the judge finds that half complies."""
    probed = {
        "metrics": {
            "policy_may": share(0.5, 8),
            "policy_must_not": share(0.75, 4),
            "policy_over_refusal": share(0.125, 8),
            "policy_under_refusal": share(0.25, 4),
        }
    }
    judged = {
        "judge": {"model": "/models/judge-7b"},
        "metrics": {"policy_complies": share(0.5, 8), "policy_violates": share(0.25, 8)},
    }
    counts = {"rows": 3, "read": 1, "kept": 0, "edited": 1, "dropped": 0, "added": 0}
    review = {
        "sets": {"D_sft": counts, "D_pref": {"rows": 2, "read": 1}, "questions": {"rows": 9, "read": 9}},
        "reviewers": {"ann": {}},
    }
    shown = aligned_comparison(
        arms=[aligned_arm("base", policy_probes=probed), aligned_arm("sft_dpo", policy_probes=probed, policy=judged)],
        funnel={**(aligned_comparison().funnel or {}), "review": review},
        labels=[Label("q1", "a", "b", "tie", "ann"), Label("q2", "a", "b", "tie", "bob")],
    )
    found = opening(shown)
    assert [row.cells for row in found.rows[3:]] == [
        ("Probes: the clause allows (may)", "4 of 8, 50% (25% to 50%)", "4 of 8, 50% (25% to 50%)"),
        ("Probes: the clause forbids (must not)", "3 of 4, 75% (38% to 75%)", "3 of 4, 75% (38% to 75%)"),
    ]
    assert "Of 8 allowed things it denies, or refuses to speak about, 1 (12%)." in found.follows
    assert "Of 4 forbidden things it allows 1 (25%)." in found.follows
    assert not any("were not told apart" in sentence for sentence in found.follows)
    assert found.follows[-1] == (
        "A model as judge (judge-7b), shown the clause and one answer, finds that 4 of 8, 50% (25% to 50%) of its "
        "answers comply, and that 2 of 8, 25% (12% to 25%) go against the clause."
    )
    assert found.read[0] == "The training data: 2 of 5 rows (40%) were read by 1 person; 1 edited."
    assert found.read[1].endswith("from a file of whoever started this run; 9 of 9 were read by a person.")
    assert found.read[2] == "The probes of the policy: from a file; nobody is noted to have read them."
    assert found.read[3] == "The answers: 2 people gave 2 judgements on them, without seeing which model had answered."
    assert not any("no person has read" in limit for limit in found.limits)
    assert "Not to keep out what the rules forbid: of 4 forbidden things it allows 1 (25%)." in found.limits


def test_what_it_must_not_be_used_for_follows_from_the_evidence() -> None:
    """Three of nine are wrong, all on the third clause; nothing was asked about the fourth; a limit is crossed."""
    limits = opening(aligned_comparison()).limits
    assert (
        "Not to decide a case without a person who checks it: 3 of 9 answers have the wrong verdict, or none that is "
        "clear." in limits
    )
    assert "Not on these clauses, where less than half of what was asked was right: section-3." in limits
    assert "Not on these clauses, about which nothing was asked: section-4." in limits
    assert "Not as a general assistant: it lost more of its other abilities than this run allows." in limits
    assert "Not for a statement on a single clause: 3 questions a clause are a hint, no proof." in limits
    assert any("it is not shown to do better than guessing" in limit for limit in limits)
    spared = dataclasses.replace(
        aligned_comparison(), arms=[aligned_arm("base"), aligned_arm("sft_dpo", tax=tax(0.5, []))]
    )
    assert not any("general assistant" in limit for limit in opening(spared).limits)


@pytest.mark.parametrize(
    ("ci", "lead", "limit"),
    [
        ((0.6, 0.9), "better than before", None),
        ((-0.1, 0.9), "is not shown to follow", "it is not shown to be better than the base model"),
        ((-0.9, -0.6), "worse than before", "it is worse than the base model"),
    ],
)
def test_the_first_sentence_claims_what_the_interval_allows(
    ci: tuple[float, float], lead: str, limit: str | None
) -> None:
    arms = [arm_result("base"), dataclasses.replace(arm_result("sft", ci), stages=("sft",))]
    found = opening(comparison(*arms))
    assert lead in found.lead
    said = [one for one in found.limits if "follows the document" in one]
    assert len(said) == (limit is not None)
    assert all(limit in one for one in said if limit)


def test_one_run_is_about_its_last_training_and_several_about_the_best() -> None:
    """SFT has 3 of 9, SFT+DPO 6: a run of SFT is about SFT, a study of both about SFT+DPO, and says it was picked."""
    shown = aligned_comparison()
    assert find_subject(dataclasses.replace(shown, results=("sft",))).arm.arm == "sft"
    both = dataclasses.replace(shown, results=("sft", "sft_dpo"))
    assert (find_subject(both).arm.arm, find_subject(both).picked_from) == ("sft_dpo", 2)
    assert any("SFT+DPO, the best of 2 that were made, picked by this same" in one for one in opening(both).aligned)
    assert find_subject(dataclasses.replace(shown, results=())).arm.arm == "sft_dpo"
    assert find_subject(dataclasses.replace(shown, arms=[aligned_arm("base")])).arm.arm == "base"


def test_runs_say_which_arm_they_were_for(tmp_path: Path) -> None:
    """Two seeds are one arm; folders without the new fields are read as before."""
    folders = [run(tmp_path / f"sft+seed-{i}", i, {"base": BASE, "sft": {"q1": 1.0, "q2": i}}) for i in (0, 1)]
    shown = compare_runs(folders)
    assert (shown.results, shown.base_model) == (("sft",), None)
    found = opening(shown)
    assert any("It was trained 2 times" in sentence for sentence in found.aligned)
    assert "No question was asked that the rules decide with yes or no." in found.follows
    assert any(sentence.startswith("It states 75% of the facts") for sentence in found.follows)
    assert "of which the run notes no name" in found.aligned[0]


def test_the_page_opens_with_it(tmp_path: Path) -> None:
    """It stands before the headline, has every part, and each of its sentences."""
    shown = aligned_comparison()
    html = page(tmp_path, shown)
    text = html.text()
    found = opening(shown)
    assert html.open == []
    for sentence in (found.lead, *found.aligned, *found.follows, *found.forgot, *found.read, *found.limits):
        assert sentence in text, sentence
    order = [
        "In plain words",
        "What was aligned to what",
        "How far it follows",
        "What it forgot",
        "must not be used",
        "Scores",
    ]
    places = [
        text.rindex(words) if words == "Scores" else text.index(words, text.index("How to read")) for words in order
    ]
    assert places == sorted(places)


def test_a_share_that_was_read_is_rounded_down() -> None:
    """42 of 212 rows are 19.8%, which are refused where 20% are required."""
    review = {"sets": {"D_sft": {"rows": 212, "read": 42}}, "reviewers": {"ann": {}}}
    shown = aligned_comparison(funnel={**(aligned_comparison().funnel or {}), "review": review})
    assert opening(shown).read[0] == "The training data: 42 of 212 rows (19%) were read by 1 person; none was changed."
