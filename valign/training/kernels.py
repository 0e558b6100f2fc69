"""Options that need a GPU and a package of their own; where either is missing, they are refused in one line."""

from __future__ import annotations

import importlib.util
import inspect
from typing import Any

from valign.core.errors import ValignError
from valign.models.packing import FLASH
from valign.training.settings import TrainerSettings

OWN_LOSSES = ("cross_entropy", "fused_linear_cross_entropy")
EXTRA = "pip install -e '.[gpu]', in a checkout"


def require_packages(trainer: TrainerSettings, device: str, quantization: str | None = None) -> None:
    """Refuse options for which the device or a package is missing.

    Args:
        trainer: Its attention and kernels may need a package.
        device: ``cpu`` or ``cuda``.
        quantization: ``nf4`` where an adapter is trained on weights in 4 bits; None otherwise.

    Raises:
        ValignError: One of them cannot be used here.
    """
    if trainer.attention == FLASH:
        _require(f"trainer.attention={FLASH}", "flash_attn", "flash-attn", "pip install flash-attn", device)
    if trainer.kernels:
        _require(f"trainer.kernels={trainer.kernels}", "liger_kernel", "liger-kernel", EXTRA, device)
    if quantization:
        _require(f"base_model.quantization={quantization}", "bitsandbytes", "bitsandbytes", EXTRA, device)


def _require(setting: str, module: str, package: str, command: str, device: str) -> None:
    if device != "cuda":
        raise ValignError(f"{setting} needs a GPU to train on; choose trainer=gpu, or leave it out.")
    if importlib.util.find_spec(module) is None:
        raise ValignError(f"{setting} needs the package {package}: {command}.")


def apply_kernels(model: Any) -> None:
    """Let liger-kernel replace a model's norms, rotary positions and gated feed-forward layers by fused ones.

    The losses that it could replace, too, are left out: the model's own forward is not what computes them here. The
    rotary positions are replaced in transformers' module, for every model of this type in the process.

    Args:
        model: A model of transformers, without an adapter.

    Raises:
        ValignError: liger-kernel has nothing for models of this type.
    """
    transformers_patches: Any = importlib.import_module("liger_kernel.transformers")
    kind = model.config.model_type
    apply = getattr(transformers_patches, f"apply_liger_kernel_to_{kind}", None)
    if apply is None:
        raise ValignError(f"trainer.kernels=liger has no kernels for models of type {kind}; leave it out.")
    known = inspect.signature(apply).parameters
    apply(model=model, **{name: False for name in OWN_LOSSES if name in known})
