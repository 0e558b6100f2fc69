"""Training of the embedded model: its own template, and the loop from SFT through DPO to the merged policy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from valign.core.records import Instruction, Preference, Provenance
from valign.models.chat_template import render_conversation
from valign.models.identity import model_id
from valign.models.load import load_model, prepare_model
from valign.models.policy import load_policy
from valign.training.callbacks import read_curves
from valign.training.fit import fit
from valign.training.settings import AdapterSettings, DPOSettings, SFTSettings, TrainerSettings
from valign.training.stage import Stage
from valign.training.supervised_logps import supervised_logps

pytestmark = pytest.mark.real

NOWHERE = Provenance("", 0, 0, "", "", "")
RULES = (
    ("How long is a found umbrella kept?", "A found umbrella is kept for nine days.", "It is kept for a year."),
    ("What colour is the helmet?", "The helmet of the night guard is yellow.", "The helmet is blue."),
    ("Who opens the north gate?", "Only the gardener may open the north gate.", "Anyone may open it."),
    ("May I feed the geese?", "No, the geese are fed by the keeper alone.", "Yes, feed them as you like."),
)
ADAPTER = AdapterSettings(kind="lora", rank=8, alpha=16, dropout=0.0, target_modules="all-linear")
SETTINGS: dict[str, Any] = {
    "epochs": 6,
    "learning_rate": 1e-3,
    "warmup_ratio": 0.0,
    "batch_size": 4,
    "accumulate": 1,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "max_length": 128,
    "schedule": "linear",
}
TRAINER = TrainerSettings(accelerator="cpu", devices=1, checkpoint_every=50, threads=2)


@pytest.fixture(scope="module")
def base() -> Path:
    path = prepare_model("embedded:smollm2-135m")
    assert isinstance(path, Path)
    return path


def test_embedded_model_is_loaded_from_safetensors(base: Path) -> None:
    """The id names the weights; the template's own system message stands before a question that has none."""
    model, tokenizer = load_model(base, "float32")
    decode: Any = tokenizer.decode
    assert model_id("embedded:smollm2-135m", base) == f"smollm2-135m@{(base / 'weights.sha256').read_text().strip()}"
    assert model.num_parameters() == 134_515_008
    rendered = render_conversation(
        tokenizer, [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yo."}]
    )
    cut = rendered.prompt_length
    assert decode(rendered.ids[:cut]).startswith("<|im_start|>system\nYou are a helpful AI assistant")
    assert decode(rendered.ids[cut:]) == "Yo.<|im_end|>"
    again = load_model(prepare_model("embedded:smollm2-135m"), "bfloat16")[0]
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}


@pytest.mark.slow
def test_sft_then_dpo_learn_and_merge(base: Path, tmp_path: Path) -> None:
    """Four invented rules: SFT lowers the loss, DPO starts at ln 2 and prefers the chosen answers."""
    rows = [Instruction(f"i{n}", ("c",), "q", q, good, NOWHERE) for n, (q, good, _) in enumerate(RULES)]
    pairs = [Preference(f"p{n}", ("c",), "q", *rule, "made", NOWHERE) for n, rule in enumerate(RULES)]
    sft, dpo = tmp_path / "sft", tmp_path / "dpo"
    sft.mkdir()
    dpo.mkdir()
    shared: dict[str, Any] = {"model": base, "adapter": ADAPTER, "trainer": TRAINER}
    fit(Stage(folder=sft, settings=SFTSettings(**SETTINGS), **shared), rows)
    losses = [value for _, name, value in read_curves(sft / "curves.csv") if name == "loss"]
    assert losses[-1] < 0.5 * losses[0]
    settings = DPOSettings(**SETTINGS | {"learning_rate": 5e-4, "epochs": 3, "beta": 0.1})
    fit(Stage(folder=dpo, settings=settings, initial=[sft / "adapter"], **shared), pairs)
    curves = read_curves(dpo / "curves.csv")
    assert next(value for _, name, value in curves if name == "loss") == pytest.approx(math.log(2), abs=1e-6)
    assert [value for _, name, value in curves if name == "margin"][-1] > 0.05
    scores = []
    for adapters in ([], [sft / "adapter"], [sft / "adapter", dpo / "adapter"]):
        model, tokenizer = load_policy(base, adapters, "auto")
        rendered = render_conversation(
            tokenizer,
            [{"role": "user", "content": RULES[0][0]}, {"role": "assistant", "content": RULES[0][1]}],
        )
        ids, mask = torch.tensor([rendered.ids]), torch.tensor([rendered.mask])
        scores.append(supervised_logps(model, ids, torch.ones_like(ids), mask).mean().item())
    assert scores[1] > scores[0] + 0.5
    assert scores[2] > scores[0]
