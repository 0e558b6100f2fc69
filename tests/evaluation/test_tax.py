"""The alignment tax: divergences by hand, items that their own rules judge, limits, and where they are shown."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import comparison, page

from valign.core.files import read_rows
from valign.evaluation.settings import TaxSettings
from valign.evaluation.tax.drift import HiddenStates, measure_drift, read_hidden_states
from valign.evaluation.tax.items import everyday_tasks, general_texts
from valign.evaluation.tax.measure import VALUES, measure_tax
from valign.evaluation.tax.scores import TAX_METRICS, tax_scores
from valign.models.load import load_model, prepare_model
from valign.reporting.exports import csv_table
from valign.reporting.tax_and_probes import TAX_REMEDY, extra_markdown, extra_tables, extra_terminal
from valign.runs.summaries import flat_scores


def test_divergences_by_hand() -> None:
    """The arm says 1/2, 1/2 and the base 1/4, 3/4, at each of 70 positions (more than a chunk).

    KL(arm ‖ base) = ln(2) / 2 + ln(2/3) / 2 = ln(4/3) / 2; KL(base ‖ arm) = ln(1/2) / 4 + 3 ln(3/2) / 4.
    Every token is the second: ln 2 and ln(4/3).
    """
    head = torch.nn.Identity()
    arm = HiddenStates([torch.zeros(70, 2)], head)
    base = HiddenStates([torch.tensor([[0.0, math.log(3)]]).repeat(70, 1)], head)
    (found,) = measure_drift([[1] * 71], arm, base)
    assert found.tokens == 70
    assert found.nll == pytest.approx(math.log(2))
    assert found.base_nll == pytest.approx(math.log(4 / 3))
    assert found.kl_arm_base == pytest.approx(math.log(4 / 3) / 2, abs=1e-6)
    assert found.kl_base_arm == pytest.approx(math.log(1 / 2) / 4 + 3 * math.log(3 / 2) / 4, abs=1e-6)


def test_reading_equals_the_whole_models_loss() -> None:
    model, tokenizer = load_model(prepare_model("tiny"), "float32")
    ids = tokenizer(general_texts()[0].text)["input_ids"]
    with torch.inference_mode():
        loss = float(model(torch.tensor([ids]), labels=torch.tensor([ids])).loss)
    reading = read_hidden_states(model, [ids])
    (found,) = measure_drift([ids], reading, reading)
    assert found.nll == found.base_nll == pytest.approx(loss, abs=1e-5)
    assert found.kl_arm_base == found.kl_base_arm == 0


def test_every_rule_takes_its_right_answer_and_no_wrong_one() -> None:
    tasks = everyday_tasks()
    assert len({task.item_id for task in tasks}) == len(tasks) == 40
    assert [task.item_id for task in tasks if not task.solved(f" {task.right}\n")] == []
    assert [task.item_id for task in tasks if task.solved(task.wrong) or task.solved("")] == []


def test_general_texts_are_short_and_differ() -> None:
    texts = general_texts()
    assert len({text.text for text in texts}) == len({text.item_id for text in texts}) == 30
    assert all(75 <= len(text.text.split()) <= 120 for text in texts)


def rows(nlls: Sequence[float], correct: Sequence[float]) -> list[dict[str, Any]]:
    """Return a text of one token and one of three, and two tasks; the base's likelihoods are 2 and 1."""
    texts = [
        {"item_id": f"t{i}", "tokens": n, "nll": nll, "base_nll": base, "kl_arm_base": 0.5, "kl_base_arm": 0.25}
        for i, (n, nll, base) in enumerate(zip((1, 3), nlls, (2.0, 1.0), strict=True))
    ]
    return [*texts, *({"item_id": f"d{i}", "answer": "so", "correct": c} for i, c in enumerate(correct))]


def test_tax_by_hand() -> None:
    """Over tokens: (4 + 3 * 1.2) / 4 = 1.9, and an increase of (2 + 3 * 0.2) / 4 = 0.65; a drop of (1 + 0) / 2."""
    limits = TaxSettings(max_nll_increase=0.1, max_accuracy_drop=0.5)
    found = tax_scores(rows([4.0, 1.2], [0.0, 1.0]), rows([2.0, 1.0], [1.0, 1.0]), limits, samples=200)
    means = {name: entry["mean"] for name, entry in found["metrics"].items()}
    assert list(means) == list(TAX_METRICS)
    assert means["general_nll"] == pytest.approx(1.9)
    assert means["general_nll_increase"] == pytest.approx(0.65)
    assert means["perplexity_ratio"] == pytest.approx(math.exp(0.65))
    assert (means["everyday_accuracy"], means["everyday_drop"]) == (0.5, 0.5)
    assert (means["kl_arm_base"], means["kl_base_arm"]) == (0.5, 0.25)
    assert found["metrics"]["general_nll_increase"]["ci95"] == pytest.approx([0.2, 2.0])
    assert found["crossed"] == ["general_nll_increase"]


