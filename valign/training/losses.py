"""The losses: pure functions of log-probabilities, and the one place that computes those from a model."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

from valign.models.logprobs import token_logps
from valign.models.packing import as_mask, pack, packs_by_itself, seen_by

COMMON, CHOSEN, REJECTED = 1, 2, 3
LOGIT_TRANSFORMS = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")


def sft_loss(logps: torch.Tensor, tokens: int) -> torch.Tensor:
    """Return the negative log-likelihood in nats per supervised token.

    Args:
        logps: Log-probabilities of supervised tokens, or sums of them, any shape.
        tokens: How many tokens share the loss: those of a whole optimizer step, of which these may be a part.

    Returns:
        Scalar.
    """
    return -logps.sum() / tokens


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    beta: float,
    label_smoothing: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the DPO loss of each pair (Rafailov et al., 2023, arXiv:2305.18290).

    Args:
        policy_chosen: Summed log-probabilities of the chosen answers under the policy, in nats, (batch,).
        policy_rejected: The same of the rejected answers, (batch,).
        reference_chosen: As ``policy_chosen``, under the reference policy, (batch,).
        reference_rejected: As ``policy_rejected``, under the reference policy, (batch,).
        beta: Strength of the pull to the reference policy.
        label_smoothing: Assumed share of pairs whose preference is the wrong way round (cDPO; Mitchell, 2023).

    Returns:
        Losses, chosen rewards and rejected rewards, each (batch,); the rewards are detached.
    """
    chosen = beta * (policy_chosen - reference_chosen)  # implicit reward r(x, y), eq. 5 without its constant
    rejected = beta * (policy_rejected - reference_rejected)
    margin = chosen - rejected
    losses = -F.logsigmoid(margin)  # eq. 7
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * F.logsigmoid(-margin)  # cDPO, eq. 3
    return losses, chosen.detach(), rejected.detach()


def robust_dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    beta: float,
    label_smoothing: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the robust DPO loss of each pair (rDPO; Chowdhury et al., 2024, arXiv:2403.00409, the unbiased loss).

    With l the DPO loss and e the share of pairs the wrong way round, ((1 - e) l(margin) - e l(-margin)) / (1 - 2 e),
    whose mean over noisy pairs is that of l over clean ones. It is negative for pairs that are clearly apart.

    Args:
        policy_chosen: As in ``dpo_loss``, and so are the three that follow, (batch,).
        policy_rejected: See there.
        reference_chosen: See there.
        reference_rejected: See there.
        beta: Strength of the pull to the reference policy.
        label_smoothing: Share of pairs whose preference is the wrong way round, below 0.5.

    Returns:
        As ``dpo_loss``.
    """
    chosen = beta * (policy_chosen - reference_chosen)
    rejected = beta * (policy_rejected - reference_rejected)
    margin = chosen - rejected
    kept, flipped = -F.logsigmoid(margin), -F.logsigmoid(-margin)
    losses = ((1 - label_smoothing) * kept - label_smoothing * flipped) / (1 - 2 * label_smoothing)
    return losses, chosen.detach(), rejected.detach()


def ipo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    chosen_lengths: torch.Tensor,
    rejected_lengths: torch.Tensor,
    beta: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the IPO loss of each pair (Azar et al., 2023, arXiv:2310.12036, eq. 17, whose tau is ``beta``).

    The log-ratios are means per token, as in TRL 1.16, so that one beta serves answers of every length; the rewards
    are beta times their sums, as with the other losses.

    Args:
        policy_chosen: As in ``dpo_loss``, and so are the three that follow: sums, (batch,).
        policy_rejected: See there.
        reference_chosen: See there.
        reference_rejected: See there.
        chosen_lengths: Supervised tokens of the chosen answers, (batch,).
        rejected_lengths: Supervised tokens of the rejected answers, (batch,).
        beta: The mean log-ratios are pulled 1 / (2 beta) nats apart.

    Returns:
        As ``dpo_loss``.
    """
    chosen, rejected = policy_chosen - reference_chosen, policy_rejected - reference_rejected
    losses = (chosen / chosen_lengths - rejected / rejected_lengths - 1 / (2 * beta)) ** 2  # eq. 17
    return losses, beta * chosen.detach(), beta * rejected.detach()


