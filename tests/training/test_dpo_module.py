"""What DPO watches in its own steps."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from valign.models.adapters import add_adapter
from valign.models.load import load_model, prepare_model
from valign.models.policy import load_policy
from valign.training.batches import PlannedBatches
from valign.training.dpo_module import DPOModule
from valign.training.examples import encode_preferences
from valign.training.plan import make_plan


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    return path


def test_falling_chosen_rewards_warn_once(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples, _ = encode_preferences(load_model(model, "float32")[1], tiny.preferences(2), None, 200)
    plan = make_plan([e.length for e in examples], 1, 1, 1, 1, 0)
    module = DPOModule(
        add_adapter(load_model(model, "float32")[0], **tiny.ADAPTER, seed=0),
        lambda rank, world: PlannedBatches(examples, plan, 0, rank, world),
        tiny.dpo_settings(),
        lambda _: {},
    )
    for reward in (-1.0, -6.0, -7.0):
        module.check_report({"chosen_reward": reward})
    assert [r.getMessage() for r in caplog.records if "chosen reward is -6.0" in r.getMessage()]
    assert len(caplog.records) == 1
    assert not any(m.training for m in module.train().model.modules())


def test_pivotal_tokens_are_what_dpo_compares(model: Path, tmp_path: Path) -> None:
    """All pairs part at "Y" and "N", so a pair's whole log-probability is that of one letter."""
    rows = [replace(row, verdict="yes") for row in tiny.preferences(14)]
    tiny.train_dpo(
        tmp_path,
        model,
        [*rows, replace(rows[0], example_id="another", verdict=None)],
        settings={"tokens": "pivotal", "batch_size": 14, "epochs": 1},
        precision="float32",
    )
    policy, tokenizer = load_policy(model, [], "float32")
    pairs, _ = encode_preferences(tokenizer, rows, None, 200)
    logps = []
    for pair in pairs:
        end = pair.conversations[0].prompt_length
        logits = policy(torch.tensor([pair.conversations[0].ids[:end]])).logits[0, -1].log_softmax(-1)
        logps.append([logits[c.ids[end]].item() for c in pair.conversations])
    chosen, rejected = (sum(column) / 14 for column in zip(*logps, strict=True))
    assert tiny.curve(tmp_path, "chosen_logp")[0] == pytest.approx(chosen, abs=1e-4)
    assert tiny.curve(tmp_path, "rejected_logp")[0] == pytest.approx(rejected, abs=1e-4)
    assert tiny.curve(tmp_path)[0] == pytest.approx(math.log(2), rel=1e-6)
