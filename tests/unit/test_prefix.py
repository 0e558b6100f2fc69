"""What all rows begin with is computed once, and nothing but rounding changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from valign.models import add_adapter, load, prepare_model
from valign.training import prefix
from valign.training.chat import Rendered
from valign.training.data import Example, collate
from valign.training.losses import supervised_logps

OPENING = (9, 8, 7, 6, 5, 4, 3, 11, 12, 13, 14, 15)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    adapted: Any = add_adapter(load(path, "float32")[0], **tiny.ADAPTER, seed=0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(1))
    return adapted


def turn(question: tuple[int, ...], answer: tuple[int, ...]) -> Rendered:
    ids = (*OPENING, *question, *answer, 2)
    return Rendered(ids, (0,) * (len(ids) - len(answer) - 1) + (1,) * (len(answer) + 1))


SFT = [Example(str(i), (turn(tuple(range(20, 21 + i)), tuple(range(30, 40 - 2 * i))),)) for i in range(4)]
DPO = [
    Example(str(i), (turn((20 + i,), (30, 31, 32 + i)), turn((20 + i,), (30, *range(40, 40 + i))))) for i in range(4)
]


@pytest.mark.parametrize("implementation", ["valign_grouped", "sdpa"])
@pytest.mark.parametrize("examples", [SFT, DPO], ids=["sft", "dpo"])
def test_sharing_changes_nothing(
    model: Any, examples: list[Example], implementation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-probabilities and the gradients of every adapter weight are equal, in float32 and in bfloat16."""
    base = model.get_base_model()
    calls: list[int] = []
    before = base.config._attn_implementation
    base.set_attn_implementation(implementation)
    inner = prefix.hidden_behind

    def counted(given: Any, length: int, *others: torch.Tensor) -> torch.Tensor:
        calls.append(length)
        return inner(given, length, *others)

    monkeypatch.setattr("valign.training.losses.hidden_behind", counted)
    ids, segments, mask = collate(examples, 0)
    try:
        for bfloat16, close in ((False, 1e-5), (True, 5e-2)):
            found = []
            for fewest in (10**9, 32):
                monkeypatch.setattr(prefix, "FEWEST_TOKENS", fewest)
                with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                    logps = supervised_logps(model, ids, segments, mask)
                (logps * torch.linspace(-1, 2, len(logps))).sum().backward()
                found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
                found[-1]["logps"] = logps.detach()
                model.zero_grad()
            assert len(found[0]) > 20
            largest = max(float(value.abs().max()) for value in found[0].values())
            for name, value in found[0].items():
                torch.testing.assert_close(value, found[1][name], rtol=close, atol=close * largest / 10)
        assert calls == [12, 12]
    finally:
        base.set_attn_implementation(before)


def test_how_much_is_shared(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4 rows that begin with 12 tokens, 36 are spared; a position that predicts an answer is never shared.

    Equal questions are shared up to the last token, from which the first of the answer is predicted.
    """
    base = model.get_base_model()

    def shared(examples: list[Example]) -> int:
        ids, segments, mask = collate(examples, 0)
        return prefix.shared_prefix(base, ids, segments, mask.bool().nonzero(as_tuple=True)[1] - 1)

    assert shared(SFT) == shared(DPO) == 12
    assert shared(SFT[:3]) == 0
    same = [Example(str(i), (turn((20,), (30, 31)),)) for i in range(4)]
    assert shared(same) == 12
    dropout = torch.nn.Dropout(0.1)
    monkeypatch.setattr(base, "extra", dropout, raising=False)
    assert shared(SFT) == 0
    dropout.eval()
    assert shared(SFT) == 12
    monkeypatch.delattr(base.get_decoder(), "rotary_emb")
    assert shared(SFT) == 0
