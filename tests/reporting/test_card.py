"""The alignment card: what the hub reads of it, the page's own figures, real failures, and no path and no secret."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from aligned import DATA, aligned_arm, aligned_comparison
from huggingface_hub import ModelCard
from seeded_runs import BASE, run

from valign.core.files import read_json, write_json
from valign.models.terms import BaseModel
from valign.reporting.card import alignment_card
from valign.reporting.comparison import ArmResult, Comparison, metric_named
from valign.reporting.exports import csv_table
from valign.reporting.score_groups import score_groups
from valign.reporting.study import compare_runs
from valign.reporting.write import write_page, write_report
from valign.runs.layout import CARD, RUN

PATHS = ("/home/ann/secret", "/srv/models", "C:\\models")


def front(card: str) -> Any:
    """Parse the card as the hub's own library does."""
    return ModelCard(card).data


def part(card: str, heading: str) -> str:
    """Return the text below a heading of the second level."""
    return card.split(f"\n## {heading}\n")[1].split("\n## ", maxsplit=1)[0]


def table(card: str, first: str) -> dict[str, list[str]]:
    """Return the rows of the table whose first column has this heading, by their first cell."""
    lines = card.split(f"| {first} |")[1].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    rows = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in lines]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_the_hub_reads_its_front_matter() -> None:
    data = front(alignment_card(aligned_comparison()))
    assert (data.license, data.base_model, data.base_model_relation) == ("apache-2.0", "owner/base", "adapter")
    assert (data.library_name, data.pipeline_tag, data.language) == ("peft", "text-generation", "en")
    assert data.tags == ["alignment", "valign", "sft", "dpo", "lora"]
    assert data.model_name == "ferry-sft_dpo"
    found = {result.metric_type: result for result in data.eval_results}
    verdicts = found["verdict_accuracy"]
    assert (verdicts.metric_value, verdicts.metric_args["n"], verdicts.task_type) == (0.6667, 9, "text-generation")
    assert (verdicts.dataset_type, verdicts.dataset_name) == (
        "ferry-questions",
        "Held-out questions on: Rules of the ferry",
    )
    assert verdicts.dataset_args == {"document_sha256": "ab" * 32}
    assert (found["everyday_accuracy"].metric_value, found["everyday_accuracy"].dataset_type) == (0.25, "ferry-general")
    whole = front(alignment_card(aligned_comparison(), "sft", "model"))
    assert (whole.base_model_relation, whole.library_name, whole.model_name) == (
        "finetune",
        "transformers",
        "ferry-sft",
    )
    assert whole.tags == ["alignment", "valign", "sft"]


def test_a_licence_without_a_name_on_the_hub_is_linked_and_a_missing_one_is_said_to_be_missing() -> None:
    own = BaseModel("owner/base", "", "other", "own-terms", ("LICENSE.txt", "NOTICE"))
    data = front(alignment_card(aligned_comparison(base_model=own)))
    assert (data.license, data.license_name, data.license_link) == ("other", "own-terms", "LICENSE.txt")
    said = part(alignment_card(aligned_comparison(base_model=own)), "Licence and terms")
    assert "own-terms (other) (files: LICENSE.txt, NOTICE)" in said
    for base, words in ((None, "does not note"), (BaseModel("owner/base"), "No file that came with owner/base says")):
        card = alignment_card(aligned_comparison(base_model=base))
        assert front(card).license == "unknown"
        assert words in part(card, "Licence and terms")


