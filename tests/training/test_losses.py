"""The losses against numbers derived by hand and against an independent implementation."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from valign.core.errors import ValignError
from valign.models.chat_template import Rendered
from valign.models.load import load_model, prepare_model
from valign.models.logprobs import output_layer
from valign.models.packing import supports_custom_masks
from valign.training.batches import collate
from valign.training.examples import EncodedExample
from valign.training.losses import dpo_loss, hinge_loss, ipo_loss, robust_dpo_loss, sft_loss, simpo_loss
from valign.training.preference import LOSS_KINDS, PreferenceLoss
from valign.training.settings import LOSSES
from valign.training.supervised_logps import pair_lengths, pair_logps, supervised_logps


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = prepare_model("tiny", tmp_path_factory.mktemp("cache"))
    assert isinstance(path, Path)
    return load_model(path, "float32")[0]


def batch(*rows: tuple[list[int], list[int]], width: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    width = max([width, *(len(ids) for ids, _ in rows)])
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
    attention = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows])
    mask = torch.tensor([mask + [0] * (width - len(mask)) for _, mask in rows])
    return ids, attention, mask


def test_dpo_loss_by_hand() -> None:
    """With beta 0.5, the rewards are 0.5 (-10 + 11) = 0.5 and 0.5 (-12 + 11) = -0.5, so the margin is 1.

    The loss is -log sigmoid(1) = log(1 + 1/e) = 0.31326; the other way round it is log(1 + e) = 1.31326. Label
    smoothing of 0.1 gives 0.9 * 0.31326 + 0.1 * 1.31326 = 0.41326.
    """
    pc, pr, rc, rr = (torch.tensor([x]) for x in (-10.0, -12.0, -11.0, -11.0))
    losses, chosen, rejected = dpo_loss(pc, pr, rc, rr, 0.5)
    assert (chosen.item(), rejected.item()) == (0.5, -0.5)
    assert losses.shape == (1,) and losses.item() == pytest.approx(0.3132617, abs=1e-6)
    assert dpo_loss(pc, pr, rc, rr, 0.5, 0.1)[0].item() == pytest.approx(0.4132617, abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_policy_that_is_its_reference_gives_ln_2(smoothing: float) -> None:
    """The margin is 0 and sigmoid(0) = 1/2, whatever the log-probabilities, beta and label smoothing are."""
    chosen, rejected = torch.tensor([-3.0, -900.0]), torch.tensor([-70.0, -0.5])
    losses, _, _ = dpo_loss(chosen, rejected, chosen, rejected, beta=0.3, label_smoothing=smoothing)
    assert losses.tolist() == pytest.approx([math.log(2)] * 2, abs=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
def test_dpo_loss_and_gradient_against_numpy(smoothing: float) -> None:
    """With s = sigmoid(-margin), d loss / d chosen = -beta (s (1 - e) - (1 - s) e) = -beta (s - e)."""
    draw = np.random.default_rng(0).normal(-40, 12, size=(4, 64))
    beta = 0.2
    margin = beta * ((draw[0] - draw[2]) - (draw[1] - draw[3]))
    expected = (1 - smoothing) * np.logaddexp(0, -margin) + smoothing * np.logaddexp(0, margin)
    slope = -beta * (1 / (1 + np.exp(margin)) - smoothing)
    pc, pr, rc, rr = (torch.tensor(row, requires_grad=True) for row in draw)
    losses, chosen, rejected = dpo_loss(pc, pr, rc, rr, beta, smoothing)
    losses.sum().backward()
    np.testing.assert_allclose(losses.detach().numpy(), expected, rtol=1e-10)
    assert pc.grad is not None and pr.grad is not None
    np.testing.assert_allclose(pc.grad.numpy(), slope, atol=1e-12)
    np.testing.assert_allclose(pr.grad.numpy(), -slope, atol=1e-12)
    assert not chosen.requires_grad and not rejected.requires_grad


def ones(*values: float) -> list[torch.Tensor]:
    return [torch.tensor([value], requires_grad=True) for value in values]


def test_robust_dpo_loss_by_hand() -> None:
    """At the margin 1 of ``test_dpo_loss_by_hand``, with e = 0.1: (0.9 * 0.3132617 - 0.1 * 1.3132617) / 0.8.

    That is (0.2819355 - 0.1313262) / 0.8 = 0.1882617: the DPO loss minus e / (1 - 2 e) = 1/8 of the margin. Its slope
    to the chosen sum is -beta (sigmoid(-1) + 1/8) = -0.5 (0.2689414 + 0.125) = -0.1969707.
    """
    pc, pr, rc, rr = ones(-10.0, -12.0, -11.0, -11.0)
    losses, chosen, rejected = robust_dpo_loss(pc, pr, rc, rr, 0.5, 0.1)
    losses.sum().backward()
    assert losses.item() == pytest.approx(0.1882617, abs=1e-6)
    assert (chosen.item(), rejected.item()) == (0.5, -0.5) and not chosen.requires_grad
    assert pc.grad is not None and pc.grad.item() == pytest.approx(-0.1969707, abs=1e-6)


def test_robust_dpo_loss_of_noisy_pairs_is_the_loss_of_clean_ones() -> None:
    """Of ten pairs with the margin 1 one is flipped: the mean is the DPO loss of ten right ones, log(1 + 1/e)."""
    chosen, rejected = torch.tensor([1.0] * 9 + [0.0]), torch.tensor([0.0] * 9 + [1.0])
    nothing = torch.zeros(10)
    noisy = robust_dpo_loss(chosen, rejected, nothing, nothing, 1.0, 0.1)[0].mean()
    assert noisy.item() == pytest.approx(0.3132617, abs=1e-6)


def test_ipo_loss_by_hand() -> None:
    """The log-ratios are +2 over 4 tokens and -3 over 6: means of 1/2 and -1/2, 1 apart; 1 / (2 * 0.25) is 2.

    The loss is (1 - 2)^2 = 1, its slope to the chosen sum 2 (1 - 2) / 4 = -1/2, to the rejected 2 / 6 = 1/3; the
    rewards are 0.25 * 2 and 0.25 * -3.
    """
    pc, pr, rc, rr = ones(-8.0, -15.0, -10.0, -12.0)
    losses, chosen, rejected = ipo_loss(pc, pr, rc, rr, torch.tensor([4]), torch.tensor([6]), 0.25)
    losses.sum().backward()
    assert (losses.item(), chosen.item(), rejected.item()) == (1.0, 0.5, -0.75)
    assert pc.grad is not None and pc.grad.item() == -0.5
    assert pr.grad is not None and pr.grad.item() == pytest.approx(1 / 3)


def test_hinge_loss_by_hand() -> None:
    """With beta 0.5, margins of 1/2 and 2 give 1/2 and 0; the slopes to the chosen sums are -beta and 0."""
    chosen = torch.tensor([0.5, 2.0], requires_grad=True)
    rejected, reference = torch.tensor([-0.5, -2.0]), torch.zeros(2)
    losses, up, down = hinge_loss(chosen, rejected, reference, reference, 0.5)
    losses.sum().backward()
    assert losses.tolist() == [0.5, 0.0]
    assert (up.tolist(), down.tolist()) == ([0.25, 1.0], [-0.25, -1.0])
    assert chosen.grad is not None and chosen.grad.tolist() == [-0.5, 0.0]


def test_simpo_loss_by_hand() -> None:
    """With beta 2, sums of -4 over 4 tokens and -9 over 6 give rewards of -2 and -3, 1 apart; gamma takes 1 off.

    -log sigmoid(0) = ln 2; its slope to the chosen sum is -1/2 * beta / 4 = -1/4.
    """
    pc, pr = ones(-4.0, -9.0)
    losses, chosen, rejected = simpo_loss(pc, pr, torch.tensor([4]), torch.tensor([6]), 2.0, 1.0)
    losses.sum().backward()
    assert losses.item() == pytest.approx(math.log(2), abs=1e-7)
    assert (chosen.item(), rejected.item()) == (-2.0, -3.0)
    assert pc.grad is not None and pc.grad.item() == -0.25


@pytest.mark.parametrize(
    ("name", "smoothing", "value"),
    [("sigmoid", 0.0, 0.6931472), ("sigmoid", 0.3, 0.6931472), ("robust", 0.3, 0.6931472), ("hinge", 0.0, 1.0),
     ("ipo", 0.0, 2.7777778)],
)  # fmt: skip
def test_losses_of_a_policy_that_is_its_reference(name: str, smoothing: float, value: float) -> None:
    """The sigmoid losses are ln 2; max(0, 1 - 0) for hinge; (0 - 1 / 0.6)^2 = 2.7777778 for IPO, beta 0.3.

    A nat on one answer moves each of them by at least 0.07, which is more than the check lets pass.
    """
    loss = PreferenceLoss(tiny.dpo_settings(loss=name, beta=0.3, label_smoothing=smoothing))
    same, lengths = (torch.tensor([-3.0, -900.0]), torch.tensor([-70.0, -0.5])), (torch.ones(2), torch.ones(2))
    losses, _, _ = loss(same, same, lengths)
    assert losses.tolist() == pytest.approx([value] * 2, abs=1e-6)
    loss.require_start_at_reference(losses, ("a", "b"))
    off, _, _ = loss((same[0] - torch.tensor([0.0, 1.0]), same[1]), same, lengths)
    with pytest.raises(ValignError, match=rf"first loss is .* = {value:.4f} \(pair b\).*delete this stage's folder"):
        loss.require_start_at_reference(off, ("a", "b"))


def test_every_name_has_its_loss_and_starts_where_it_says() -> None:
    """A loss that is forgotten here, or starts elsewhere, would stop every training with it, or train as another."""
    assert tuple(LOSS_KINDS) == LOSSES
    same, lengths = (torch.tensor([-3.0]), torch.tensor([-70.0])), (torch.ones(1), torch.ones(1))
    needed: dict[str, dict[str, float]] = {"robust": {"label_smoothing": 0.2}, "simpo": {"simpo_gamma": 0.5}}
    for name in LOSSES:
        loss = PreferenceLoss(tiny.dpo_settings(loss=name, beta=0.3, **needed.get(name, {})))
        known = loss.at_reference()
        assert loss.needs_reference == (known is not None)
        if known is not None:
            assert loss(same, same, lengths)[0].item() == pytest.approx(known[1], abs=1e-6), name


def test_simpo_has_no_reference_and_no_known_start() -> None:
    loss = PreferenceLoss(tiny.dpo_settings(loss="simpo", beta=2.0, simpo_gamma=1.0))
    assert not loss.needs_reference and loss.at_reference() is None
    losses, _, _ = loss((torch.tensor([-4.0]), torch.tensor([-9.0])), None, (torch.tensor([4]), torch.tensor([6])))
    loss.require_start_at_reference(losses, ("a",))
    assert losses.item() == pytest.approx(math.log(2), abs=1e-7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "ipo", "label_smoothing": 0.1}, r"loss=ipo has no label smoothing: set dpo\.label_smoothing=0"),
        ({"loss": "robust"}, r"robust with dpo\.label_smoothing=0\.0: give the share .*or choose dpo\.loss=sigmoid"),
        ({"loss": "simpo"}, r"simpo needs its margin: add dpo\.simpo_gamma=0\.5"),
        ({"loss": "hinge", "simpo_gamma": 0.5}, r"simpo_gamma=0\.5 belongs to dpo\.loss=simpo: leave it out"),
        ({"loss": "dpo"}, r"dpo\.loss=dpo is unknown; choose sigmoid, robust, ipo, hinge or simpo"),
    ],
)
def test_loss_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValignError, match=message):
        PreferenceLoss(tiny.dpo_settings(**settings))


def test_sft_loss_by_hand() -> None:
    """Of -1, -2, -3, -4 the second and third are supervised: (2 + 3) / 2 = 2.5; each has the slope -1/2."""
    logps = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]], requires_grad=True)
    loss = sft_loss(logps[torch.tensor([[False, True], [True, False]])], 2)
    loss.backward()
    assert loss.item() == 2.5
    assert logps.grad is not None and logps.grad.tolist() == [[0.0, -0.5], [-0.5, 0.0]]


def test_pair_logps_are_sums() -> None:
    """Pair 1 has -1 in common, -2 chosen, -4 rejected; pair 2 has no common answer; lengths do not divide."""
    segments = torch.tensor([[1, 1, 2, 3], [1, 2, 3, 3]])
    mask = torch.tensor([[0, 1, 1, 1], [0, 1, 1, 1]])
    chosen, rejected = pair_logps(torch.tensor([-1.0, -2.0, -4.0, -8.0, -16.0, -32.0]), segments, mask, 2)
    assert (chosen.tolist(), rejected.tolist()) == ([-3.0, -8.0], [-5.0, -48.0])
    counted = pair_lengths(segments, mask, 2)
    assert [lengths.tolist() for lengths in counted] == [[2, 1], [2, 2]]
    rows = torch.tensor([[2, 2, 2], [3, 3, 0]])
    chosen, rejected = pair_logps(torch.tensor([-1.0, -2.0, -4.0]), rows, torch.tensor([[0, 1, 1], [0, 1, 0]]), 1)
    assert (chosen.tolist(), rejected.tolist()) == ([-3.0], [-4.0])


PAIRS = [
    EncodedExample("a", (Rendered((5, 6, 7, 8, 2), (0, 0, 1, 1, 1)), Rendered((5, 6, 7, 9, 9, 2), (0, 0, 1, 1, 1, 1)))),
    EncodedExample("b", (Rendered((9, 10, 11, 12, 2), (0, 0, 0, 1, 1)), Rendered((9, 10, 11, 2), (0, 0, 0, 1)))),
    EncodedExample("c", (Rendered((3, 4, 8), (0, 1, 1)), Rendered((3, 4, 8, 2), (0, 1, 1, 1)))),
]


@pytest.mark.parametrize("implementation", ["valign_grouped", "eager", "sdpa"])
def test_pairs_in_one_row_are_pairs_in_two(model: Any, implementation: str) -> None:
    """Sums and gradients are the same within float32's rounding; also in bfloat16's, with autocast."""
    before = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    weight = model.get_parameter("model.layers.0.self_attn.q_proj.weight").requires_grad_(True)
    try:
        assert supports_custom_masks(model)
        for bfloat16, close in ((False, 1e-5), (True, 2e-2)):
            found = []
            for share in (False, True):
                ids, segments, mask = collate(PAIRS, 0, share)
                assert len(ids) == (3 if share else 6)
                with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                    logps = supervised_logps(model, ids, segments, mask)
                chosen, rejected = pair_logps(logps, segments, mask, 3)
                weights = torch.tensor([1.0, -2.0, 3.0])
                ((chosen - 0.5 * rejected) * weights).sum().backward()
                assert weight.grad is not None
                found.append((chosen.detach(), rejected.detach(), weight.grad.clone()))
                weight.grad = None
            torch.testing.assert_close(found[0], found[1], rtol=close, atol=close)
    finally:
        model.set_attn_implementation(before)
        weight.requires_grad_(False)


def test_models_with_windows_or_other_layers_get_a_row_for_each_answer(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert supports_custom_masks(model)
    monkeypatch.setattr(model.config, "sliding_window", 64, raising=False)
    assert not supports_custom_masks(model)
    monkeypatch.setattr(model.config, "sliding_window", None, raising=False)
    monkeypatch.setattr(model.config, "layer_types", ["full_attention", "linear_attention"], raising=False)
    assert not supports_custom_masks(model)
    monkeypatch.setattr(model.config, "layer_types", None, raising=False)
    monkeypatch.setattr(model.config, "_attn_implementation_internal", "flash_attention_2", raising=False)
    assert not supports_custom_masks(model)


def test_supervised_logps_are_those_of_full_logits(model: Any) -> None:
    """Token t is predicted from the logits at t - 1; computed here in NumPy from all logits."""
    ids, attention, mask = batch(([5, 6, 7, 8, 2], [0, 0, 1, 1, 1]), ([9, 10, 2], [0, 1, 1]))
    logits = model(ids, attention_mask=attention).logits.numpy(force=True).astype(np.float64)
    logps = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = [logps[row, t - 1, ids[row, t]] for row in range(2) for t in range(5) if mask[row, t]]
    assert output_layer(model) is model.get_output_embeddings()
    np.testing.assert_allclose(supervised_logps(model, ids, attention, mask).numpy(), expected, rtol=1e-5)


def test_code_of_a_models_own_is_called_for_its_logits(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = batch(([5, 6, 7, 8, 2], [0, 0, 1, 1, 1]))
    plain = supervised_logps(model, *inputs)
    called: list[Any] = []
    monkeypatch.setattr(type(model), "__module__", "transformers_modules.own")
    hook = model.register_forward_hook(lambda *given: called.append(given[0]))
    torch.testing.assert_close(supervised_logps(model, *inputs), plain)
    hook.remove()
    assert called == [model]


def test_padding_changes_nothing(model: Any) -> None:
    """A row's log-probabilities are the same alone, beside a longer row, and padded further."""
    row, longer = ([5, 6, 7, 2], [0, 0, 1, 1]), ([3] * 30 + [2], [0] * 30 + [1])
    alone = supervised_logps(model, *batch(row))
    torch.testing.assert_close(supervised_logps(model, *batch(row, longer))[:2], alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(supervised_logps(model, *batch(row, width=50)), alone, rtol=1e-5, atol=1e-5)
