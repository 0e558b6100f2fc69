"""Parts of a layer that training and generation both compute: projections, norms, rotary positions."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
KNOWN_FAMILIES = ("llama", "mistral", "qwen2")


def is_known_family(model: Any) -> bool:
    """Tell whether a model without adapters is of one of the families in transformers."""
    return type(model).__module__ in {f"transformers.models.{name}.modeling_{name}" for name in KNOWN_FAMILIES}


class Projection(NamedTuple):
    """A frozen linear layer and its adapter: ``x W^T + bias + scale (x A^T) B^T`` (Hu et al., 2021, arXiv:2106.09685).

    Attributes:
        weight: W, (out, in).
        bias: (out,), or None.
        down: A, (rank, in), or None without an adapter.
        up: B, (out, rank), or None.
        scale: alpha / rank.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    down: torch.Tensor | None
    up: torch.Tensor | None
    scale: float


def read_projection(layer: Any) -> Projection | None:
    """Return what a linear layer computes; None where it is not frozen, is sharded, has hooks or does anything else."""
    from peft.tuners.lora.layer import Linear

    inner, down, up, scale = layer, None, None, 0.0
    if type(layer) is Linear:
        inner, names = layer.base_layer, list(layer.active_adapters)
        plain = not (layer.disable_adapters or layer.merged or layer.lora_variant) and list(layer.lora_A) == names
        if not plain or len(names) != 1 or not isinstance(layer.lora_dropout[names[0]], torch.nn.Identity):
            return None
        first, second = layer.lora_A[names[0]], layer.lora_B[names[0]]
        if second.bias is not None or is_sharded(first.weight):
            return None
        down, up, scale = first.weight, second.weight, float(layer.scaling[names[0]])
    if type(inner) is not torch.nn.Linear or is_sharded(inner.weight) or has_hooks(layer) or has_hooks(inner):
        return None
    if any(p.requires_grad for p in inner.parameters()):
        return None
    return Projection(inner.weight, inner.bias, down, up, scale)


def is_silu(activation: torch.nn.Module) -> bool:
    """Tell whether an activation is SiLU, PyTorch's or that of transformers."""
    return type(activation).__name__ in ("SiLU", "SiLUActivation")


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``weight * x / rms(x)``, and ``1 / rms(x)`` in float32, (..., 1).

    Args:
        x: (..., size).
        weight: (size,).
        epsilon: Added to the mean square.
    """
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    inverse = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
    return (x * inverse).to(x.dtype) * weight, inverse


def rotate(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, direction: int) -> torch.Tensor:
    """Rotate each pair of entries half a head apart by its angle (Su et al., 2021, arXiv:2104.09864).

    Args:
        x: (..., head size).
        cosine: Of the angles; broadcasts with x.
        sine: As cosine.
        direction: 1, or -1 to rotate back.
    """
    half = x.shape[-1] // 2
    first, second, angle = x[..., :half], x[..., half:], sine[..., :half]
    y = x * cosine
    y[..., :half].addcmul_(second, angle, value=-direction)
    y[..., half:].addcmul_(first, angle, value=direction)
    return y


def has_hooks(module: torch.nn.Module) -> bool:
    """Tell whether a call of a module is more than its forward function."""
    return any(getattr(module, name) for name in HOOKS)


def is_sharded(parameter: torch.Tensor) -> bool:
    """Tell whether a parameter is one of ZeRO-3's, which are empty between their uses."""
    return hasattr(parameter, "ds_id")