class Loader:
    """Loads the tiny model; the one with weights is another one."""

    def __init__(self) -> None:
        """Nothing was loaded."""
        self.loaded: list[int] = []

    def __call__(self, weights: Sequence[Path]) -> tuple[Any, Any]:
        """Return the model and its tokenizer."""
        self.loaded.append(len(weights))
        model, tokenizer = load_model(prepare_model("tiny"), "float32")
        if weights:
            torch.manual_seed(0)
            with torch.no_grad():
                for parameter in model.get_decoder().parameters():
                    parameter.add_(0.02 * torch.randn_like(parameter))
        return model, tokenizer


def test_a_model_is_measured_beside_its_base_and_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind the texts, the second call loads the arm's model alone, for the instructions."""
    first, second = Loader(), Loader()
    settings: dict[str, Any] = {"label": "sft", "max_new_tokens": 2, "batch_tokens": 8192}

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("valign.evaluation.tax.measure.complete_requests", killed)
        measure_tax(tmp_path, [Path("adapter")], first, **settings)
    counts = measure_tax(tmp_path, [Path("adapter")], second, **settings)
    assert (first.loaded, second.loaded) == ([0, 1], [1])
    assert [file.name for file in tmp_path.iterdir()] == [VALUES]
    values = read_rows(tmp_path / VALUES)
    texts = [row for row in values if "tokens" in row]
    assert (len(texts), len(values)) == (30, 70) == (counts["texts"], counts["texts"] + counts["tasks"])
    assert all(row["kl_arm_base"] > 0 and row["kl_base_arm"] > 0 and row["nll"] != row["base_nll"] for row in texts)


def taxed() -> Any:
    """Return the comparison of the ferry, whose SFT arm crosses a limit."""
    limits = TaxSettings(max_nll_increase=0.1, max_accuracy_drop=0.5)
    base, sft, *others = comparison().arms
    known = rows([2.0, 1.0], [1.0, 1.0])
    for_base = tax_scores(known, known, limits, samples=100)
    for_sft = tax_scores(rows([4.0, 1.2], [0.0, 1.0]), known, limits, samples=100)
    parts = ((base, for_base, ()), (sft, for_sft, ("sft",)))
    arms = [dataclasses.replace(a, scores={**a.scores, "tax": t}, stages=stages) for a, t, stages in parts]
    return comparison(*arms, *others)


def test_the_terminal_shows_what_a_crossed_limit_is_about() -> None:
    shown, *sentences = extra_terminal(taxed())
    head, *rows = shown.splitlines()
    assert head.split() == ["What", "did", "it", "cost?", "base", "SFT"]
    assert {len(row) for row in rows} == {len(head)}
    assert next(row for row in rows if row.startswith("NLL increase")).endswith("above 0.1")
    assert sentences[0] == "Limit crossed: NLL increase of SFT is 0.650, above 0.1."
    assert extra_terminal(comparison()) == []


def test_the_page_shows_a_crossed_limit_in_red_and_in_words(tmp_path: Path) -> None:
    shown = page(tmp_path, taxed())
    assert "Limit crossed: NLL increase of SFT is 0.650, above 0.1." in shown.text()
    assert [a["class"] for a in shown.all("td") if "crossed" in (a.get("class") or "")] == ["number crossed"]
    assert "What did it cost?" not in page(tmp_path, comparison()).text()


def test_markdown_csv_and_tracker_have_the_tax() -> None:
    """Two arms were measured, and the third was not."""
    (table,) = extra_tables(taxed())
    assert table.arms == ["base", "SFT"]
    (text,) = extra_markdown(taxed())
    assert "| NLL increase ↓ (limit 0.1) | 0.000 [0.000, 0.000] | 0.650 [0.200, 2.000] **above 0.1** |" in text
    assert text.endswith(TAX_REMEDY)
    alone = taxed()
    alone = dataclasses.replace(alone, arms=[dataclasses.replace(a, stages=("dpo",)) for a in alone.arms])
    assert TAX_REMEDY not in extra_markdown(alone)[0]  # no general instructions are learned beside pairs
    (replayed,) = extra_markdown(dataclasses.replace(taxed(), config={"sft": {"replay": 0.25}}))
    assert TAX_REMEDY not in replayed
    assert extra_markdown(comparison()) == []
    found = [r for r in csv.DictReader(io.StringIO(csv_table(taxed()))) if r["metric"] == "kl_arm_base"]
    assert [(r["arm"], r["mean"], r["n"]) for r in found] == [("base", "0.5", "4"), ("sft", "0.5", "4")]
    flat = flat_scores(taxed().arms[1].scores)
    assert flat["scores/sft/everyday_drop"] == 0.5
