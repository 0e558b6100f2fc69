"""Linear layers with LoRA adapters that share an input, in one function with a gradient written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from valign.models.layers import Projection, read_projection

_zero: set[int] = set()  # ids of the B of adapters that are left out for now


class _LowRank(NamedTuple):
    """An adapter of a layer: the layer's number, B in the layers' dtype, the scale, and whether it is trained."""

    part: int
    up: torch.Tensor
    scale: float
    is_trained: bool


class AdapterGroup:
    """Frozen layers with one input and their adapters, whose first halves (A) are one product.

    With r ranks in all, ``x [A_1; A_2; ...]^T`` is one product of r columns, in place of one narrow product a layer.
    The adapters' weights, which are float32, are converted to the layers' dtype once a forward pass.

    Args:
        parts: The layers.
        trained: Whether gradients may be asked for. Where not, as for DPO's reference, adapters that are still zero are
            left out, which changes nothing.
    """

    def __init__(self, parts: Sequence[Projection], trained: bool = True) -> None:
        self.parts = parts
        dtype = parts[0].weight.dtype
        self.adapters: list[_LowRank] = []
        downs: list[torch.Tensor] = []
        ups = [None if p.up is None else p.up.detach().to(dtype) for p in parts]
        unused = not trained and all(is_left_out(part.up) for part in parts if part.up is not None)
        for number, (part, up) in enumerate(zip(parts, ups, strict=True)):
            if up is not None and part.down is not None and not unused:
                downs.append(part.down.detach())
                self.adapters.append(_LowRank(number, up, part.scale, True))
            if part.below is not None:
                downs.append(part.below[0])
                self.adapters.append(_LowRank(number, part.below[1], 1.0, False))
        self.ranks = [len(down) for down in downs]
        downs = [down.to(dtype) for down in downs]
        self.downs = torch.cat(downs) if len(downs) > 1 else downs[0] if downs else None

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Compute every layer's output.

        Args:
            x: The input, (tokens, in).

        Returns:
            The outputs, each (tokens, out), and ``x [A_1; A_2; ...]^T``, (tokens, ranks), which ``backward`` needs;
            None without adapters.
        """
        low = None if self.downs is None else x @ self.downs.t()
        outputs = [F.linear(x, part.weight, part.bias) for part in self.parts]
        for adapter, own in zip(self.adapters, self._split(low), strict=True):
            outputs[adapter.part].addmm_(own, adapter.up.t(), alpha=adapter.scale)
        return outputs, low

    def backward(
        self, grads: Sequence[torch.Tensor], x: torch.Tensor, low: torch.Tensor | None, needs_input_grad: bool
    ) -> tuple[torch.Tensor | None, list[torch.Tensor | None]]:
        """Return the gradient of the input, None where it is not needed, and those of each layer's A and B.

        With y = x W^T + s (x A^T) B^T and G the gradient of y: that of x is G W + s (G B) A, that of A is s (G B)^T x,
        and that of B is s G^T (x A^T).

        Args:
            grads: Of the outputs, each (tokens, out).
            x: The input, (tokens, in).
            low: As ``forward`` returned it.
            needs_input_grad: Whether the input's gradient is needed.
        """
        input_grad: torch.Tensor | None = None
        if needs_input_grad:
            for part, grad in zip(self.parts, grads, strict=True):
                input_grad = grad @ part.weight if input_grad is None else input_grad.addmm_(grad, part.weight)
        found: list[torch.Tensor | None] = [None for _ in self.parts for _ in range(2)]
        if self.downs is None or low is None:
            return input_grad, found
        low_grads = [(grads[each.part] @ each.up).mul_(each.scale) for each in self.adapters]
        low_grad = torch.cat(low_grads, 1)
        if input_grad is not None:
            input_grad.addmm_(low_grad, self.downs)
        down_grads = self._down_grads(low_grad, low_grads, x)
        for each, down_grad, own in zip(self.adapters, down_grads, self._split(low), strict=True):
            if each.is_trained:
                up_grad = (grads[each.part].t() @ own).mul_(each.scale)
                found[2 * each.part : 2 * each.part + 2] = [down_grad, up_grad]
        return input_grad, found

    def _down_grads(
        self, low_grad: torch.Tensor, low_grads: Sequence[torch.Tensor], x: torch.Tensor
    ) -> Sequence[torch.Tensor | None]:
        """Return the gradients of the adapters' A, None for what is frozen: one product where all are trained."""
        if all(each.is_trained for each in self.adapters):
            return (low_grad.t() @ x).split(self.ranks)
        trained = [grad for each, grad in zip(self.adapters, low_grads, strict=True) if each.is_trained]
        ranks = [rank for each, rank in zip(self.adapters, self.ranks, strict=True) if each.is_trained]
        grads = iter((torch.cat(trained, 1).t() @ x).split(ranks) if trained else ())
        return [next(grads) if each.is_trained else None for each in self.adapters]

    def _split(self, low: torch.Tensor | None) -> Sequence[torch.Tensor]:
        return () if low is None else low.split(self.ranks, 1)


