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
    """A frozen linear layer and its adapters: ``x W^T + bias + scale (x A^T) B^T`` (Hu et al., 2021, arXiv:2106.09685).

    Attributes:
        weight: W, (out, in).
        bias: (out,), or None.
        down: A, (rank, in), or None without an adapter.
        up: B, (out, rank), or None.
        scale: alpha / rank.
        below: A and B, scaled, of a frozen adapter under this one, in the dtype of W; None for none.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    down: torch.Tensor | None
    up: torch.Tensor | None
    scale: float
    below: tuple[torch.Tensor, torch.Tensor] | None = None


def read_projection(layer: Any) -> Projection | None:
    """Return what a linear layer computes; None where it is not frozen, is sharded, has hooks or does anything else."""
    from peft.tuners.lora.layer import Linear

    is_adapted = type(layer) is Linear
    inner = layer.base_layer if is_adapted else layer
    if type(inner) is not torch.nn.Linear or is_sharded(inner.weight) or has_hooks(layer) or has_hooks(inner):
        return None
    if any(p.requires_grad for p in inner.parameters()):
        return None
    plain = Projection(inner.weight, inner.bias, None, None, 0.0)
    return _with_adapters(plain, layer) if is_adapted else plain


def _with_adapters(plain: Projection, layer: Any) -> Projection | None:
    """Add what PEFT's layer has to a projection: one adapter, or one and a frozen one under it."""
    names = list(layer.active_adapters)
    if layer.disable_adapters or layer.merged or layer.lora_variant or set(layer.lora_A) != set(names):
        return None
    found = []
    for name in names:
        down, up = layer.lora_A[name].weight, layer.lora_B[name]
        if up.bias is not None or is_sharded(down) or not isinstance(layer.lora_dropout[name], torch.nn.Identity):
            return None
        found.append((down, up.weight, float(layer.scaling[name])))
    found.sort(key=lambda each: each[0].requires_grad)
    if len(found) == 2 and not found[0][0].requires_grad:
        down, up, scale = found.pop(0)
        dtype = plain.weight.dtype
        plain = plain._replace(below=(down.detach().to(dtype), (up.detach() * scale).to(dtype)))
    if len(found) != 1:
        return None
    return plain._replace(down=found[0][0], up=found[0][1], scale=found[0][2])


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
