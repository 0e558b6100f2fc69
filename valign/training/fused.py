"""LoRA training on a CPU in fewer and larger operations, with gradients written by hand.

PyTorch's way through an adapted layer is some thirty small operations and their backward passes, on a CPU as dear as
the products of matrices between them. Here a norm, the projections of one input, the rotary positions, attention and
the gated feed-forward layer are one function each: the same numbers up to rounding, and less that is kept for the
backward pass. What a layer has to be for that is asked for by its class; any other is computed as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from valign.models import attention
from valign.models.layers import Projection, has_hooks, is_known, is_sharded, is_silu, projection, rms_norm, rotated


def fuse(model: Any) -> int:
    """Let a model's layers be computed in fewer operations, where they are known and their own weights are frozen.

    Known are the norms, attention and feed-forward layers of Llama, Mistral and Qwen2 in transformers, with the
    grouped attention; their projections may have a LoRA adapter of PEFT, or none. With dropout on an adapter's input
    only the norms are changed. The model is not to be given other adapters afterwards.

    Args:
        model: A causal language model on a CPU, with or without an adapter.

    Returns:
        How many modules are computed so.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not is_known(base):
        return 0
    found = 0
    for module in base.modules():
        if type(module).__module__ == type(base).__module__ and (forward := _fused(module)) is not None:
            module.forward = forward
            found += 1
    return found


def _fused(module: torch.nn.Module) -> Callable[..., Any] | None:
    """Return what computes a module in fewer operations, if anything does."""
    kinds: dict[str, Callable[[Any], Callable[..., Any] | None]] = {
        "RMSNorm": _Norm.of,
        "Attention": _Attention.of,
        "MLP": _FeedForward.of,
    }
    name = type(module).__name__
    return next((of(module) for end, of in kinds.items() if name.endswith(end)), None)


class Bundle:
    """Layers with one input, their adapters in the layers' own dtype, and the adapters' first halves in one product.

    Args:
        parts: The layers.
        trained: Whether gradients may be asked for. Where not, as for DPO's reference, adapters that are still zero are
            left out, which changes nothing.
    """

    def __init__(self, parts: Sequence[Projection], trained: bool = True) -> None:
        self.parts = parts
        dtype = parts[0].weight.dtype
        adapters = [(p.down, p.up) for p in parts if p.down is not None and p.up is not None]
        self.ups = [None if p.up is None else p.up.detach().to(dtype) for p in parts]
        if not trained and not any(bool(up.any()) for _, up in adapters):
            adapters, self.ups = [], [None for _ in parts]
        self.ranks = [len(down) for down, _ in adapters]
        self.downs = torch.cat([down.detach() for down, _ in adapters]).to(dtype) if adapters else None

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Return the products with (tokens, in), each (tokens, out), and what the first halves make of it."""
        low = None if self.downs is None else x @ self.downs.t()
        lows = self._split(low)
        outputs = []
        for part, up in zip(self.parts, self.ups, strict=True):
            y = F.linear(x, part.weight, part.bias)
            outputs.append(y if up is None else y.addmm_(next(lows), up.t(), alpha=part.scale))
        return outputs, low

    def backward(
        self, grads: Sequence[torch.Tensor], x: torch.Tensor, low: torch.Tensor | None, wanted: bool
    ) -> tuple[torch.Tensor | None, list[torch.Tensor | None]]:
        """Return the gradient of the input, None where it is not wanted, and those of each layer's A and B.

        Args:
            grads: Of the outputs, each (tokens, out).
            x: The input, (tokens, in).
            low: As ``forward`` returned it.
            wanted: Whether the input's gradient is.
        """
        into: torch.Tensor | None = None
        for part, grad in zip(self.parts, grads, strict=True):
            if wanted:
                into = grad @ part.weight if into is None else into.addmm_(grad, part.weight)
        if self.downs is None or low is None:
            return into, [None for _ in self.parts for _ in range(2)]
        adapted = [(p, up, g) for p, up, g in zip(self.parts, self.ups, grads, strict=True) if up is not None]
        slope = torch.cat([(grad @ up).mul_(part.scale) for part, up, grad in adapted], 1)
        if into is not None:
            into.addmm_(slope, self.downs)
        firsts, lows = iter((slope.t() @ x).split(self.ranks)), self._split(low)
        found: list[torch.Tensor | None] = []
        for part, up, grad in zip(self.parts, self.ups, grads, strict=True):
            found += [None, None] if up is None else [next(firsts), (grad.t() @ next(lows)).mul_(part.scale)]
        return into, found

    def _split(self, low: torch.Tensor | None) -> Iterator[torch.Tensor]:
        return iter(()) if low is None else iter(low.split(self.ranks, 1))


def _projections(module: Any, names: Sequence[str]) -> list[Projection] | None:
    """Return a module's linear layers, by name; None where one of them is not what ``projection`` wants."""
    found = [projection(getattr(module, name, None)) for name in names]
    known = [part for part in found if part is not None]
    return known if len(known) == len(found) else None


