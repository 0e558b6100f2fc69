"""The losses of SFT and DPO: pure functions of log-probabilities."""

from __future__ import annotations

import torch
import torch.nn.functional as F


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
        policy_chosen: Summed log-probabilities of the chosen answers under the policy, in nats, (batch,).
        policy_rejected: The same of the rejected answers, (batch,).
        reference_chosen: As ``policy_chosen``, under the reference policy, (batch,).
        reference_rejected: As ``policy_rejected``, under the reference policy, (batch,).
        beta: Strength of the pull to the reference policy.
        label_smoothing: Share of pairs whose preference is the wrong way round, below 0.5.

    Returns:
        Losses, chosen rewards and rejected rewards, each (batch,); the rewards are detached.
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
        policy_chosen: Summed log-probabilities of the chosen answers under the policy, in nats, (batch,).
        policy_rejected: The same of the rejected answers, (batch,).
        reference_chosen: As ``policy_chosen``, under the reference policy, (batch,).
        reference_rejected: As ``policy_rejected``, under the reference policy, (batch,).
        chosen_lengths: Supervised tokens of the chosen answers, (batch,).
        rejected_lengths: Supervised tokens of the rejected answers, (batch,).
        beta: The mean log-ratios are pulled 1 / (2 beta) nats apart.

    Returns:
        Losses, chosen rewards and rejected rewards, each (batch,); the rewards are detached.
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
        policy_chosen: Summed log-probabilities of the chosen answers under the policy, in nats, (batch,).
        policy_rejected: The same of the rejected answers, (batch,).
        reference_chosen: As ``policy_chosen``, under the reference policy, (batch,).
        reference_rejected: As ``policy_rejected``, under the reference policy, (batch,).
        beta: A pair counts until its log-ratios are 1 / beta nats apart.

    Returns:
        Losses, chosen rewards and rejected rewards, each (batch,); the rewards are detached.
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
        Losses, chosen rewards and rejected rewards, each (batch,); the rewards, beta times the means per token, are
        detached.
    """
    chosen = beta * policy_chosen / chosen_lengths  # eq. 4
    rejected = beta * policy_rejected / rejected_lengths
    return -F.logsigmoid(chosen - rejected - gamma), chosen.detach(), rejected.detach()  # eq. 6