class FusedLinear:
    """A module's forward function: a frozen linear layer, and its adapter, which is added in the adapter's own product.

    PEFT writes an adapter's output, scales it and adds it to the layer's, and scales the gradient backward: that reads
    or writes the size of the output six times more.

    Args:
        part: The layer.
    """

    def __init__(self, part: Projection) -> None:
        self.part = part

    @classmethod
    def from_module(cls, module: Any) -> FusedLinear | None:
        """Return what computes a module in fewer operations; None where it is anything but a layer with an adapter."""
        part = read_projection(module)
        return cls(part) if part is not None and part.down is not None else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer for (..., in)."""
        return project(x, [self.part])[0]


@contextmanager
def zero_adapters_left_out(model: torch.nn.Module) -> Iterator[None]:
    """Leave out, in the block and without gradients, adapters whose B is zero now, as before the first step.

    A GPU is asked once for each of them, and not in each batch. Nobody changes weights in the block.

    Args:
        model: What is computed in the block.
    """
    found = [p for name, p in model.named_parameters() if ".lora_B." in name and p.numel() and not bool(p.any())]
    _zero.update(map(id, found))
    try:
        yield
    finally:
        _zero.difference_update(map(id, found))


def is_left_out(up: torch.Tensor) -> bool:
    """Tell whether an adapter need not be computed: it is known to be zero, or a look at it costs nothing."""
    return id(up) in _zero or (up.device.type == "cpu" and not bool(up.any()))


def read_projections(module: Any, names: Sequence[str]) -> list[Projection] | None:
    """Return a module's linear layers, by name; None where one of them is anything but frozen and linear."""
    found = [read_projection(getattr(module, name, None)) for name in names]
    known = [part for part in found if part is not None]
    return known if len(known) == len(found) else None


def adapter_weights(parts: Sequence[Projection]) -> list[torch.Tensor | None]:
    """Return the weights of layers' adapters, A and B of each: what autograd has to see as inputs."""
    return [weight for part in parts for weight in (part.down, part.up)]


def project(x: torch.Tensor, parts: Sequence[Projection]) -> tuple[torch.Tensor, ...]:
    """Return the products of several layers with one input.

    Args:
        x: (..., in).
        parts: The layers.

    Returns:
        (..., out) of each, in the dtype of its weights.
    """
    flat = x.reshape(-1, x.shape[-1]).to(parts[0].weight.dtype)
    outputs: tuple[torch.Tensor, ...] = _Project.apply(flat, parts, torch.is_grad_enabled(), *adapter_weights(parts))
    return tuple(y.view(*x.shape[:-1], -1) for y in outputs)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, parts: Sequence[Projection], trained: bool, *_: Any
    ) -> tuple[torch.Tensor, ...]:
        with torch.autocast(x.device.type, enabled=False):
            ctx.group = AdapterGroup(parts, trained)
            outputs, low = ctx.group.forward(x)
        ctx.save_for_backward(x, low)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        x, low = ctx.saved_tensors
        input_grad, adapter_grads = ctx.group.backward(grads, x, low, ctx.needs_input_grad[0])
        return input_grad, None, None, *adapter_grads
