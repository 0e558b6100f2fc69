"""What counts a training step that is not computed: operations, bytes and kernels, and stand-ins for a GPU's own."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

PEAK, BANDWIDTH = 989e12, 4.8e12  # an H200's dense bfloat16 and its memory, by NVIDIA's data sheet
FREE = (
    "empty",
    "new_empty",
    "view",
    "detach",
    "lift",
    "alias",
    "_local_scalar_dense",
    "is_same_size",
    "device",
    "sym_",
)
PARTIAL = ("embedding", "index_select", "gather", "index", "scatter_add_", "masked_scatter")  # read what they return
IN_PLACE = {"addmm_": torch.ops.aten.addmm}
OVERWRITING = ("copy_", "zero_", "fill_", "_foreach_zero_")
ATTENTION = {"_varlen_attn": 1.0, "_scaled_dot_product_flash_attention_for_cpu": 1.0}
ATTENTION |= {f"{name}_backward": 2.5 for name in ATTENTION}


class Tally(TorchDispatchMode):
    """Counts what is computed while it is active.

    Args:
        full: Whether the batch has no padding, which transformers asks of a mask.
        supervised: Tokens of the batch that a boolean index takes out.
        pairs: Query-key pairs of a packed batch, all heads as one; 0 for padded ones.
    """

    def __init__(self, full: bool = True, supervised: int = 0, pairs: int = 0) -> None:
        super().__init__()
        self.full, self.supervised, self.pairs = full, supervised, pairs
        self.found: Counter[str] = Counter()

    def add(self, name: str, read: Any, written: Any, flops: float = 0.0, kind: str = "other") -> None:
        """Count one kernel: the tensors that it reads and writes, and its operations."""
        moved = sum(map(size_of, tree_leaves((read, written))))
        seconds = max(flops / PEAK, moved / BANDWIDTH)
        self.found.update({"flops": flops, "bytes": moved, "kernels": 1, "sequence": seconds, kind: seconds})
        self.found.update({f"{name} s": seconds, f"{name} n": 1})

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation and count it; give an answer where it asks for a value that nobody knows."""
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        result = self._unknown(name, args)
        if result is None:
            result = func(*args, **kwargs)
        if func.is_view or name.startswith(FREE) or name == "_unsafe_view":
            return result
        read = (args, kwargs)
        if name in PARTIAL:
            read = result
        elif name in OVERWRITING:
            read = args[1:]
        if name in ATTENTION:
            self.add(name, read, result, ATTENTION[name] * self._attention(name, args, kwargs), "attention")
        elif (formula := flop_registry.get(IN_PLACE.get(name, func.overloadpacket))) is not None:
            self.add(name, read, result, formula(*args, **kwargs, out_val=result), "products")
        else:
            self.add(name, read, result)
        return result

    def _attention(self, name: str, args: Any, kwargs: Any) -> float:
        """Return the operations of attention forward: 4 a head's width for each pair of tokens it goes through."""
        query = args[1 if "backward" in name else 0]
        if "varlen" in name:
            return 4.0 * self.pairs * query.shape[1] * query.shape[2]
        rows, heads, queries, width = query.shape
        causal = True in (a for a in args if isinstance(a, bool)) or kwargs.get("is_causal", False)
        return 4.0 * rows * heads * queries * args[1].shape[-2] * width * (0.5 if causal else 1.0)

    def _unknown(self, name: str, args: Any) -> Any:
        """Return what an operation gives whose result is known by the values alone; None for others."""
        if not args or not isinstance(args[0], FakeTensor):
            return None
        if name == "_local_scalar_dense":
            self.found["waits"] += 1
            return self.full if args[0].dtype == torch.bool else 1 if not args[0].dtype.is_floating_point else 1.0
        if name == "index" and args[1][0] is not None and args[1][0].dtype == torch.bool:
            self.found["waits"] += 1
            return args[0].new_empty(self.supervised, *args[0].shape[args[1][0].dim() :])
        if name == "masked_scatter_backward":
            return args[0].new_empty(args[2])
        return args[0] if name == "index_put_" else None