def hinge_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor,
    reference_rejected: torch.Tensor,
    beta: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the hinge loss of each pair: max(0, 1 - margin).

    SLiC's calibration loss (Zhao et al., 2023, arXiv:2305.10425) against the reference policy, which RSO calls
    hinge-norm (Liu et al., 2023, arXiv:2309.06657, whose gamma is ``beta``).

    Args:
        policy_chosen: As in ``dpo_loss``, and so are the three that follow, (batch,).
        policy_rejected: See there.
        reference_chosen: See there.
        reference_rejected: See there.
        beta: A pair counts until its log-ratios are 1 / beta nats apart.

    Returns:
        As ``dpo_loss``.
    """
    chosen = beta * (policy_chosen - reference_chosen)
    rejected = beta * (policy_rejected - reference_rejected)
    return F.relu(1 - (chosen - rejected)), chosen.detach(), rejected.detach()


def simpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    chosen_lengths: torch.Tensor,
    rejected_lengths: torch.Tensor,
    beta: float,
    gamma: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute the SimPO loss of each pair (Meng et al., 2024, arXiv:2405.14734, eq. 6); it needs no reference.

    Args:
        policy_chosen: Summed log-probabilities of the chosen answers, in nats, (batch,).
        policy_rejected: The same of the rejected answers, (batch,).
        chosen_lengths: Supervised tokens of the chosen answers, (batch,).
        rejected_lengths: Supervised tokens of the rejected answers, (batch,).
        beta: Scale of the mean log-probabilities.
        gamma: Margin that the scaled means are to have.

    Returns:
        As ``dpo_loss``; the rewards are beta times the means per token.
    """
    chosen = beta * policy_chosen / chosen_lengths  # eq. 4
    rejected = beta * policy_rejected / rejected_lengths
    return -F.logsigmoid(chosen - rejected - gamma), chosen.detach(), rejected.detach()  # eq. 6


def pair_logps(
    token_logps: torch.Tensor, segments: torch.Tensor, mask: torch.Tensor, pairs: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum the log-probabilities of both answers of each pair; a sum is never divided by a length here.

    Args:
        token_logps: (supervised,), row after row, as ``supervised_logps`` returns them.
        segments: As in ``Batch``, (rows, positions): row ``i`` belongs to pair ``i % pairs``.
        mask: 1 where a token is supervised, (rows, positions).
        pairs: Number of pairs: as many rows, or half as many where each answer has a row of its own.

    Returns:
        Sums of the chosen and of the rejected answers, each (pairs,) in nats.
    """
    rows = token_logps.new_zeros(mask.shape).masked_scatter(mask.bool(), token_logps)
    chosen = (rows * (segments != REJECTED)).sum(-1)
    rejected = (rows * (segments != CHOSEN)).sum(-1)
    return chosen.view(-1, pairs).sum(0), rejected.view(-1, pairs).sum(0)


def pair_lengths(segments: torch.Tensor, mask: torch.Tensor, pairs: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the number of supervised tokens of the chosen and of the rejected answers, each (pairs,); see above."""
    return pair_logps(mask[mask.bool()], segments, mask, pairs)


def supervised_logps(
    model: Any, ids: torch.Tensor, segments: torch.Tensor, mask: torch.Tensor, padding_free: bool | None = None
) -> torch.Tensor:
    """Return the log-probability of each supervised token, given those before it in its conversation.

    The output layer runs only at the positions that predict a supervised token, in chunks (``token_logps``), so that
    logits of the whole batch never exist; models that change their logits behind the output layer compute all of them.

    Args:
        model: A causal language model, with or without an adapter.
        ids: Token ids, padded on the right, (rows, positions).
        segments: As in ``Batch``, (rows, positions): 0 for padding, 1 elsewhere, and 2 and 3 where a row holds both
            answers of a pair behind what they have in common.
        mask: 1 where a token is supervised, (rows, positions); never at position 0, which nothing predicts.
        padding_free: Whether the layers get all rows as one, without padding (``valign.models.packing``); None
            where it is quicker for sure: with the grouped attention of a CPU.

    Returns:
        (supervised,) in float32, row after row.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    row, target = mask.bool().nonzero(as_tuple=True)
    before = target - 1
    skipped = (segments == CHOSEN).sum(1)
    paired = bool(((segments == CHOSEN).any(1) & (segments == REJECTED).any(1)).any())
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    if paired:
        positions = positions - (segments == REJECTED) * skipped[:, None]
        first = (segments[row, target] == REJECTED) & (segments[row, before] != REJECTED)
        before = before - first * skipped[row]
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": (segments > 0).long(), "use_cache": False}
    if packs_by_itself(base) if padding_free is None else padding_free:
        inputs, index = pack(base, ids, segments, positions, before)
        at = torch.zeros_like(row), index[row, before]
    else:
        at = row, before
        if paired:
            inputs |= {"attention_mask": _branches(base, segments), "position_ids": positions}
    if not has_plain_head(base):
        logits = model(**inputs).logits[at]
        return -F.cross_entropy(logits.float(), ids[row, target], reduction="none")
    hidden = base.get_decoder()(**inputs).last_hidden_state[at]
    return token_logps(base.get_output_embeddings(), hidden, ids[row, target])


def _branches(model: PreTrainedModel, segments: torch.Tensor) -> torch.Tensor:
    """Return the attention mask of rows that may hold two answers: each sees what both have in common, and itself.

    Returns:
        (rows, 1, positions, positions): True where a token is seen, or as numbers that are added to the scores.
    """
    return as_mask(model, seen_by(segments))


def has_plain_head(model: PreTrainedModel) -> bool:
    """Tell whether the logits are the output layer's own product, with no scaling or capping behind it."""
    config = model.config.get_text_config()
    changed = any(getattr(config, name, None) not in (None, 1, 1.0) for name in LOGIT_TRANSFORMS)
    own_code = not type(model).__module__.startswith("transformers.models.")
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    return not (changed or own_code or decoder is model or model.get_output_embeddings() is None)