def test_its_figures_are_those_of_the_tables() -> None:
    """Each measure is the page's cell, and the CSV's number; the counts are those of the questions."""
    shown = aligned_comparison()
    card = alignment_card(shown)
    rows = table(card, "Measure")
    cells = {row.metric.label: (row.cells[0], row.cells[2]) for _, group in score_groups(shown) for row in group}
    assert rows and {label.partition(" (")[0] for label in rows} == set(cells)
    for label, (before, after, difference) in rows.items():
        base, own = cells[label.partition(" (")[0]]
        assert before == f"{base.mean} ({base.ends})"
        assert after == f"{own.mean} ({own.ends})"
        assert difference == f"{own.differences[0].mean} ({own.differences[0].ends})"
    values = [line.split(",") for line in csv_table(shown).splitlines()[1:]]
    means = {(arm, metric): mean for arm, minus, metric, _, mean, *_ in values if not minus}
    for result in front(card).eval_results:
        assert result.metric_value == round(float(means["sft_dpo", result.metric_type]), 4)
        assert metric_named(result.metric_type).label == result.metric_name
    assert table(card, "Questions")["Questions with a yes or no"][1] == "6 of 9, 67% (0% to 100%)"


def test_other_figures_give_another_card() -> None:
    """Nothing is a constant: the card of SFT has 3 of 9 right where that of SFT+DPO has 6."""
    three, six = (alignment_card(aligned_comparison(), arm) for arm in ("sft", "sft_dpo"))
    assert "it answers 3 rightly (33%)" in three and "it answers 6 rightly (67%)" in six
    assert front(three).eval_results[0].metric_value == 0.3333


def test_data_training_and_review_are_told() -> None:
    card = alignment_card(aligned_comparison())
    data, training = part(card, "Training data"), part(card, "Training")
    assert "| Questions with answers (D\\_sft) | 2 of 5 kept; dropped: 3 (relevance) |" in data
    assert "| Teacher | parrot (local) |" in data and "| Filters waived for given rows | grounding |" in data
    assert "| Rows from the teacher model (parrot@1) | 2 |" in data
    assert "| Rows from valign's own fixed sentences | 1 |" in data and DATA in data
    assert "| Recipe | SFT then DPO |" in training and "| Seed | 7 |" in training
    assert "| SFT | epochs 2.0, learning rate 0.001, 12 steps, in bfloat16, 1 min 01 s |" in training
    assert "| DPO | epochs 2.0, learning rate 0.001, beta 0.3, 3 s |" in training
    assert "no person has read them" in part(card, "What people have read")
    assert "2 of 4 clauses have training data; 0 fall short" in part(card, "Coverage of the clauses")
    assert "ab" * 32 in part(card, "What was aligned to what")


def test_rows_that_people_wrote_or_changed_are_told_without_their_names() -> None:
    shown = aligned_comparison()
    rows = next(iter(shown.examples.values()))
    origins = [
        dataclasses.replace(rows[0].provenance, teacher="parrot@1; edited by ann"),
        dataclasses.replace(rows[0].provenance, teacher="bob", template="review/added"),
        dataclasses.replace(rows[0].provenance, teacher="given"),
    ]
    examples = {DATA: [dataclasses.replace(row, provenance=o) for row, o in zip(rows, origins, strict=True)]}
    data = part(alignment_card(dataclasses.replace(shown, examples=examples)), "Training data")
    assert "| Rows from the teacher model (parrot@1), edited by a person | 1 |" in data
    assert "| Rows from a person | 1 |" in data and "| Rows from a file (who wrote it is not noted) | 1 |" in data
    assert "ann" not in data and "bob" not in data


def test_known_failures_are_real_answers() -> None:
    """On the third clause all three are wrong: two say the opposite and come first, one says neither."""
    found = part(alignment_card(aligned_comparison()), "Known failures")
    assert "| section-3 | 0% | 3 |" in found
    asked = re.findall(
        r"\*\*Question:\*\* (.*)\n  - \*\*Answer:\*\* (.*)\n  - \*\*Wrong in that it\*\* (.*?)\. \*\*A", found
    )
    assert asked == [
        ("Is thing 6 right?", "No.", "says no, where yes is right"),
        ("Is thing 8 right?", "No.", "says no, where yes is right"),
        ("Is thing 7 right?", "I am not sure.", "states no clear no"),
    ]
    assert "**Clause** ferry/section-3: The thing 3 is in the rules." in found
    assert "lowest seed" not in found
    shown = aligned_comparison()
    seeded = [dataclasses.replace(arm, every_seed=[{**row, "seed": 3} for row in arm.values]) for arm in shown.arms]
    assert "The answers below are those of the lowest seed.\n\n- **Question:** Is thing 6" in alignment_card(
        dataclasses.replace(shown, arms=seeded)
    )