def size_of(value: Any) -> int:
    """Return the bytes of a tensor, what it repeats once; 0 for anything else."""
    if not isinstance(value, torch.Tensor):
        return 0
    count = value.element_size()
    for size, stride in zip(value.shape, value.stride(), strict=True):
        count *= size if stride or not size else 1
    return count


class OneKernel(torch.autograd.Function):
    """A kernel that only counts: from some tensors to others of the same shapes, and back."""

    @staticmethod
    def forward(ctx: Any, tally: Active, written: int, graded: int, kept: slice, *inputs: Any) -> Any:
        """Count it forward.

        Args:
            ctx: Of autograd.
            tally: What counts.
            written: How many of the first inputs have an output of their shape.
            graded: How many of them have a gradient.
            kept: Which inputs are read again backward.
            *inputs: What is read.
        """
        ctx.save_for_backward(*inputs[kept])
        ctx.tally, ctx.shapes, ctx.rest = tally, [x.shape for x in inputs[:graded]], len(inputs) - graded
        found = tuple(torch.empty_like(x) for x in inputs[:written])
        tally.add("Liger", inputs, found)
        return found if written > 1 else found[0]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Count it backward."""
        found = [grads[0].new_empty(shape) for shape in ctx.shapes]
        ctx.tally.add("Liger, backward", (grads, ctx.saved_tensors), found)
        return None, None, None, None, *found, *[None] * ctx.rest


class Active:
    """What counts now, for the stand-ins, which outlive it."""

    tally: Tally | None = None

    def add(self, *counted: Any, **named: Any) -> None:
        """Count a kernel, where something counts."""
        if self.tally is not None:
            self.tally.add(*counted, **named)


def stand_in_for_liger(model: Any, active: Active, undo: ExitStack) -> Any:
    """Let a Mistral's norms, rotary positions and gates be one kernel each, and return it."""

    def rotate(query: Any, key: Any, *tables: Any, **_: Any) -> Any:
        return OneKernel.apply(active, 2, 2, slice(2, None), query, key, *tables)

    undo.enter_context(patch.object(sys.modules[type(model).__module__], "apply_rotary_pos_emb", rotate))
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            norm = lambda x, own: OneKernel.apply(active, 1, 1, slice(None), x, own.weight)  # noqa: E731
            module.forward = partial(norm, own=module)
        elif type(module).__name__.endswith("MLP"):
            gated = lambda x, own: own.down_proj(  # noqa: E731
                OneKernel.apply(active, 1, 2, slice(None), own.gate_proj(x), own.up_proj(x))
            )
            module.forward = partial(gated, own=module)
    return model


def stand_in_for_trl_kernels(active: Active, undo: ExitStack) -> None:
    """Let TRL go through each tile of logits in one kernel, take supervised tokens alone, and add products in one."""
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    def forward(tile: Any, _: int, targets: Any, *sums: Any, **__: Any) -> None:
        active.add("logits", (tile, targets, sums), [x for x in sums if isinstance(x, torch.Tensor)])

    def backward(tile: Any, _: int, *read: Any, **__: Any) -> None:
        active.add("logits, backward", (tile, read), tile)

    def add_product(total: Any, a: Any, b: Any) -> None:
        flops = 2.0 * a.shape[0] * a.shape[1] * b.shape[1]
        active.add("addmm", (total, a, b), total, flops=flops, kind="products")

    for name, standing in (("_forward_tile", forward), ("_backward_tile", backward), ("_addmm_fp32", add_product)):
        undo.enter_context(patch.object(chunked_logprob, name, standing))
    undo.enter_context(patch.object(utils, "_use_triton", lambda device: True))


def convert(module: Any, *given: Any, **named: Any) -> Any:
    """Do what ``torch.nn.Module.to`` does where tensors without values are all on one device."""
    dtype = torch._C._nn._parse_to(*given, **named)[1]
    for parameter in module.parameters() if dtype else ():
        parameter.data = parameter.data.to(dtype)
    return module
