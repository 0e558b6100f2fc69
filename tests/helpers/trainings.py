"""Trainings with and without padding, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
import torch

from valign.models.chat_template import Rendered
from valign.models.load import load_model
from valign.training.examples import EncodedExample
from valign.training.supervised_logps import supervised_logps

OPENING = (9, 8, 7, 6, 5, 4, 3, 11, 12, 13, 14, 15)


def turn(question: tuple[int, ...], answer: tuple[int, ...]) -> Rendered:
    ids = (*OPENING, *question, *answer, 2)
    return Rendered(ids, (0,) * (len(ids) - len(answer) - 1) + (1,) * (len(answer) + 1))


SFT = [EncodedExample(str(i), (turn(tuple(range(20, 21 + i)), tuple(range(30, 40 - 2 * i))),)) for i in range(4)]


DPO = [
    EncodedExample(str(i), (turn((20 + i,), (30, 31, 32 + i)), turn((20 + i,), (30, *range(40, 40 + i)))))
    for i in range(4)
]

# At their pivotal token: it ends both conversations, and one opening and question predict it.
PIVOTAL = [
    EncodedExample(e.example_id, tuple(Rendered(c.ids[:15], (*c.mask[:14], 1)) for c in e.conversations)) for e in DPO
]
# Nothing is supervised in the first one; what follows the supervised tokens of the second predicts nothing.
PARTLY = [
    EncodedExample("none", (Rendered(SFT[0].conversations[0].ids, (0,) * 24),)),
    EncodedExample("tail", (Rendered(SFT[1].conversations[0].ids, (*(0,) * 15, 1, 1, *(0,) * 6)),)),
    SFT[2],
]


def adapted(path: Path) -> Any:
    return tiny.with_adapter(load_model(path, "float32")[0])


def both(model: Any, inputs: Any, bfloat16: bool = False) -> list[dict[str, torch.Tensor]]:
    """Return log-probabilities and gradients, with padding and without."""
    found = []
    ids, segments, mask = inputs
    for padding_free in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logps = supervised_logps(model, ids, segments, mask, padding_free)
        (logps * torch.linspace(-1, 2, len(logps))).sum().backward()
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
        found[-1]["logps"] = logps.detach()
        model.zero_grad()
    return found


def require_equal(found: list[dict[str, torch.Tensor]], close: float = 1e-5) -> None:
    """Compare to a tolerance; gradients to a tenth of it of the largest."""
    largest = max(float(value.abs().max()) for value in found[0].values())
    assert len(found[0]) > 20 and found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=close, atol=close * largest / 10)


def distances(found: dict[str, torch.Tensor], exact: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Return the relative distances of all gradients, and of the log-probabilities, from exact ones."""

    def flat(values: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([values[name].flatten() for name in sorted(values) if name != "logps"])

    pairs = ((flat(found), flat(exact)), (found["logps"], exact["logps"]))
    gradients, logps = (float((a - b).norm() / b.norm()) for a, b in pairs)
    return gradients, logps