def project(x: torch.Tensor, parts: Sequence[Projection]) -> tuple[torch.Tensor, ...]:
    """Return the products of several layers with one input.

    Args:
        x: (..., in).
        parts: The layers.

    Returns:
        (..., out) of each, in the dtype of its weights.
    """
    flat = x.reshape(-1, x.shape[-1]).to(parts[0].weight.dtype)
    weights = [p for part in parts for p in (part.down, part.up)]
    outputs: tuple[torch.Tensor, ...] = _Project.apply(flat, parts, torch.is_grad_enabled(), *weights)
    return tuple(y.view(*x.shape[:-1], -1) for y in outputs)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, parts: Sequence[Projection], trained: bool, *_: Any
    ) -> tuple[torch.Tensor, ...]:
        with torch.autocast(x.device.type, enabled=False):
            ctx.bundle = Bundle(parts, trained)
            outputs, low = ctx.bundle.forward(x)
        ctx.save_for_backward(x, low)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        x, low = ctx.saved_tensors
        into, slopes = ctx.bundle.backward(grads, x, low, ctx.needs_input_grad[0])
        return into, None, None, *slopes


class _FeedForward:
    """``down(silu(gate(x)) * up(x))``, as a module's forward function."""

    def __init__(self, parts: list[Projection]) -> None:
        self.parts = parts
        self.weights = [p for part in parts for p in (part.down, part.up)]

    @classmethod
    def of(cls, module: Any) -> _FeedForward | None:
        parts = _projections(module, ("gate_proj", "up_proj", "down_proj"))
        return cls(parts) if parts and is_silu(module.act_fn) else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1]).to(self.parts[0].weight.dtype)
        y: torch.Tensor = _Gated.apply(flat, self.parts, torch.is_grad_enabled(), *self.weights)
        return y.view(*x.shape[:-1], -1)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, parts: Sequence[Projection], trained: bool, *_: Any) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            ctx.first, ctx.second = Bundle(parts[:2], trained), Bundle(parts[2:], trained)
            (g, u), low = ctx.first.forward(x)
            (y,), low_inner = ctx.second.forward(F.silu(g).mul_(u))
        ctx.save_for_backward(x, g, u, low, low_inner)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, g, u, low, low_inner = ctx.saved_tensors
        act = F.silu(g)
        inner, slopes_inner = ctx.second.backward([grad], act * u, low_inner, True)
        grads = torch.ops.aten.silu_backward(inner * u, g), act.mul_(inner)
        into, slopes = ctx.first.backward(grads, x, low, ctx.needs_input_grad[0])
        return into, None, None, *slopes, *slopes_inner


