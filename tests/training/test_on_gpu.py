"""A GPU computes what a CPU does: trainings, merged policies, answers. Skipped where there is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import varlen_reference
from torch.nn.attention import varlen

from valign.generation.generator import Generator
from valign.generation.requests import Request, Sampling
from valign.models.policy import load_policy
from valign.models.varlen import Sequences, find_sequences, varlen_attention
from valign.training.supervised_logps import supervised_logps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

IDS = torch.arange(3, 43).view(2, 20)
ON_GPU = {"accelerator": "gpu", "threads": None}


@pytest.fixture(scope="module")
def trained(path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """SFT, then DPO on top of it, on both devices in float32; the folders of each."""
    found = {}
    for device, trainer in (("cpu", {}), ("cuda", ON_GPU)):
        folders = [tmp_path_factory.mktemp(f"{device}-{stage}") for stage in ("sft", "dpo")]
        tiny.train_sft(folders[0], path, tiny.instructions(12), trainer=trainer)
        tiny.train_dpo(folders[1], path, tiny.preferences(12), trainer=trainer, initial=[folders[0] / "adapter"])
        found[device] = folders
    return found


def test_trainings_are_those_of_a_cpu(trained: dict[str, list[Path]]) -> None:
    """Step by step, DPO's margins too, which begin at zero: its reference is what it starts from."""
    for on_cpu, on_gpu in zip(trained["cpu"], trained["cuda"], strict=True):
        losses = tiny.curve(on_gpu)
        assert losses == pytest.approx(tiny.curve(on_cpu), abs=1e-3) and len(set(losses)) > 1
    margins = tiny.curve(trained["cuda"][1], "margin")
    assert margins == pytest.approx(tiny.curve(trained["cpu"][1], "margin"), abs=1e-3)
    assert margins[0] == pytest.approx(0, abs=1e-4) and margins[-1] > 1e-3


def test_a_merged_policy_is_that_of_a_cpu(path: Path, trained: dict[str, list[Path]]) -> None:
    """The same adapters, merged on either device, and not those of another training."""
    mask = torch.ones_like(IDS)
    mask[:, 0] = 0
    adapters = [folder / "adapter" for folder in trained["cpu"]]
    found = {}
    for device in ("cpu", "cuda"):
        model, _ = load_policy(path, adapters, "float32", device=device)
        ids, ones, kept = (t.to(device) for t in (IDS, torch.ones_like(IDS), mask))
        found[device] = supervised_logps(model, ids, ones, kept).cpu()
    torch.testing.assert_close(found["cuda"], found["cpu"], rtol=1e-4, atol=1e-4)
    base = supervised_logps(load_policy(path, [], "float32")[0], IDS, torch.ones_like(IDS), mask)
    assert (base - found["cpu"]).abs().max() > 1e-2


def test_answers_are_those_of_a_cpu(path: Path, tmp_path: Path) -> None:
    """Greedy answers of prompts of several lengths, in one batch, word for word; the model has learned to say some."""
    tiny.train_sft(tmp_path, path, tiny.instructions(32), settings={"epochs": 12, "learning_rate": 1e-2})
    requests = [
        Request(({"role": "user", "content": "Rule 3?" + " And?" * i},), Sampling(max_new_tokens=12)) for i in range(4)
    ]
    answers = {}
    for device in ("cpu", "cuda"):
        model, tokenizer = load_policy(path, [tmp_path / "adapter"], "float32", device=device)
        answers[device] = [row[0].text for row in Generator(model, tokenizer, "tiny").complete(requests)]
    assert answers["cuda"] == answers["cpu"] and any(answers["cpu"])


@pytest.mark.parametrize("kernels", [None, "liger"])
def test_bfloat16_trains_too(path: Path, tmp_path: Path, kernels: str | None, trained: dict[str, list[Path]]) -> None:
    """Losses are those of float32 to bfloat16's precision, with liger-kernel's layers as well."""
    if kernels and importlib.util.find_spec("liger_kernel") is None:
        pytest.skip("needs liger-kernel")
    trainer: dict[str, Any] = ON_GPU | {"kernels": kernels}
    tiny.train_sft(tmp_path, path, tiny.instructions(12), trainer=trainer, precision="bfloat16")
    losses = tiny.curve(tmp_path)
    assert losses == pytest.approx(tiny.curve(trained["cpu"][0]), abs=0.05) and losses[-1] < losses[0]


def test_attention_of_many_lengths_is_the_plain_one() -> None:
    """PyTorch's kernel against plain arithmetic in bfloat16: pairs whose second answer sees what both begin with."""
    sequences = find_sequences([20, 7, 0], [9, 0, 5], [13, 0, 0])
    source = torch.Generator().manual_seed(0)
    states = [torch.randn(1, heads, 54, 64, generator=source).cuda().bfloat16() for heads in (8, 2, 2)]
    tensors: Any = [x.cuda() if isinstance(x, torch.Tensor) else x for x in sequences]
    on_gpu = Sequences(*tensors)
    found = []
    for kernel in (varlen.varlen_attn, varlen_reference.varlen_attn):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(varlen, "varlen_attn", kernel)
            q, k, v = given = [x.detach().requires_grad_() for x in states]
            output, _ = varlen_attention(torch.nn.Module(), q, k, v, None, 0.125, sequences=on_gpu)
            (output.float() * torch.linspace(-1, 1, 64, device="cuda")).sum().backward()
            found.append([output, *(x.grad for x in given)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2 * float(other.abs().max()))


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_batches_by_tokens_train_as_rows_do(path: Path, tmp_path: Path, stage: str) -> None:
    """In bfloat16 with PyTorch's attention for many lengths, against padded rows."""
    train: Any = tiny.train_sft if stage == "sft" else tiny.train_dpo
    rows: Any = tiny.instructions(12) if stage == "sft" else tiny.preferences(12)
    curves = []
    for name, tokens, trainer in (("rows", None, {"padding_free": False}), ("tokens", 150, {})):
        (tmp_path / name).mkdir()
        settings, given = {"batch_tokens": tokens}, ON_GPU | trainer
        train(tmp_path / name, path, rows, settings=settings, trainer=given, precision="bfloat16")
        curves.append(tiny.curve(tmp_path / name))
    assert curves[1] == pytest.approx(curves[0], abs=0.05) and len(set(curves[1])) > 1
