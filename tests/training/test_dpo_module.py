"""What DPO watches in its own steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from valign.models.adapters import add_adapter
from valign.models.load import load_model, prepare_model
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