class _Norm:
    """``weight * x / rms(x)`` (Zhang and Sennrich, 2019, arXiv:1910.07467), as a module's forward function."""

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        self.weight, self.epsilon = weight, epsilon

    @classmethod
    def of(cls, module: Any) -> _Norm | None:
        weight = module.weight
        frozen = not (weight.requires_grad or is_sharded(weight) or has_hooks(module))
        return cls(weight, float(module.variance_epsilon)) if frozen else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = _Rms.apply(x, self.weight, self.epsilon)
        return y


class _Rms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        y, inverse = rms_norm(x, weight, epsilon)
        ctx.save_for_backward(x, weight, inverse)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        x, weight, inverse = ctx.saved_tensors
        scaled = grad * weight
        along = (scaled * x).sum(-1, keepdim=True, dtype=torch.float32)
        along.mul_(inverse.square()).div_(-x.shape[-1])
        return torch.addcmul(scaled, x, along).mul_(inverse).to(x.dtype), None, None


class _Attention:
    """Self-attention with rotary positions, as a module's forward function; any cache is the module's own affair."""

    def __init__(self, module: Any, parts: list[Projection]) -> None:
        self.module, self.three, self.out = module, parts[:3], parts[3:]

    @classmethod
    def of(cls, module: Any) -> _Attention | None:
        grouped = module.config._attn_implementation == attention.NAME and not module.attention_dropout
        parts = _projections(module, ("q_proj", "k_proj", "v_proj", "o_proj"))
        return cls(module, parts) if grouped and parts else None

    def __call__(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        places: attention.Places | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        module, shape = self.module, hidden_states.shape[:-1]
        query, key, value = (y.view(*shape, -1, module.head_dim) for y in project(hidden_states, self.three))
        cosine, sine = (table[:, :, None] for table in position_embeddings)
        query, key = (_Rotate.apply(y, cosine, sine).transpose(1, 2) for y in (query, key))
        value = value.transpose(1, 2)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, module.layer_idx)
        if places is not None:
            query, key, value = (places.spread(y) for y in (query, key, value))
        seen: torch.Tensor
        if query.shape[2] >= attention.LONG:
            seen = attention.attend_long(query, key, value, attention_mask, module.scaling, places)
        else:
            seen = _Attend.apply(query, key, value, attention_mask, module.scaling)
        if places is not None:
            seen = places.gather(seen)
        return project(seen.reshape(*shape, -1), self.out)[0], None


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cosine, sine)
        return rotated(x, cosine, sine, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        cosine, sine = ctx.saved_tensors
        return rotated(grad, cosine, sine, -1), None, None


class _Attend(torch.autograd.Function):
    """What ``valign.models.attention.grouped_attention`` computes without dropout."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float,
    ) -> torch.Tensor:
        batch, heads, queries, size = query.shape
        groups, keys = key.shape[1:3]
        with torch.autocast(query.device.type, enabled=False):
            q = (query * scaling).reshape(batch * groups, -1, size)
            k, v = key.reshape(-1, keys, size), value.reshape(-1, keys, size)
            scores = torch.bmm(q, k.transpose(1, 2)).view(batch, groups, -1, queries, keys)
            if mask is not None:
                scores += mask[:, :, None, :, :keys]
            weights = torch.softmax(scores, -1).view(batch * groups, -1, keys)
            output = torch.bmm(weights, v)
        ctx.save_for_backward(q, k, v, weights)
        ctx.shape, ctx.scaling = (batch, heads, queries, groups), scaling
        return output.view(batch, heads, queries, size).transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        q, k, v, weights = ctx.saved_tensors
        batch, heads, queries, groups = ctx.shape
        d_output = grad.transpose(1, 2).reshape(batch * groups, -1, grad.shape[-1])
        d_value = torch.bmm(weights.transpose(1, 2), d_output)
        d_weights = torch.bmm(d_output, v.transpose(1, 2))
        d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
        d_query = torch.bmm(d_scores, k).mul_(ctx.scaling).view(batch, heads, queries, -1)
        d_key = torch.bmm(d_scores.transpose(1, 2), q)
        return d_query, *(d.view(batch, groups, *d.shape[1:]) for d in (d_key, d_value)), None, None
