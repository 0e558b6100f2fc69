"""Options that need a GPU and a package of their own; where either is missing, they are refused in one line."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from valign.core.errors import ValignError
from valign.models.packing import FLASH
from valign.training.settings import TrainerSettings

OWN_LOSSES = ("cross_entropy", "fused_linear_cross_entropy")
EXTRA = "pip install -e '.[gpu]', in a checkout"


@dataclass(frozen=True)
class _Package:
    """What an option needs: a module, its package, how it is installed, and the compute capability of its GPUs."""

    module: str
    name: str
    command: str
    capability: tuple[int, int]


FLASH_ATTN = _Package("flash_attn", "flash-attn", "pip install flash-attn", (8, 0))
LIGER = _Package("liger_kernel", "liger-kernel", EXTRA, (7, 0))
BITSANDBYTES = _Package("bitsandbytes", "bitsandbytes", EXTRA, (6, 0))


def require_packages(trainer: TrainerSettings, device: str, quantization: str | None = None) -> None:
    """Refuse options for which the device or a package is missing, or the GPU is too old.

    Args:
        trainer: Its attention and kernels may need a package.
        device: ``cpu`` or ``cuda``.
        quantization: ``nf4`` where an adapter is trained on weights in 4 bits; None otherwise.

    Raises:
        ValignError: One of them cannot be used here.
    """
    if trainer.attention == FLASH:
        _require(f"trainer.attention={FLASH}", FLASH_ATTN, device)
    if trainer.kernels:
        _require(f"trainer.kernels={trainer.kernels}", LIGER, device)
    if quantization:
        _require(f"base_model.quantization={quantization}", BITSANDBYTES, device)


def _require(setting: str, package: _Package, device: str) -> None:
    if device != "cuda":
        raise ValignError(f"{setting} needs a GPU to train on; choose trainer=gpu, or leave it out.")
    if importlib.util.find_spec(package.module) is None:
        raise ValignError(f"{setting} needs the package {package.name}: {package.command}.")
    found = torch.cuda.get_device_capability()
    if found < package.capability:
        needed, has = (".".join(map(str, version)) for version in (package.capability, found))
        raise ValignError(f"{setting} needs a GPU of compute capability {needed}; this one has {has}: leave it out.")


def require_precision(dtype: torch.dtype, trainer: TrainerSettings) -> None:
    """Refuse a precision that a GPU, or an attention, does not compute in.

    Args:
        dtype: Of the base model's weights and of matrix products.
        trainer: Its attention may ask for 16 bits.

    Raises:
        ValignError: FlashAttention would get float32, or the GPU has no bfloat16.
    """
    if trainer.attention == FLASH and dtype == torch.float32:
        raise ValignError(f"trainer.attention={FLASH} does not compute in float32: set base_model.precision=bfloat16.")
    if dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ValignError(
            f"base_model.precision=bfloat16: {torch.cuda.get_device_name()} has no bfloat16; set it to float32, or to "
            "auto."
        )


def liger_function(kind: str) -> Any:
    """Return liger-kernel's function for models of a type.

    Args:
        kind: The type, as the model's config names it.

    Raises:
        ValignError: It has none.
    """
    transformers_patches: Any = importlib.import_module("liger_kernel.transformers")
    apply = getattr(transformers_patches, f"apply_liger_kernel_to_{kind}", None)
    if apply is None:
        raise ValignError(f"trainer.kernels=liger has no kernels for models of type {kind}; leave it out.")
    return apply


def apply_kernels(model: Any, undo: ExitStack) -> None:
    """Let liger-kernel replace a model's norms, rotary positions and gated feed-forward layers by fused ones.

    The losses that it could replace, too, are left out: the model's own forward is not what computes them here. Part
    of it is replaced in transformers' module, for every model of this type in the process, and has to be put back
    after the training: what is loaded later, to answer, computes as in a process that has not trained.

    Args:
        model: A model of transformers, without an adapter.
        undo: Puts the names of that module back when it is closed.

    Raises:
        ValignError: liger-kernel has nothing for models of this type.
    """
    apply = liger_function(model.config.model_type)
    module = vars(sys.modules[type(model).__module__])
    undo.callback(module.update, dict(module))
    known = inspect.signature(apply).parameters
    apply(model=model, **{name: False for name in OWN_LOSSES if name in known})
