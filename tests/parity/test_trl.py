"""The same weights and the same batch give TRL's losses, rewards and gradients; the same seed gives its trajectory.

Everything is float32, and agrees within 1e-5 of the value (gradients: 5e-5 of the largest), over 20 steps as well; seen
are differences below 1e-6. That is rounding: valign computes what both answers of a pair have in common once, attends
with its own kernel, and runs the head on supervised tokens alone.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peers
import pytest
import tiny
import torch

from valign.models.load import load_model, prepare_model
from valign.training.examples import EncodedExample, encode_instructions, encode_preferences
from valign.training.losses import sft_loss
from valign.training.preference import PreferenceLoss
from valign.training.supervised_logps import pair_lengths, pair_logps

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("trl") is None, reason="TRL is not installed: pip install 'valign[dev]'"
    ),
]

STEPS = 20
LOSSES: list[dict[str, Any]] = [
    {"loss": "sigmoid"},
    {"loss": "robust", "label_smoothing": 0.1},
    {"loss": "ipo"},
    {"loss": "hinge"},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    return path


def settings_of(base: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Without warm-up, which TRL begins at a rate of 0 and valign at the first part of it."""
    return base | {"epochs": 1, "warmup_ratio": 0.0} | changes


def sft_examples(model: Path, number: int) -> list[EncodedExample]:
    return encode_instructions(load_model(model, "float32")[1], tiny.instructions(number), None, 200)[0]


def dpo_examples(model: Path, number: int) -> list[EncodedExample]:
    return encode_preferences(load_model(model, "float32")[1], peers.preferences(number), None, 200)[0]


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float = 1e-5) -> None:
    """Every gradient is as near as ``tolerance`` of the largest one."""
    assert one.keys() == other.keys() and one
    largest = max(float(value.abs().max()) for value in other.values())
    assert largest > 0
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=tolerance, atol=tolerance * largest)


def in_order(examples: list[EncodedExample], batches: Any) -> list[EncodedExample]:
    return [examples[i] for step in batches.plan for part in step for i in part]


def test_sft_loss_and_gradients(model: Path, tmp_path: Path) -> None:
    examples, settings = sft_examples(model, 6), settings_of(tiny.SFT, batch_size=6)
    planned = peers.batches(examples, settings)
    policy = peers.adapted(model, moved=0.1)
    made = peers.trainer("sft", model, in_order(examples, planned), policy, tmp_path, settings)
    batch, theirs = planned[0], peers.first_batch(made)
    assert torch.equal(batch.ids, theirs["input_ids"])
    assert torch.equal(batch.mask.bool(), theirs["labels"] != -100)
    loss = sft_loss(peers.token_logps(policy, batch), batch.tokens_in_step)
    loss.backward()
    expected = made.compute_loss(made.model, dict(theirs))
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert_close(peers.gradients(policy), peers.gradients(made.model))


def sums_of(policy: Any, ids: torch.Tensor, attention: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Plain PyTorch: all logits, their log-softmax, and the sum over each row's supervised tokens."""
    logps = policy(input_ids=ids, attention_mask=attention).logits[:, :-1].float().log_softmax(-1)
    return (logps.gather(2, ids[:, 1:, None]).squeeze(2) * mask[:, 1:]).sum(1)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss["loss"])
@pytest.mark.parametrize("precompute", [False, True])
def test_preference_losses_rewards_and_gradients(
    model: Path, tmp_path: Path, loss: dict[str, Any], precompute: bool
) -> None:
    """The policy is away from its reference, which is the bare model, so that no loss is at its known start."""
    examples, settings = dpo_examples(model, 6), settings_of(tiny.DPO, batch_size=6)
    planned = peers.batches(examples, settings)
    policy = peers.adapted(model, moved=0.1)
    own = {"loss_type": loss["loss"], "beta": 0.3, "label_smoothing": loss.get("label_smoothing", 0.0)}
    made = peers.trainer(
        "dpo", model, in_order(examples, planned), policy, tmp_path, settings, **own,
        precompute_ref_log_probs=precompute,
    )  # fmt: skip
    batch, theirs = planned[0], peers.first_batch(made)
    chosen, rejected = pair_logps(peers.token_logps(policy, batch), batch.segments, batch.mask, 6)
    with torch.no_grad(), policy.disable_adapter():
        reference = pair_logps(peers.token_logps(policy, batch), batch.segments, batch.mask, 6)
    lengths = pair_lengths(batch.segments, batch.mask, 6)
    losses, up, down = PreferenceLoss(tiny.dpo_settings(beta=0.3, **loss))((chosen, rejected), reference, lengths)
    losses.mean().backward()
    plain = sums_of(made.model, theirs["input_ids"], theirs["attention_mask"], theirs["completion_mask"]).detach()
    torch.testing.assert_close(torch.cat([chosen, rejected]).detach(), plain, rtol=1e-5, atol=1e-5)
    made.model.train()
    expected = made.compute_loss(made.model, theirs)
    expected.backward()
    assert losses.mean().item() == pytest.approx(expected.item(), rel=1e-5)
    shown = {name: values[-1] for name, values in made._metrics["train"].items()}
    assert up.mean().item() == pytest.approx(shown["rewards/chosen"], rel=1e-4, abs=1e-5)
    assert down.mean().item() == pytest.approx(shown["rewards/rejected"], rel=1e-4, abs=1e-5)
    assert (up > down).float().mean().item() == pytest.approx(shown["rewards/accuracies"])
    assert abs(shown["rewards/margins"]) > 1e-3
    assert_close(peers.gradients(policy), peers.gradients(made.model), 5e-5)