def test_no_path_and_no_secret_stands_in_it() -> None:
    """Paths and keys everywhere in the config; of a path the last part alone is told."""
    shown = aligned_comparison(base_model=None)
    home, models, windows = PATHS
    config = {
        **shown.config,
        "base_model": {"model": f"{models}/llama-7b/"},
        "document": {"path": f"{home}/rules.txt", "questions": f"{home}/q.jsonl"},
        "teacher": {
            "kind": "local",
            "model": f"{windows}\\parrot",
            "api_key": "sk-very-secret",
            "base_urls": ["http://u:pw@h"],
        },
        "synthesis": {"rows": f"{home}/rows.jsonl", "templates": home},
        "artifacts": home,
        "run_dir": home,
    }
    card = alignment_card(dataclasses.replace(shown, config=config))
    assert not [text for text in (*PATHS, "sk-very", "u:pw", "/home", "/srv") if text in card]
    assert front(card).base_model == "llama-7b"
    assert "| Teacher | parrot (local) |" in card and "| Given rows | from a file |" in card


def test_weights_that_have_not_answered_have_a_card_without_evidence() -> None:
    """As in an export before the evaluation: nothing is claimed, and the limits say why."""
    unasked = ArmResult("sft", {"arm": "sft", "n": 0, "metrics": {}}, [], [], ("sft",))
    card = alignment_card(aligned_comparison(arms=[unasked]), "sft", "adapter")
    assert "Not measured yet: no question has been asked." in part(card, "Evidence")
    assert "Not measured yet." in part(card, "Known failures")
    assert "it was not compared with the base model" in part(card, "Intended use and limits")
    assert front(card).get("model-index") is None and not front(card).eval_results
    assert (front(card).base_model_relation, front(card).library_name) == ("adapter", "peft")


def test_a_model_that_was_not_trained_is_not_called_so() -> None:
    """RAG alone: the base model is told, and no relation to it."""
    rag = dataclasses.replace(aligned_arm("sft"), arm="rag", stages=(), data="")
    card = alignment_card(aligned_comparison(arms=[aligned_arm("base"), rag], results=("rag",)))
    assert "Nothing was trained." in part(card, "Training") and "Nothing was trained." in part(card, "Training data")
    assert "base_model_relation" not in front(card).to_dict()


def test_every_report_writes_one(tmp_path: Path) -> None:
    """A run of an earlier version, which notes neither base nor results, gives page and card; a study gives its own."""
    one = run(tmp_path / "runs" / "sft", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}})
    write_page(compare_runs([one]), one / "report.html")
    card = (one / CARD).read_text(encoding="utf-8")
    assert front(card).license == "unknown" and "It states 50% of the facts" in card
    write_report(tmp_path / "runs", tmp_path / "runs" / "report.html")
    assert (tmp_path / "runs" / CARD).read_text(encoding="utf-8") == card
    noted = BaseModel("owner/base", "", "mit", "", ("LICENSE",))
    write_json(one / RUN, {**read_json(one / RUN), "base_model": dataclasses.asdict(noted)})
    assert front(alignment_card(compare_runs([one]))).license == "mit"


@pytest.mark.parametrize(
    "changes", [{"funnel": None}, {"leak": None}, {"examples": {}}, {"config": {}}, {"passages": []}]
)
def test_what_a_run_lacks_is_left_out(changes: dict[str, Any]) -> None:
    shown: Comparison = aligned_comparison(**changes)
    card = alignment_card(shown)
    assert front(card).eval_results and "Known failures" in card
    assert card == alignment_card(shown)
