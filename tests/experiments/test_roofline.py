"""A training step counted on paper: its operations are those of the formula, and layers add what layers add."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from scripts import load_script


@pytest.fixture(scope="module")
def roofline() -> Any:
    return load_script("benchmark/roofline.py")


def specification(roofline: Any, stage: str, name: str = "valign") -> dict[str, Any]:
    options = argparse.Namespace(shape="tiny", steps=1, batch=2, length=512)
    found = roofline.specifications(options)
    return next(spec for spec in found if (spec["stage"], spec["name"], spec["mixed"]) == (stage, name, False))


def test_a_product_and_a_sum_are_counted(roofline: Any) -> None:
    """2 * 4 * 8 * 16 operations; 4 x 8 and 8 x 16 and 4 x 16 numbers of 4 bytes; views cost nothing."""
    a, b = torch.ones(4, 8), torch.ones(8, 16)
    with roofline.Tally() as tally:
        c = (a @ b).view(2, 2, 16)
        torch.empty(100)
    assert tally.found["flops"] == 1024 and tally.found["bytes"] == 4 * (32 + 128 + 64) and tally.found["kernels"] == 1
    with roofline.Tally() as tally:
        c.add_(torch.ones(1).expand(16))  # which is read once
        c.zero_()
        a.addmm_(torch.ones(4, 2), torch.ones(2, 8))
    assert tally.found["ones n"] == 3 and tally.found["add_ s"] == (4 * 64 * 2 + 4) / 4.8e12
    assert tally.found["zero_ s"] == 4 * 64 / 4.8e12 and tally.found["flops"] == 2 * 4 * 2 * 8


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_step_of_valign_is_the_formula_and_grows_by_the_layer(roofline: Any, tmp_path: Path, stage: str) -> None:
    """Within 3% of what ``useful_flops`` says, the third layer as the second, and no wait for the device."""
    spec = specification(roofline, stage)
    one, two, three = (roofline.count(spec, layers, tmp_path) for layers in (1, 2, 3))
    found = roofline.extrapolated([one, two, three], 3)
    for name in ("flops", "bytes", "kernels"):
        assert found[name] == pytest.approx(three[name], rel=1e-9) and one[name] < two[name]
    _, useful = roofline.needed(spec, tmp_path)  # of two layers, as the tiny shape has
    assert two["flops"] == pytest.approx(useful, rel=0.03)
    assert two["waits"] == 0
    # what each layer adds is added by products, in seven of its layers, forward and back
    assert two["addmm_ n"] - one["addmm_ n"] == 14
    with pytest.raises(SystemExit, match="bytes do not grow by the layer"):
        roofline.extrapolated([one, two, three + Counter({"bytes": 0.01 * three["bytes"]})])


@pytest.mark.slow
def test_a_step_of_trl_counts_too(roofline: Any, tmp_path: Path) -> None:
    """A pair's question twice, each adapter's input converted, and waits for the device."""
    spec = specification(roofline, "dpo", "TRL")
    one, two = (roofline.count(spec, layers, tmp_path) for layers in (1, 2))
    _, useful = roofline.needed(spec, tmp_path)
    assert 1.2 < two["flops"] / useful < 1.6 and two["waits"] > 0
    own = specification(roofline, "dpo")
    less, more = (roofline.count(own, layers, tmp_path)["bytes"] for layers in (1, 2))
    assert more - less < 0.7 * (two["bytes"] - one["bytes"])