def test_label_smoothing_is_pytorchs_cross_entropy_with_mixed_labels() -> None:
    """TRL 1.16 smooths no sigmoid loss: cDPO against binary cross-entropy of the margin with the labels 1 - e."""
    source = torch.Generator().manual_seed(0)
    pc, pr, rc, rr = (torch.randn(64, generator=source, requires_grad=True) for _ in range(4))
    loss = PreferenceLoss(tiny.dpo_settings(beta=0.7, label_smoothing=0.2))
    losses, up, down = loss((pc, pr), (rc, rr), (torch.ones(64), torch.ones(64)))
    margin = 0.7 * ((pc - rc) - (pr - rr))
    labels = torch.full((64,), 0.8)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(margin, labels, reduction="none")
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(up - down, margin.detach())
    torch.testing.assert_close(
        torch.autograd.grad(losses.sum(), pc, retain_graph=True), torch.autograd.grad(expected.sum(), pc)
    )


def test_simpo_is_that_of_trls_cpo_trainer(model: Path) -> None:
    """Its loss function, on means per token from plain PyTorch."""
    cpo = pytest.importorskip("trl.experimental.cpo")
    examples, settings = dpo_examples(model, 6), settings_of(tiny.DPO, batch_size=6)
    batch = peers.batches(examples, settings)[0]
    found = []
    for plain in (False, True):
        policy = peers.adapted(model, moved=0.1)
        chosen, rejected = pair_logps(peers.token_logps(policy, batch), batch.segments, batch.mask, 6)
        counts = pair_lengths(batch.segments, batch.mask, 6)
        if plain:
            device = SimpleNamespace(device="cpu")
            given = {"alpha": 0.0, "loss_type": "simpo", "simpo_gamma": 0.5, "beta": 2.0, "label_smoothing": 0.0}
            means = (chosen / counts[0], rejected / counts[1])
            losses, up, down = cpo.CPOTrainer.cpo_loss(SimpleNamespace(accelerator=device, **given), *means)
        else:
            loss = PreferenceLoss(tiny.dpo_settings(loss="simpo", beta=2.0, simpo_gamma=0.5))
            losses, up, down = loss((chosen, rejected), None, counts)
        losses.mean().backward()
        found.append((losses.detach(), up, down, peers.gradients(policy)))
    torch.testing.assert_close(found[0][:3], found[1][:3])
    assert_close(found[0][3], found[1][3])


@pytest.mark.parametrize(("batch_size", "accumulate"), [(4, 1), (2, 2)])
def test_sft_trajectory(model: Path, tmp_path: Path, batch_size: int, accumulate: int) -> None:
    rows = tiny.instructions(4 * STEPS)
    settings = settings_of(tiny.SFT, batch_size=batch_size, accumulate=accumulate, learning_rate=5e-3)
    own_run(tiny.train_sft, tmp_path / "valign", model, rows, settings)
    examples = sft_examples(model, len(rows))
    ordered = in_order(examples, peers.batches(examples, settings))
    made = peers.trainer("sft", model, ordered, peers.adapted(model), tmp_path / "trl", settings)
    made.train()
    assert_same_trajectory(tmp_path / "valign", made, fall=0.3)


@pytest.mark.parametrize(("batch_size", "accumulate", "sft_weight"), [(4, 1, 0.0), (2, 2, 0.0), (4, 1, 0.5)])
def test_dpo_trajectory(model: Path, tmp_path: Path, batch_size: int, accumulate: int, sft_weight: float) -> None:
    """TRL's SFT term is a mean over each batch's tokens, valign's over the step's: the same without accumulation."""
    rows = peers.preferences(4 * STEPS)
    settings = settings_of(
        tiny.DPO, batch_size=batch_size, accumulate=accumulate, sft_weight=sft_weight, schedule="cosine"
    )
    own_run(tiny.train_dpo, tmp_path / "valign", model, rows, settings)
    examples = dpo_examples(model, len(rows))
    ordered = in_order(examples, peers.batches(examples, settings))
    own: dict[str, Any] = {"beta": settings["beta"], "precompute_ref_log_probs": True}
    if sft_weight:
        own |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, sft_weight]}
    made = peers.trainer("dpo", model, ordered, peers.adapted(model), tmp_path / "trl", settings, **own)
    made.train()
    assert_same_trajectory(tmp_path / "valign", made, fall=0.02)
    margins, theirs = tiny.curve(tmp_path / "valign", "margin"), peers.logged(made, "rewards/margins")
    assert margins == pytest.approx(theirs, rel=1e-4, abs=1e-5)


def own_run(train: Any, folder: Path, model: Path, rows: Any, settings: dict[str, Any]) -> None:
    """Train with valign."""
    folder.mkdir()
    train(folder, model, rows, settings=settings, seed=peers.SEED)


def assert_same_trajectory(folder: Path, made: Any, fall: float) -> None:
    """Loss, norm of the gradient and learning rate of every step are equal, and the loss has fallen by ``fall``."""
    losses = tiny.curve(folder)
    assert len(losses) == STEPS and losses[-1] < losses[0] - fall
    for name in ("loss", "grad_norm", "learning_rate"):
        assert tiny.curve(folder, name) == pytest.approx(peers.logged(made, name), rel=1e-5)
