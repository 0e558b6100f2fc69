"""The losses: pure functions of log-probabilities, and the one place that computes those from a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGIT_TRANSFORMS = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")


def sft_loss(token_logps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean negative log-likelihood in nats per supervised token.

    Args:
        token_logps: Log-probability of each token, any shape.
        mask: Same shape, 1 where the token is supervised.

    Returns:
        Scalar.
    """
    return -(token_logps * mask).sum() / mask.sum()


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


def sequence_logps(token_logps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sum the log-probabilities of each row's supervised tokens; the sum is never divided by a length.

    Args:
        token_logps: (supervised,), row after row, as ``supervised_logps`` returns them.
        mask: (rows, positions), 1 where a token is supervised.

    Returns:
        (rows,) in nats.
    """
    rows = token_logps.new_zeros(mask.shape)
    return rows.masked_scatter(mask.bool(), token_logps).sum(-1)


def supervised_logps(model: Any, ids: torch.Tensor, attention_mask: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each supervised token, given those before it.

    The output layer runs only at the positions that predict a supervised token, so that logits of the whole batch
    never exist; models that change their logits behind the output layer compute all of them.

    Args:
        model: A causal language model, with or without an adapter.
        ids: Token ids, padded on the right, (rows, positions).
        attention_mask: 1 where a token is not padding, (rows, positions).
        mask: 1 where a token is supervised, (rows, positions); never at position 0, which nothing predicts.

    Returns:
        (supervised,) in float32, row after row.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    predicts = mask[:, 1:].bool()
    inputs = {"input_ids": ids, "attention_mask": attention_mask, "use_cache": False}
    if has_plain_head(base):
        hidden = base.get_decoder()(**inputs).last_hidden_state
        logits = base.get_output_embeddings()(hidden[:, :-1][predicts])
    else:
        logits = model(**inputs).logits[:, :-1][predicts]
    return -F.cross_entropy(logits.float(), ids[:, 1:][predicts], reduction="none")


def has_plain_head(model: PreTrainedModel) -> bool:
    """Tell whether the logits are the output layer's own product, with no scaling or capping behind it."""
    config = model.config.get_text_config()
    changed = any(getattr(config, name, None) not in (None, 1, 1.0) for name in LOGIT_TRANSFORMS)
    own_code = not type(model).__module__.startswith("transformers.models.")
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    return not (changed or own_code or decoder is model or model.get_output_embeddings() is None)
