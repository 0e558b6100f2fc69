"""Log-probabilities from the output layer, in chunks: logits of a whole batch never exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from valign.models.layers import has_hooks, is_sharded

CPU_LOGITS = 2**24  # of a chunk, 64 MiB in float32; smaller products are slower
GPU_LOGITS = 2**26  # 512 rows at a vocabulary of 128k, as many as a product needs to be bound by arithmetic
# of a config, what logits are multiplied and divided by, and capped at
FACTORS, DIVISORS = ("logit_scale", "lm_head_multiplier"), ("logits_scaling", "logits_mup_width_multiplier")
CAPS = ("final_logit_softcapping", "logits_soft_cap")
MULTIPLIED = ("hyperclovax",)  # families that multiply by what others divide by
IGNORED = ("mpt",)  # families that leave their logits as they are
# families whose logits are known to be made so: tests/models/test_families.py has another value than 1 in each
SCALED = (
    *("cohere", "cohere2", "gemma2", "gemma3_text", "granite", "granitemoe", "granitemoeshared", "hyperclovax"),
    *("inkling_text", "recurrent_gemma", "vaultgemma"),
)
KEPT_CHUNKS = 4  # a trained output layer keeps the logits of so many, which is quicker than computing them again


def token_logps(
    head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Return the log-probability of each token, from the hidden state that predicts it.

    Under a frozen output layer, the gradient of each hidden state is computed along with its log-probability, but for
    the factor that only the loss knows; so no logits are kept, and none are computed twice. Under one that is trained,
    the backward pass computes the logits again where they fill more than four chunks. An output layer with an adapter,
    with hooks, or in shards is called as a module, with all positions at once.

    Args:
        head: The output layer; what it makes of the hidden states is the logits.
        hidden: (tokens, hidden size).
        targets: Token ids, (tokens,).

    Returns:
        (tokens,) in float32, in nats.
    """
    if not _is_plain(head):
        return _logps(head(hidden), targets)
    weight: torch.Tensor = head.weight
    bias: torch.Tensor | None = head.bias
    trained = weight.requires_grad or (bias is not None and bias.requires_grad)
    size = max(1, (CPU_LOGITS if hidden.device.type == "cpu" else GPU_LOGITS) // len(weight))
    if len(hidden) <= size * (KEPT_CHUNKS if trained else 1) and (trained or not hidden.requires_grad):
        return _logps(head(hidden), targets)
    if torch.is_grad_enabled() and trained:
        return _trained_head(hidden, weight, bias, targets, size)
    weight, bias = _autocast(weight, hidden), None if bias is None else _autocast(bias, hidden)
    if torch.is_grad_enabled() and hidden.requires_grad:
        return _frozen_head(hidden, weight, bias, targets, size)
    return torch.cat([_logps(F.linear(h, weight, bias), t) for h, t in _chunks(size, hidden, targets)])


def logits_of(head: Callable[[torch.Tensor], torch.Tensor], hidden: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    """Return the logits of a few tokens, computed in float32 where the output layer's weight is at hand.

    In bfloat16 a logit of 16 to 32 is a multiple of an eighth, and two tokens that are nearly as likely get the same.

    Args:
        head: As in ``token_logps``.
        hidden: (positions, hidden size).
        tokens: K token ids.

    Returns:
        (positions, K) in float32.
    """
    if not _is_plain(head):
        return head(hidden)[:, tokens].float()
    bias = None if head.bias is None else head.bias[tokens].float()
    return F.linear(hidden.float(), head.weight[tokens].float(), bias)


def has_known_head(model: PreTrainedModel) -> bool:
    """Tell whether ``output_layer`` makes a model's logits of its decoder's states, as far as that is known.

    Code of its own may do anything, and so may a family whose config has a factor or a cap that nobody has looked at.
    """
    own_code = not type(model).__module__.startswith("transformers.models.")
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
    is_known = not _transforms(model) or model.config.get_text_config().model_type in SCALED
    return is_known and not (own_code or decoder is model or model.get_output_embeddings() is None)


def output_layer(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what makes a model's logits of its last hidden states: the output layer, and what is done behind it.

    A layer without anything behind it is returned as it is, so that ``token_logps`` computes it in chunks.
    """
    head: Any = model.get_output_embeddings()
    changes = _transforms(model)
    if not changes:
        return head
    multiplies = model.config.get_text_config().model_type in MULTIPLIED
    factor, cap = 1.0, None
    for name, value in changes.items():
        if name in CAPS:
            cap = value
        else:
            factor *= value if name in FACTORS or multiplies else 1 / value

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = head(hidden) * factor
        return torch.tanh(found / cap) * cap if cap else found

    return logits


def _transforms(model: PreTrainedModel) -> dict[str, float]:
    """Return what a model does to the logits that its output layer makes, by the name in its config."""
    config = model.config.get_text_config()
    if config.model_type in IGNORED:
        return {}
    values = {name: getattr(config, name, None) for name in (*FACTORS, *DIVISORS, *CAPS)}
    return {name: value for name, value in values.items() if value not in (None, 0, 1)}


def _is_plain(head: Any) -> TypeGuard[torch.nn.Linear]:
    """Tell whether a call of the output layer is the product with its weight and nothing else."""
    if not isinstance(head, torch.nn.Linear) or type(head) is not torch.nn.Linear or "forward" in vars(head):
        return False
    weight: Any = head.weight
    return not (is_sharded(weight) or has_hooks(head))


def _logps(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return -F.cross_entropy(logits.float(), targets, reduction="none")


def _autocast(weight: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return a weight as autocast would give it to a product: converted once, instead of for every chunk."""
    device = hidden.device.type
    return weight.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else weight


def _chunks(size: int, *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield ``size`` rows of each tensor at a time; of none, where there are none, once."""
    return zip(*(tensor.split(size) for tensor in tensors), strict=True)


def _logps_and_gradients(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-probabilities, and their derivatives by the logits: one at the target, less the softmax.

    Returns:
        (tokens,) and (tokens, vocabulary), both in float32.
    """
    logps = torch.log_softmax(F.linear(hidden, weight, bias).float(), -1)
    found = logps.gather(1, targets[:, None])
    gradients = logps.exp_().neg_()
    return found.squeeze(1), gradients.scatter_add_(1, targets[:, None], torch.ones_like(found))


class _FrozenHead(torch.autograd.Function):
    """Log-probabilities whose derivatives by the hidden states are there before the loss is.

    The loss reaches a token's logits by its log-probability alone, so what is upstream is one factor a token:
    d loss / d hidden_t = (d loss / d logp_t) (onehot(target_t) - softmax_t) W. The rest of that is what is kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        size: int,
    ) -> torch.Tensor:
        """Compute the log-probabilities and keep (tokens, hidden size)."""
        logps = hidden.new_empty(len(hidden), dtype=torch.float32)
        gradients = torch.empty_like(hidden)
        for h, t, found, gradient in _chunks(size, hidden, targets, logps, gradients):
            values, by_logits = _logps_and_gradients(h, weight, bias, t)
            found.copy_(values)
            gradient.copy_(by_logits.to(weight.dtype) @ weight)
        ctx.save_for_backward(gradients)
        return logps

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        """Multiply what was kept by each token's factor."""
        (gradients,) = ctx.saved_tensors
        return (gradients * upstream[:, None]).to(gradients.dtype), None, None, None, None


class _TrainedHead(torch.autograd.Function):
    """Log-probabilities whose logits are computed again in the backward pass, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        size: int,
    ) -> torch.Tensor:
        """Compute the log-probabilities."""
        ctx.save_for_backward(hidden, weight, bias, targets)
        ctx.size = size
        ctx.dtype = _autocast(weight, hidden).dtype
        w, b = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
        return torch.cat([_logps(F.linear(h, w, b), t) for h, t in _chunks(size, hidden, targets)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients for hidden states, weight and bias; the weight's is summed in its own dtype."""
        hidden, weight, bias, targets = ctx.saved_tensors
        w, b = weight.to(ctx.dtype), None if bias is None else bias.to(ctx.dtype)
        by_hidden, by_weight = torch.empty_like(hidden), torch.zeros_like(weight)
        by_bias = None if bias is None else torch.zeros_like(bias)
        for h, t, up, out in _chunks(ctx.size, hidden, targets, upstream, by_hidden):
            inputs = h.to(ctx.dtype)
            by_logits = _logps_and_gradients(inputs, w, b, t)[1].mul_(up[:, None]).to(ctx.dtype)
            out.copy_(by_logits @ w)
            if by_weight.dtype == ctx.dtype:
                by_weight.addmm_(by_logits.T, inputs)
            else:
                by_weight += by_logits.T @ inputs
            if by_bias is not None:
                by_bias += by_logits.sum(0)
        return by_hidden, by_weight, by_bias, None, None


_frozen_head: Any = _FrozenHead.apply
_trained_head: Any = _TrainedHead.apply
