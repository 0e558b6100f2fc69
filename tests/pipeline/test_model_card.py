"""Exported weights carry the alignment card of their run as model card, before and after the arms have answered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import ModelCard
from random_models import random_model
from seeded_runs import BASE, run
from tiny import with_adapter

from valign.core.errors import ValignError
from valign.core.files import write_json
from valign.core.records import Document, Passage
from valign.models.adapters import save_adapter
from valign.models.export import write_adapter
from valign.pipeline.recipes import Arm
from valign.pipeline.weights import model_card
from valign.runs.layout import RUN

SFT = Arm("sft", ("sft",), False)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base model's folder with its terms."""
    folder = tmp_path / "models" / "my-base"
    folder.mkdir(parents=True)
    (folder / "LICENSE").write_text("Permission is hereby granted, free of charge, to any person")
    return folder


def known(base: Path) -> Any:
    """Return the part of a context that the card reads."""
    document = Document("d", "Rules", "Nobody may.", "cd" * 32, (Passage("d/1", (), "Nobody may.", 0, 11),))
    settings = SimpleNamespace(base_model=SimpleNamespace(model=str(base)), experiment_name="rules")
    noted = {"seed": 3, "base_model": {"model": str(base)}, "adapter": {"kind": "lora"}}
    return SimpleNamespace(settings=settings, model_path=base, document=document, noted=noted)


def artifacts(data: Path | None) -> Any:
    return SimpleNamespace(find_pinned=lambda _: data, hashes={"sft": "1" * 16})


def test_an_adapter_comes_with_the_card_of_its_run(base: Path, tmp_path: Path) -> None:
    """It has the run's figures, the base's licence as its files say it now, and stands as README.md."""
    folder = run(tmp_path / "run", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}})
    card = model_card(folder, known(base), artifacts(None), SFT, "adapter")
    save_adapter(with_adapter(random_model("llama")), tmp_path / "trained")
    write_adapter(tmp_path / "out", str(base), [tmp_path / "trained"], card)
    read: Any = ModelCard.load(tmp_path / "out" / "README.md")
    assert (read.data.license, read.data.base_model, read.data.library_name) == ("mit", "my-base", "peft")
    assert read.data.base_model_relation == "adapter"
    assert [(r.metric_type, r.metric_value) for r in read.data.eval_results] == [("fact_recall", 0.5)]
    assert "It states 50% of the facts" in read.text
    assert str(tmp_path) not in read.content
    whole: Any = ModelCard(model_card(folder, known(base), artifacts(None), SFT, "model"))
    assert (whole.data.library_name, whole.data.base_model_relation) == ("transformers", "finetune")


def test_before_the_arms_have_answered_the_card_claims_nothing(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_json(data / "funnel.json", {"sft": {"made": 3, "dropped": {}, "kept": 3, "per_clause": {"d/1": 3}}})
    read: Any = ModelCard(model_card(tmp_path / "run", known(base), artifacts(data), SFT, "adapter"))
    assert read.data.license == "mit" and not read.data.eval_results
    assert "Not measured yet: no question has been asked." in read.text
    assert "from 3 questions with answers" in read.text and "cd" * 32 in read.text
    assert str(tmp_path) not in read.content


@pytest.mark.parametrize("noted", [[], {}, {"arms": [{}]}, {"config": {}, "document": {}, "arms": []}])
def test_a_damaged_evaluation_is_one_line(noted: Any, base: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "run" / RUN, noted)
    with pytest.raises(ValignError, match="has scores or answers that its card cannot be written from"):
        model_card(tmp_path / "run", known(base), artifacts(None), SFT, "adapter")
